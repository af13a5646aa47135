"""Batch normalisation against PyTorch's, the forms beyond the comparison's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import models, objective, settings
from fusioninn_jax.models.base import on_one_device
from fusioninn_jax.models.conv_blocks import BatchNorm, ConvNorm, TransposedConv
from tests import tolerances
from tests.golden import layers, portable_inputs

TINY = {"deepfuse": 2, "funfusean": 2, "half_unet": 4, "unet": 2, "unet_plus_plus": 2, "unet_3plus": 2}
SYSTEMS = pytest.mark.parametrize("name", TINY)


def pair(batch=2, size=16):
    images = portable_inputs.smooth(0, batch, size, size)
    return [images[:, i, ..., None].astype(np.float32) for i in range(2)]


@pytest.fixture(scope="module", name="golden")
def golden_fixture():
    """PyTorch's numbers."""
    return np.load(layers.FILE)


def test_batch_norm_is_pytorch_s_in_both_modes(golden):
    ours, (*training, last) = BatchNorm(), layers.batches()
    variables = ours.init(jax.random.key(0), training[0], on_one_device)
    train = jax.jit(lambda variables, x: ours.apply(variables, x, on_one_device, mutable=["batch_stats"]))
    for i, x in enumerate(training):
        y, changed = train(variables, x)
        variables = variables | changed
        np.testing.assert_allclose(y, golden[f"normalised_{i}"], atol=tolerances.ROUND_TRIP_F32)
    statistics = variables["batch_stats"]
    np.testing.assert_allclose(statistics["mean"], golden["mean"], rtol=tolerances.LOSS_F32)
    np.testing.assert_allclose(statistics["var"], golden["variance"], rtol=tolerances.LOSS_F32)
    np.testing.assert_allclose(jax.jit(ours.apply)(variables, last), golden["evaluated"], atol=tolerances.LOSS_F32)


def test_initialisation_does_not_count_as_a_batch():
    x = jnp.full((2, 4, 4, 3), 7.0)
    statistics = BatchNorm().init(jax.random.key(0), x, on_one_device)["batch_stats"]
    np.testing.assert_array_equal(statistics["mean"], np.zeros(3))
    np.testing.assert_array_equal(statistics["var"], np.ones(3))


def test_layers_start_as_pytorch_starts_them():
    variables = TransposedConv(8).init(jax.random.key(0), jnp.zeros((1, 2, 2, 50)))["params"]
    bound = (4 * 8) ** -0.5
    assert 0.97 * bound < np.abs(variables["kernel"]).max() <= bound
    leaves = jax.tree.leaves(ConvNorm(16).init(jax.random.key(0), jnp.zeros((1, 4, 4, 8)))["params"]["conv"])
    for leaf in leaves:
        assert 0.7 * (9 * 8) ** -0.5 < np.abs(leaf).max() <= (9 * 8) ** -0.5


@SYSTEMS
@pytest.mark.usefixtures("three_levels")
def test_raw_output_and_no_way_back(name):
    model = models.get(name, {"width": TINY[name]})
    variables = jax.eval_shape(model.init, jax.random.key(0), *pair())
    fused, latent = jax.eval_shape(model.fuse, variables, *pair())
    assert fused.shape == (2, 16, 16, 1) and latent is None and model.decompose is None
    with pytest.raises(ValueError, match="sources; got"):
        model.fuse(variables, *([] if name == "deepfuse" else pair()[:1]))
    if model.multiple > 1:
        with pytest.raises(ValueError, match=f"18x18; the model needs multiples of {model.multiple}"):
            model.fuse(variables, *pair(size=18))


@pytest.mark.usefixtures("three_levels")
def test_three_sources():
    for name in ("deepfuse", "unet"):
        model = models.get(name, {"width": 2} | ({"sources": 3} if name == "unet" else {}))
        sources = [*pair(), pair()[0]]
        variables = jax.eval_shape(model.init, jax.random.key(0), *sources)
        assert jax.eval_shape(model.fuse, variables, *sources)[0].shape == (2, 16, 16, 1)


@pytest.mark.usefixtures("three_levels")
@pytest.mark.parametrize("name,sides", [("unet_plus_plus", 1), ("unet_3plus", 2)])
def test_deep_supervision_trains_the_side_outputs(name, sides):
    model = models.get(name, {"width": 2, "deep_supervision": True})
    variables = jax.jit(model.init)(jax.random.key(0, impl="rbg"), *pair())  # draws by a generator that compiles fast
    assert jax.eval_shape(model.fuse_train, variables, *pair())[0].shape == (2, 16, 16, 1 + sides)
    config, keys = settings.defaults().losses, jax.random.split(jax.random.key(1), 2)

    def loss(params, train_mode):
        slices = objective.Slices(np.concatenate(pair(), -1))
        found, images, _ = objective.loss_parts(
            model, {**variables, "params": params}, slices, keys, config, train=train_mode, gather=on_one_device
        )
        assert images["fused"].shape == (2, 16, 16, 1)
        return found.fusion.mean()

    params = variables["params"]
    gradients = jax.jit(jax.grad(functools.partial(loss, train_mode=True)))(params)
    heads = [name for name in gradients if name.startswith("side")]
    assert len(heads) == sides
    for head in [*heads, "output"]:
        assert np.abs(gradients[head]["kernel"]).max() > 0
    unsupervised = jax.jit(functools.partial(loss, train_mode=False))
    moved = params | {head: jax.tree.map(lambda leaf: np.asarray(leaf) + 1, params[head]) for head in heads}
    assert unsupervised(params) == unsupervised(moved)
