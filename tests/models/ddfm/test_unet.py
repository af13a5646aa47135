"""The UNet and its importer: the authors' numbers, keys and shapes, and what a wrong file is told."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import models
from fusioninn_jax.interop import ddfm_checkpoint
from fusioninn_jax.interop.torch_checkpoint import convert
from fusioninn_jax.models import ddfm
from tests import tolerances
from tests.models.ddfm import goldens


def without_memory(name):
    """A state dict of the right shapes that occupies none."""
    return {key: np.zeros(shape, np.float32) for key, shape in goldens.shapes(name).items()}


def test_small_network_is_the_authors():
    config, variables = goldens.small_network()
    x = goldens.nhwc(np.random.default_rng(30).standard_normal((2, 3, 32, 32))).astype(np.float32)
    out = jax.jit(ddfm.make_unet(config).apply)(variables, x, jnp.array([7, 803]))
    np.testing.assert_allclose(out, goldens.nhwc(goldens.NUMBERS["unet_out"]), atol=tolerances.UNET_F32)


def test_published_network_has_the_authors_keys_and_parameters():
    shapes = ddfm_checkpoint.key_shapes(models.default_config("ddfm"))
    assert shapes == goldens.shapes("full_256x256")
    assert sum(math.prod(shape) for shape in shapes.values()) == 552_814_086


def test_the_size_of_a_network_follows_from_its_keys():
    config, variables = convert("ddfm", without_memory("full_256x256"))
    assert config == models.default_config("ddfm")
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 552_814_086
    small, _ = goldens.small_network()
    assert (small.channels, small.multipliers, small.blocks, small.attention) == (32, (1, 2), 1, (2,))
    assert ddfm_checkpoint.key_shapes(small) == goldens.shapes("small")


@pytest.mark.parametrize(
    "change,message",
    [
        (lambda state: state.pop("middle_block.1.qkv.bias"), "middle_block.1.qkv.bias' is missing"),
        (lambda state: state.pop("time_embed.0.weight"), "time_embed.0.weight' is missing"),
        (lambda state: state.update({"label_emb.weight": np.zeros((1000, 128))}), "it has no 'label_emb.weight'"),
        (lambda state: state.update({"out.0.weight": np.zeros(64)}), r"out.0.weight has shape \(64,\) where \(32,\)"),
        (lambda state: state.update({"input_blocks.2.0.op.weight": np.zeros((32, 32, 3, 3))}), "plain convolutions"),
        (lambda state: state.update({"time_embed.0.weight": np.zeros((132, 33))}), "divisible by 32"),
        (lambda state: state.update({"time_embed.0.weight": np.zeros(7)}), "time_embed.0.weight has shape"),
    ],
)
def test_a_wrong_file_is_named(change, message):
    state = without_memory("small")
    change(state)
    with pytest.raises(ValueError, match=message):
        convert("ddfm", state)


@pytest.mark.parametrize(
    "settings,message",
    [
        ({"channels": 48}, "divisible by 32"),
        ({"attention": (3,)}, "the levels are 1, 2, 4, 8, 16, 32 times smaller"),
        ({"head_channels": 48}, "must divide"),
        ({"image_channels": 2}, "1 or 3"),
        ({"steps": 1}, "between 2 and the 1000 steps"),
        ({"step": 100}, "did you mean 'steps'"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        models.get("ddfm", settings)
