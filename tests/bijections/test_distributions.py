"""Densities integrate to one, draws have them, and ten lines of training find a distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from fusioninn_jax import bijections as bj
from tests import tolerances
from tests.bijections.members import TABLE, dense, dense_init, prepared


@pytest.mark.parametrize(
    "base,theirs",
    [
        (bj.normal(), scipy.stats.norm()),
        (bj.logistic(), scipy.stats.logistic()),
        (bj.uniform(-2.0, 3.0), scipy.stats.uniform(-2, 5)),
    ],
    ids=["normal", "logistic", "uniform"],
)
def test_bases_are_scipys(base, theirs):
    y = np.random.default_rng(0).normal(0, 2, (50, 3)).astype(np.float32)
    np.testing.assert_allclose(base.log_prob(y), theirs.logpdf(y).sum(1), rtol=tolerances.SUM_F32)
    draws = base.sample(jax.random.key(0), (4000, 1), jnp.float32)
    assert scipy.stats.kstest(np.ravel(draws), theirs.cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    "base", [bj.normal(), bj.logistic(), bj.uniform(0.0, 10.0)], ids=["normal", "logistic", "uniform"]
)
def test_densities_of_low_precision_are_computed_in_float32(base):
    y = jnp.linspace(0.1, 3, 784, dtype=jnp.bfloat16)[None]
    np.testing.assert_allclose(base.log_prob(y), base.log_prob(y.astype(jnp.float32)), rtol=tolerances.ROUNDING_F32)


def test_a_uniform_without_width_is_named():
    with pytest.raises(ValueError, match="low < high"):
        bj.uniform(1.0, 1.0)


def test_a_density_integrates_to_one_for_every_condition():
    flow = bj.chain(bj.coupling(dense, dense_init), bj.orthogonal(), bj.coupling(dense, dense_init))
    side = np.linspace(-20, 20, 401, dtype=np.float32)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    params = jax.jit(flow.init)(jax.random.key(0), grid[:2], np.zeros((2, 1), np.float32))
    density = jax.jit(lambda *of: jnp.exp(bj.flow_log_prob(flow, params, *of)))
    for value in (-1.0, 2.0):
        total = density(grid, np.full((len(grid), 1), value, np.float32)).sum()
        assert abs(float(total) * (side[1] - side[0]) ** 2 - 1) < 0.01


@pytest.mark.parametrize("name", ["coupling_vectors", "chain_conditional", "multi_scale", "scan_rebuilt"])
def test_draws_come_with_their_density(name):
    flow, params, x, condition = prepared(TABLE[name])
    shape = jax.eval_shape(flow.forward, params, x, condition)[0].shape

    @jax.jit
    def everything(params, condition):
        draws, log_prob = bj.sample_and_log_prob(flow, params, shape, condition, key=jax.random.key(1))
        return draws, log_prob, bj.flow_log_prob(flow, params, draws, condition)

    draws, log_prob, again = everything(params, condition)
    assert draws.shape == x.shape
    np.testing.assert_allclose(again, log_prob, rtol=tolerances.COARSE, atol=tolerances.COARSE)


def test_draws_are_the_same_with_their_density_and_without():
    flow, params, x, _ = prepared(TABLE["coupling_vectors"])
    draws, _ = bj.sample_and_log_prob(flow, params, x.shape, key=jax.random.key(1))
    np.testing.assert_array_equal(bj.sample(flow, params, x.shape, key=jax.random.key(1)), draws)


def test_a_base_of_ones_own():
    def log_prob(y):
        return jax.scipy.stats.cauchy.logpdf(y).sum(-1)

    base = bj.Base(log_prob, jax.random.cauchy)
    draws, density = bj.sample_and_log_prob(bj.identity(), {}, (5, 2), key=jax.random.key(0), base=base)
    np.testing.assert_allclose(density, scipy.stats.cauchy.logpdf(draws).sum(1), rtol=tolerances.SUM_F32)
    np.testing.assert_allclose(bj.flow_log_prob(bj.identity(), {}, draws, base=base), density)


def test_training_by_maximum_likelihood_finds_a_normal():
    """Correlated normals are within the reach of linear maps, so the loss must come down to their entropy."""
    scale = np.array([[2.0, 0.0], [1.5, 0.5]], np.float32)
    x = np.random.default_rng(0).standard_normal((4000, 2), np.float32) @ scale.T + np.array([1, -3], np.float32)
    flow = bj.chain(bj.convolution1x1(), bj.actnorm())
    params, optimizer = jax.jit(flow.init)(jax.random.key(1), x), optax.adam(3e-2)

    @jax.jit
    def train(params):
        def step(carry, _):
            params, state = carry
            loss, gradient = jax.value_and_grad(lambda p: -bj.flow_log_prob(flow, p, x).mean())(params)
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(params, updates), state), loss

        return jax.lax.scan(step, (params, optimizer.init(params)), length=300)[1]

    entropy = 0.5 * np.log(np.linalg.det(2 * np.pi * np.e * np.cov(x.T)))
    assert abs(float(train(params)[-1]) - entropy) < 0.01
