"""The simulated MRI: geometry, contrast, noise, determinism. Small slices (96 x 96, 2.5 mm) but for one."""

import subprocess
import sys

import numpy as np
import pytest

from fusioninn_jax import phantom
from fusioninn_jax.phantom import anatomy, contrast, fields, tumour
from fusioninn_jax.runtime.errors import UserError
from tests import tolerances

TINY = {"size": 96, "spacing": 2.5, "lesion_slices": 3, "other_slices": 1}
PURE = 0.95  # share of a pixel from which it counts as one tissue

WHITE, GREY, FLUID, CORE, OEDEMA, ENHANCING, VESSEL = range(7)
T1GD, FLAIR = range(2)


@pytest.fixture(scope="module")
def subjects() -> list[phantom.Subject]:
    return [phantom.simulate_subject(0, index, **TINY) for index in range(8)]


def test_shapes_and_types(subjects):
    for subject in subjects:
        assert subject.sources.shape == (4, 96, 96, 2) and subject.sources.dtype == np.float32
        assert subject.mask.shape == (4, 96, 96, 1) and subject.mask.dtype == np.uint8
        assert subject.tissues.shape == (4, 96, 96, len(contrast.TISSUES))
        assert np.all(np.diff(subject.slice_index) > 0)


def test_full_size():
    subject = phantom.simulate_subject(0, 3, lesion_slices=1, other_slices=1)
    assert subject.sources.shape == (2, 240, 240, 2)
    brain = subject.sources[..., 0] > 0
    assert 0.1 < brain.mean() < 0.6
    assert not brain[:, [0, -1]].any() and not brain[:, :, [0, -1]].any()  # the brain lies within the image


def test_intensities_are_integers_and_background_is_exactly_zero(subjects):
    for subject in subjects:
        brain = subject.tissues.sum(-1) > 0.5
        np.testing.assert_array_equal(subject.sources, np.rint(subject.sources))
        assert np.all(subject.sources[~brain] == 0)
        assert np.all(subject.sources[brain] >= 1) and subject.sources.max() <= 32767
        assert np.all(subject.mask[~brain] == 0)


def test_tissue_fractions_sum_to_one_in_the_brain(subjects):
    for subject in subjects:
        total = subject.tissues.sum(-1)
        assert subject.tissues.min() >= -tolerances.ROUNDING_F32
        np.testing.assert_allclose(total[total > 0.5], 1, atol=tolerances.SUM_F32)
        np.testing.assert_array_equal(total[total <= 0.5], 0)


def _medians(subjects, modality: int) -> np.ndarray:
    """Median intensity of each tissue relative to white matter, of each subject; NaN where a tissue is absent."""
    rows = []
    for subject in subjects:
        image = subject.sources[..., modality]
        pure = [image[subject.tissues[..., k] > PURE] for k in range(7)]
        rows.append([np.median(values) if len(values) > 5 else np.nan for values in pure])
    table = np.array(rows)
    return table / table[:, :1]


def test_contrast_of_t1_with_gadolinium(subjects):
    medians = _medians(subjects, T1GD)
    assert np.all(medians[:, GREY] < 0.95)
    assert np.all(medians[:, FLUID] < 0.75 * medians[:, GREY])
    assert np.nanmax(medians[:, OEDEMA]) < 0.95
    assert np.nanmedian(medians[:, ENHANCING]) > 1.2
    assert np.nanmedian(medians[:, CORE]) < np.nanmedian(medians[:, GREY])


def test_contrast_of_flair(subjects):
    medians = _medians(subjects, FLAIR)
    assert np.median(medians[:, GREY]) > 1
    assert np.all(medians[:, FLUID] < 0.5)
    assert np.all(medians[:, GREY] < 1.4)
    assert np.nanmedian(medians[:, OEDEMA]) > 1.15 * np.median(medians[:, GREY])


def test_labels_and_kinds(subjects):
    everything = [phantom.simulate_subject(0, index, **TINY) for index in range(8, 20)] + subjects
    kinds = {subject.tumour.kind: set() for subject in everything}
    for subject in everything:
        found = set(np.unique(subject.mask).tolist())
        assert found <= {0, 1, 2, 4} and 2 in found
        kinds[subject.tumour.kind] |= found
    assert kinds["ring"] == {0, 1, 2, 4}
    assert 1 not in kinds["solid"] and 4 in kinds["solid"]
    assert 4 not in kinds["non-enhancing"] and 1 in kinds["non-enhancing"]
    assert {len(subject.tumour.foci) for subject in everything} == {1, 2}
    assert any(not mask.any() for subject in everything for mask in subject.mask)  # slices beside the tumour
    assert {subject.scanner.field for subject in everything} == {1.5, 3.0}


def test_label_is_the_largest_compartment():
    parts = np.array([[0.5, 0.0, 0.1, 0.2], [0.3, 0.9, 0.2, 0.1], [0.2, 0.0, 0.6, 0.1]], np.float32)
    np.testing.assert_array_equal(tumour.labels(tumour.Lesion(*parts)), [1, 2, 4, 0])


def test_same_seed_same_bytes_and_other_seed_or_index_other_subject(subjects):
    again = phantom.simulate_subject(0, 2, **TINY)
    assert again.sources.tobytes() == subjects[2].sources.tobytes()
    assert again.mask.tobytes() == subjects[2].mask.tobytes()
    other = phantom.simulate_subject(1, 2, **TINY)
    assert other.sources.tobytes() != again.sources.tobytes()
    for index, subject in enumerate(subjects):
        for later in subjects[index + 1 :]:
            assert np.any(subject.tissues != later.tissues)
            assert subject.scanner != later.scanner
            assert np.all(subject.relaxation != later.relaxation)


def test_atlas_axes_are_up_back_left():
    """Row 0 is anterior and slice 0 inferior, by the affine of nilearn's image (its left and right are equal)."""
    from nilearn import datasets

    image = datasets.load_mni152_wm_template(resolution=1)
    data, atlas = image.get_fdata(dtype=np.float32), anatomy.load_atlas(1.0)
    assert atlas.white.shape == (189, 233, 197)
    for voxel in np.random.default_rng(0).integers(20, 170, (200, 3)):  # (z, y, x) in the atlas
        up, back, left = voxel - anatomy.ATLAS_ZERO
        x, y, z, _ = np.rint(np.linalg.solve(image.affine, [-left, -back, up, 1])).astype(int)  # RAS
        assert atlas.white[tuple(voxel)] == data[x, y, z]


def test_warp_is_one_to_one():
    """The Jacobian determinant of the whole map, mass effect included, is positive everywhere."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        warp = anatomy.random_warp(rng)
        grid = fields.Grid(*(np.arange(0, n, 2, dtype=np.float32) for n in (180, 230, 230)))
        outline = anatomy.warp_grid(warp, grid)
        points = anatomy.push_aside(outline, anatomy.ATLAS_ZERO + 20, 15.0, 0.35 * 15)
        jacobian = np.stack([np.stack(np.gradient(p, 2.0), -1) for p in points], -2)
        determinant = np.linalg.det(jacobian)
        assert determinant.min() > 0.05
        moved = np.linalg.norm(
            outline - np.einsum("ij,jzyx->izyx", warp.matrix, _centred(grid)) - anatomy.ATLAS_ZERO[:, None, None, None],
            axis=0,
        )
        assert 1.5 < moved.max() < 15  # mm, beside rotation and scaling


def _centred(grid: fields.Grid) -> np.ndarray:
    points = np.stack(np.meshgrid(*grid, indexing="ij"))
    return points - (anatomy.ATLAS_ORIGIN_MM + anatomy.ATLAS_ZERO)[:, None, None, None]


def test_mass_effect_pushes_outwards():
    centre = np.array([10.0, 20.0, 30.0])
    points = (centre + [0, 0, 12.0]).reshape(3, 1, 1, 1)
    source = anatomy.push_aside(points, centre, 12.0, 3.0).ravel()
    np.testing.assert_allclose(source, centre + [0, 0, 9.0])  # what is seen at 12 mm came from 9 mm


def test_spline_field_reproduces_a_constant_and_a_line():
    grid = fields.slice_grid([40, 41, 90], 64, 3.0)
    shape = fields.coefficient_shape(10.0)
    np.testing.assert_allclose(
        fields.spline_field(np.full(shape, 2.5, np.float32), grid, 10.0), 2.5, rtol=tolerances.ROUNDING_F32
    )
    ramp = np.broadcast_to((np.arange(shape[1], dtype=np.float32) - 1)[None, :, None] * 10, shape)
    line = fields.spline_field(ramp, grid, 10.0)
    np.testing.assert_allclose(line[0, :, 5], grid.y, atol=tolerances.LONG_F32)


def test_random_field_has_unit_variance():
    grid = fields.slice_grid(range(20, 180, 8), 80, 3.0)
    values = fields.random_field(np.random.default_rng(0), grid, 6.0)
    assert abs(values.mean()) < 0.05 and abs(values.std() - 1) < 0.05


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


def test_needs_no_tensorflow_and_imports_nilearn_lazily():
    code = "import sys, fusioninn_jax.phantom; print([m for m in ('tensorflow', 'nilearn') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_missing_nilearn_is_said(monkeypatch):
    anatomy.load_atlas.cache_clear()
    monkeypatch.setitem(sys.modules, "nilearn", None)
    with pytest.raises(UserError, match=r'pip install "fusioninn_jax\[phantom\]"'):
        phantom.simulate_subject(0, 0, **TINY)
