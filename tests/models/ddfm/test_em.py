"""The EM correction: the authors' numbers, each sub-step against its definition, and an objective that falls."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from fusioninn_jax.models.ddfm import em
from tests import tolerances
from tests.models.ddfm import goldens

LAM, RHO = 0.5, 0.001
em_step, tv_prox, initial_state = jax.jit(em.em_step), jax.jit(em.tv_prox), jax.jit(em.initial_state)
e_step, update_scale = jax.jit(em.e_step), jax.jit(em.update_scale)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def images(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def differences(h):
    """Next minus this, around the border: along columns, along rows."""
    return jnp.roll(h, -1, 2) - h, jnp.roll(h, -1, 1) - h


def square(x):
    return (x**2).sum()


def test_three_steps_are_the_authors():
    first, second = goldens.pair(20, 24, 20, np.float64)
    state = initial_state(first)
    for i in range(3):
        estimate, _ = goldens.pair(21 + i, 24, 20, np.float64)
        fused, state = em_step(estimate, first, second, state, lam=LAM, rho=RHO)
        ours = {"out": fused, "F1": state.f1, "F2": state.f2}
        for name, value in ours.items():
            np.testing.assert_allclose(
                value,
                goldens.nhwc(goldens.NUMBERS[f"em_{name}_{i}"]),
                atol=tolerances.GOLDEN_F64,
                err_msg=f"{name}, step {i}",
            )
        for name, value in (("tau_a", state.tau_a), ("tau_b", state.tau_b)):
            np.testing.assert_allclose(value[0], goldens.NUMBERS[f"em_{name}_{i}"], atol=tolerances.GOLDEN_F64)


def test_tv_prox_of_the_second_step_is_the_authors():
    first, second = goldens.pair(20, 24, 20, np.float64)
    estimate, _ = goldens.pair(22, 24, 20, np.float64)
    splitting = [goldens.nhwc(goldens.NUMBERS[f"em_{name}_0"]) for name in ("F1", "F2")]
    h = tv_prox(first - estimate, *splitting)
    np.testing.assert_allclose(h, goldens.nhwc(goldens.NUMBERS["em_H_1"]), atol=tolerances.EM_FFT)


@pytest.mark.parametrize("residual,tau", [(0.3, 1.0), (-1.2, 0.4), (0.05, 2.0)])
def test_e_step_and_scales_are_expectations_of_the_posterior(residual, tau):
    """p(v | r) ∝ N(r; 0, v) · Exp(v; mean τ), integrated numerically."""

    def moment(power):
        def integrand(v):
            return v**power * v**-0.5 * np.exp(-(residual**2) / (2 * v) - v / tau)

        return integrate.quad(integrand, 0, 1)[0] + integrate.quad(integrand, 1, np.inf)[0]

    x, y, scale = np.full((1, 2, 2, 1), residual), np.full((1, 2, 2, 1), 2 * residual), np.array([tau])
    for weight in e_step(x, y, scale, scale):  # x and y - x are both the residual
        np.testing.assert_allclose(weight, moment(-1) / moment(0), rtol=tolerances.COARSE)
        np.testing.assert_allclose(update_scale(weight, scale), moment(1) / moment(0), rtol=tolerances.LONG_F32)


@pytest.mark.parametrize("height,width", [(6, 8), (7, 5)])
def test_tv_prox_minimises_its_objective(height, width):
    residual, f1, f2 = images(0, 3, 2, height, width, 1)

    def objective(h):
        k1, k2 = differences(h)
        return square(h - residual) + square(k1 - f1) + square(k2 - f2)

    h = tv_prox(residual, f1, f2)
    np.testing.assert_allclose(jax.jit(jax.grad(objective))(h), 0, atol=tolerances.ROUNDING_F64)
    assert float(square(h - residual)) > 0.1  # the prior moved it


def test_tv_split_minimises_its_objective():
    h = images(1, 1, 5, 6, 1)
    padded = np.pad(h, ((0, 0), (0, 1), (0, 1), (0, 0)))
    gradient = h - padded[:, :-1, 1:], h - padded[:, 1:, :-1]
    for f, difference in zip(em.tv_split(h, lam=LAM, rho=0.7), gradient, strict=True):
        derivative = jax.jit(jax.grad(lambda f, d=difference: LAM * square(f) + 0.7 / 2 * square(f - d)))(f)
        np.testing.assert_allclose(derivative, 0, atol=tolerances.ROUNDING_F64)


def test_m_step_minimises_its_objective():
    y, h, c, d = images(2, 4, 2, 5, 6, 1)
    c, d = np.abs(c) + 0.1, np.abs(d) + 0.1
    m_step = jax.jit(functools.partial(em.m_step, rho=0.3))
    x = m_step(y, h, c, d)
    derivative = jax.jit(jax.grad(lambda x: (c * (y - x) ** 2 + d * x**2).sum() + 0.3 / 2 * square(y - x - h)))(x)
    np.testing.assert_allclose(derivative, 0, atol=tolerances.ROUNDING_F64)
    np.testing.assert_array_equal(m_step(y, h, np.full_like(c, np.inf), d), y)


@jax.jit
def objective(first, second, fused, state, h):
    """Twice the negative log-likelihood of the Laplacian model (constants left out) and the split prior."""
    x, y = first - fused, first - second
    likelihood = sum(
        (jnp.sqrt(2 / tau) * jnp.abs(r) + jnp.log(tau) / 2).sum()
        for r, tau in ((y - x, state.tau_a[0]), (x, state.tau_b[0]))
    )
    splitting = sum(square(f + k) for f, k in zip((state.f1, state.f2), differences(h), strict=True))
    prior = RHO / 2 * (square(h - (y - x)) + splitting) + LAM * (square(state.f1) + square(state.f2))
    return 2 * likelihood + prior


@pytest.mark.parametrize("mirrored", [True, False])
@pytest.mark.parametrize("start", ["unrelated", "noisy mean", "first"])
def test_the_objective_does_not_rise(start, mirrored):
    """Fed with f = I - x, as it comes back, and with f = V + x, whose x the next step takes up where this one ended."""
    first, second = map(np.asarray, goldens.pair(20, 24, 20, np.float64))
    fused = {
        "unrelated": goldens.pair(21, 24, 20, np.float64)[0],
        "first": first + 0.2,
        "noisy mean": (first + second) / 2 + 0.05 * images(3, *first.shape),
    }[start]
    state, values = initial_state(first), []
    for _ in range(12):
        h = tv_prox(first - fused, state.f1, state.f2)
        fused, state = em_step(fused, first, second, state, lam=LAM, rho=RHO)
        fused = np.asarray(fused)
        values.append(float(objective(first, second, fused, state, h)))
        fused = fused if mirrored else first + second - fused
    assert np.all(np.diff(values) < 0) and values[0] - values[-1] > 100


def test_images_of_a_batch_do_not_mix():
    first, second, estimate = images(4, 3, 2, 8, 6, 1)
    together, state = jax.tree.map(np.asarray, em_step(estimate, first, second, initial_state(first)))
    for i in range(2):
        own = slice(i, i + 1)
        alone, of_alone = em_step(estimate[own], first[own], second[own], initial_state(first[own]))
        np.testing.assert_allclose(together[own], alone, atol=tolerances.GOLDEN_F64)
        np.testing.assert_allclose(state.tau_a[own], of_alone.tau_a, atol=tolerances.GOLDEN_F64)
    assert abs(float(state.tau_a[0] - state.tau_a[1])) > 1e-3


@pytest.mark.parametrize("distance", [0.0, -em.OFFSET, 1e-20])
def test_pixels_where_the_estimate_is_a_source_stay_finite(distance):
    first = np.zeros((1, 4, 4, 1), np.float32)
    second = first + np.float32(0.5)
    fused, state = em_step(first - np.float32(distance), first, second, initial_state(first))
    assert fused.dtype == jnp.float32 and np.isfinite(fused).all() and np.isfinite(state.tau_a).all()
    np.testing.assert_allclose(fused, second, atol=tolerances.SUM_F32)  # mirrored
