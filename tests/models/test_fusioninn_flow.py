"""The flow of FusionINN: there and back, its density and derivatives, at any depth, level and number of sources."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import models, objective, settings
from fusioninn_jax.models import convolution
from fusioninn_jax.models.fusioninn import clip_inward, make_flow
from tests import tolerances
from tests.chosen import chosen
from tests.models.flow_inputs import TRAINED, batch, there_and_back, trained

DEPTHS = chosen(
    itertools.product(["linear", "logit", "official"], [1, 2, 3, 4, 5, 8]),
    [("linear", 1), ("linear", 2), ("linear", 5), ("logit", 2), ("logit", 3), ("official", 1), ("official", 4)],
)


@pytest.mark.parametrize("formulation,blocks", DEPTHS)
def test_flow_round_trip_float64(formulation, blocks):
    with jax.enable_x64(True):
        config = models.default_config("fusioninn")
        config.blocks, config.formulation = blocks, formulation
        flow, x = make_flow(config), batch((2, 16, 32), dtype=jnp.float64)

        @jax.jit
        def both(params, x):
            y, log_det = jax.lax.optimization_barrier(flow.forward(params, x))
            return y, log_det, *flow.inverse(params, y)

        # in `official` the last convolutions do not start at 0
        size = 0.05 if formulation == "official" else TRAINED
        y, log_det, back, inverse_log_det = both(trained(flow.init, x, size=size), x)
        assert np.abs(np.subtract(y, x)).max() > 0.1 and np.abs(log_det).min() > 0.1
        np.testing.assert_allclose(back, x, atol=tolerances.ROUND_TRIP_F64)
        np.testing.assert_allclose(inverse_log_det, np.negative(log_det), atol=tolerances.LONG_F64)


@pytest.mark.parametrize("formulation", ["linear", "logit"])
@pytest.mark.parametrize("blocks", chosen([1, 3, 8], [8]))  # the deepest rounds most
def test_models_give_the_sources_back_with_the_true_latent(blocks, formulation):
    model = models.get("fusioninn", {"blocks": blocks, "formulation": formulation})
    sources = np.split(batch((2, 32, 32)), 2, -1)
    *_, decomposed = there_and_back(model, trained(model.init, *sources), *sources)
    for source, image in zip(sources, decomposed, strict=True):
        np.testing.assert_allclose(image, source, atol=tolerances.ROUND_TRIP_F32)


def test_sources_come_back_when_every_block_shrinks_as_far_as_it_may():
    # pixels, not Haar coefficients, whose larger values round by some more
    model = models.get("fusioninn", {"blocks": 8, "levels": (0, 1), "squeeze": "pixel", "widths": (32, 64)})
    sources = np.split(batch((1, 16, 16)), 2, -1)

    def worst(path, leaf):
        if leaf.ndim > 1 or "conv2" not in str(path):
            return leaf
        return jnp.where(jnp.arange(leaf.size) < leaf.size // 2, -1e4, 0.5)  # s at its lower bound, then t

    variables = jax.tree_util.tree_map_with_path(worst, trained(model.init, *sources))
    *_, decomposed = there_and_back(model, variables, *sources)
    for source, image in zip(sources, decomposed, strict=True):
        np.testing.assert_allclose(image, source, atol=tolerances.ROUND_TRIP_WORST_F32)


def test_log_det_of_the_flow_is_that_of_its_jacobian():
    with jax.enable_x64(True):
        config = models.default_config("fusioninn")
        config.blocks = 2  # levels 1 and 2: larger images make the Jacobian slow
        flow, x = make_flow(config), batch((1, 4, 4), dtype=jnp.float64)
        params = trained(flow.init, x, size=0.1)

        @jax.jit
        def both(x):
            def flat(row):
                y, log_det = flow.forward(params, row.reshape(x.shape))
                return y.ravel(), log_det

            return jax.jacobian(flat, has_aux=True)(x.ravel())

        jacobian, log_det = both(x)
        np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], rtol=tolerances.GOLDEN_F64)


def test_bfloat16_conditioners_keep_the_flow_invertible():
    model = models.get("fusioninn", {"dtype": "bfloat16", "blocks": 3})
    sources = np.split(batch((2, 16, 16)), 2, -1)
    fused, _, decomposed = there_and_back(model, trained(model.init, *sources), *sources)
    assert fused.dtype == jnp.float32
    for source, image in zip(sources, decomposed, strict=True):
        # a conditioner that sees the last bit of its input differ answers with its own, coarse, last bit
        np.testing.assert_allclose(image, source, atol=tolerances.BFLOAT16)


def test_the_unclipped_decomposition_has_its_true_derivative_in_either_mode():
    with jax.enable_x64(True):
        model = models.get("fusioninn", {"blocks": 3, "levels": (0, 1), "widths": (3,)})
        sources = np.split(batch((1, 4, 4), dtype=jnp.float64), 2, -1)
        variables = trained(model.init, *sources, size=0.2)
        fused, latent, _ = there_and_back(model, variables, *sources)
        wild = latent + 8 * np.cos(np.arange(latent.size)).reshape(latent.shape)  # throws the sources far out

        def value(z):
            return sum((image**2).sum() for image in model.decompose_unclipped(variables, fused, z))

        direction, step = np.sin(np.arange(wild.size)).reshape(wild.shape), 1e-6

        @jax.jit
        def derivatives(z):
            return jax.grad(value)(z), jax.jvp(value, (z,), (direction,))[1]

        @jax.jit
        def images(z):
            unclipped = model.decompose_unclipped(variables, fused, z)
            return jnp.stack(unclipped), jnp.stack(model.decompose(variables, fused, z))

        ahead, behind = ((np.asarray(images(wild + sign * step * direction)[0]) ** 2).sum() for sign in (1, -1))
        slope = (ahead - behind) / (2 * step)
        backward, forward = derivatives(wild)
        np.testing.assert_allclose(np.vdot(backward, direction), slope, rtol=tolerances.DIFFERENCES_F64)
        np.testing.assert_allclose(forward, slope, rtol=tolerances.DIFFERENCES_F64)
        unclipped, decomposed = images(wild)
        assert float(unclipped.max()) > 1.1
        np.testing.assert_allclose(decomposed, np.clip(unclipped, 0, 1))


LEVELS = [((0, 1), 2), ((1, 0, 2), 4), ((0,), 1), ((2, 0, 3), 8)]
OF_SQUEEZES = chosen(
    [(squeeze, *levels) for squeeze in ("haar", "pixel") for levels in LEVELS],
    [*(("haar", *levels) for levels in LEVELS), ("pixel", (2, 0, 3), 8)],
)


@pytest.mark.parametrize("squeeze,levels,multiple", OF_SQUEEZES)
def test_blocks_at_any_levels(levels, multiple, squeeze):
    with jax.enable_x64(True):
        model = models.get("fusioninn", {"levels": levels, "blocks": 3, "squeeze": squeeze, "widths": (3,)})
        assert model.multiple == multiple
        sources = np.split(batch((2, 16, 24), dtype=jnp.float64), 2, -1)
        variables = trained(model.init, *sources, size=0.05)
        fused, latent, decomposed = there_and_back(model, variables, *sources)
        assert np.abs(np.subtract(fused, sources[0])).max() > 0.01 and latent.shape == fused.shape
        for source, image in zip(sources, decomposed, strict=True):
            np.testing.assert_allclose(image, source, atol=tolerances.ROUND_TRIP_F64)


@pytest.mark.parametrize("sources", [2, 3, 4])
def test_any_number_of_sources(sources):
    model = models.get("fusioninn", {"sources": sources, "blocks": 3})
    images = np.split(batch((2, 16, 16), sources), sources, -1)
    fused, latent, decomposed = there_and_back(model, trained(model.init, *images), *images)
    assert fused.shape == (2, 16, 16, 1) and latent.shape == (2, 16, 16, sources - 1)
    for source, image in zip(images, decomposed, strict=True):
        np.testing.assert_allclose(image, source, atol=tolerances.ROUND_TRIP_F32)


def test_a_source_thrown_out_of_the_range_is_pulled_back_in():
    x = jnp.array([-0.2, -0.2, 0.4, 0.4, 1.3, 1.3])
    g = jnp.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    value, pull = jax.vjp(clip_inward, x)
    np.testing.assert_array_equal(value, jnp.clip(x, 0, 1))
    np.testing.assert_array_equal(pull(g)[0], [0, -1, 1, -1, 1, 0])


def test_memory_of_a_rebuilt_step_does_not_grow_with_depth(monkeypatch):
    """In XLA's plan: less than one map of the flow for a further block; stored, a block takes a dozen."""
    monkeypatch.setattr(convolution, "CHUNK_PIXELS", 1)  # loops over images, and over strips in the larger blocks,
    monkeypatch.setattr(convolution, "STRIP_PIXELS", 32 * 32 // 2)  # as whole slices have them
    image, config = jax.ShapeDtypeStruct((2, 64, 64, 1), jnp.float32), settings.defaults("losses")
    config.latent = "none"  # it compiles long, and sees the latent alone, whatever the depth
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 2))

    def planned(blocks):
        model = models.get("fusioninn", {"blocks": blocks, "levels": (1, 2, 1), "widths": (4,), "backward": "rebuilt"})

        def loss(variables, *sources_and_keys):
            *sources, keys = sources_and_keys
            slices = objective.Slices(jnp.concatenate(sources, -1))
            parts, _, _ = objective.loss_parts(model, variables, slices, keys, config, train=True, gather=lambda x: x)
            return objective.per_image_loss(model, parts, config).mean()

        variables = jax.eval_shape(model.init, jax.random.key(0), image, image)
        compiled = jax.jit(jax.grad(loss)).lower(variables, image, image, keys).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    a_map = 4 * 2 * image.size
    assert planned(4) - planned(2) < 2 * a_map
