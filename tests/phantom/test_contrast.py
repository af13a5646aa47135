"""phantom.contrast: signal equations and noise against what is known of them."""

import numpy as np

from fusioninn_jax.phantom import contrast
from tests import tolerances


def test_rician_noise_statistics():
    """Koay and Basser 2006: at signal 0 a Rayleigh law; second moment A^2 + 2 sigma^2; Gaussian at high SNR."""
    rng = np.random.default_rng(0)
    sigma = 3.0
    air = contrast.rician(rng, np.zeros(100_000, np.float32), sigma)
    np.testing.assert_allclose(air.mean(), sigma * np.sqrt(np.pi / 2), rtol=tolerances.DRAWS)
    np.testing.assert_allclose(air.std(), sigma * np.sqrt(2 - np.pi / 2), rtol=tolerances.DRAWS)
    for signal in (5.0, 100.0):
        noisy = contrast.rician(rng, np.full(100_000, signal, np.float32), sigma)
        np.testing.assert_allclose((noisy**2).mean(), signal**2 + 2 * sigma**2, rtol=tolerances.DRAWS)
    np.testing.assert_allclose(noisy.std(), sigma, rtol=tolerances.DRAWS)


def _scanner(**changes) -> contrast.Scanner:
    return contrast.random_scanner(np.random.default_rng(0))._replace(**changes)


def test_flair_nulls_fluid():
    for seed in range(5):
        scanner = contrast.random_scanner(np.random.default_rng(seed))
        fluid_t1 = 3200.0 if scanner.field == 1.5 else 4000.0
        assert abs(contrast.flair_signal(fluid_t1, 1200.0, 1.0, scanner)) < tolerances.ROUNDING_F32
        assert contrast.flair_signal(800.0, 80.0, 0.77, scanner) > 0.1


def test_flair_signal_against_hand_calculation():
    scanner = _scanner(flair_tr=9000.0, flair_te=100.0, flair_ti=2500.0, flair_train=0.0)
    expected = 0.8 * (1 - 2 * np.exp(-2.5) + np.exp(-9.0)) * np.exp(-1.0)
    np.testing.assert_allclose(contrast.flair_signal(1000.0, 100.0, 0.8, scanner), expected)


def test_t1_signal_limits():
    gradient = _scanner(spin_echo=False, t1_tr=30.0, t1_flip=np.deg2rad(30))
    np.testing.assert_allclose(contrast.t1_signal(1e-3, 50.0, 0.9, gradient), 0.9 * 0.5)  # full recovery: sin(flip)
    spin = _scanner(spin_echo=True, t1_tr=1000.0, t1_te=10.0)
    expected = 0.9 * (1 - 2 * np.exp(-995 / 800) + np.exp(-1000 / 800)) * np.exp(-10 / 80)
    np.testing.assert_allclose(contrast.t1_signal(800.0, 80.0, 0.9, spin), expected)
    flips = np.linspace(0.01, 1.5, 2000)
    signals = [contrast.t1_signal(800.0, 80.0, 1.0, gradient._replace(t1_flip=flip)) for flip in flips]
    np.testing.assert_allclose(
        flips[np.argmax(signals)], np.arccos(np.exp(-30 / 800)), atol=tolerances.COARSE
    )  # Ernst angle


def test_gadolinium_shortens_t1():
    np.testing.assert_allclose(contrast.with_gadolinium(1000.0, 1.0, 3.0), 1000 / (1 + 3.7))
    assert contrast.with_gadolinium(1000.0, 0.0, 1.5) == 1000.0
