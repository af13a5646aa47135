"""The six baselines against the authors' numbers, and the batch statistics that they share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import models
from fusioninn_jax.interop.torch_checkpoint import convert
from tests import tolerances
from tests.golden import baseline_weights, portable_inputs
from tests.golden.fusioninn_goldens import FOLDER as GOLDEN_FOLDER

PARAMETERS = {
    "deepfuse": 89_155,
    "funfusean": 122_209,
    "half_unet": 337_729,
    "unet": 31_042_945,
    "unet_plus_plus": 36_629_057,
    "unet_3plus": 26_971_201,
}
SYSTEMS = pytest.mark.parametrize("name", PARAMETERS)


def golden_outputs(name, images, dtype):
    """(evaluation, training) outputs of the model with the fill rule's weights on NCHW images."""
    config, variables = convert(
        name, {key: value.astype(dtype) for key, value in baseline_weights.state_dict(name).items()}
    )
    model = models.get(name, config)
    sources = [jnp.asarray(images[:, i, ..., None].astype(dtype)) for i in range(2)]
    return (jax.jit(model.fuse)(variables, *sources)[0], jax.jit(model.fuse_train)(variables, *sources)[0])


def assert_golden(name, images, numbers, dtype):
    for mode, ours in zip(("eval", "train"), golden_outputs(name, images, dtype), strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(
            ours[..., 0], numbers[f"{name}_{mode}"][:, 0], rtol=0, atol=tolerances.BASELINE, err_msg=mode
        )


@SYSTEMS
def test_float64_outputs_are_the_authors(name):
    with jax.enable_x64(True):
        assert_golden(name, portable_inputs.baseline_input(), np.load(GOLDEN_FOLDER / "portable.npz"), np.float64)


@pytest.mark.parametrize("name", [name for name in PARAMETERS if name != "funfusean"])  # it divides by nearly 0
def test_float32_outputs_are_the_authors(name):
    assert_golden(name, portable_inputs.baseline_input(), np.load(GOLDEN_FOLDER / "portable.npz"), np.float32)


@SYSTEMS
def test_outputs_on_real_images_are_the_authors(name, reference):
    numbers = np.load(reference / "baselines.npz")
    with jax.enable_x64(True):
        assert_golden(name, numbers["input_nchw"], numbers, np.float64)


@SYSTEMS
def test_parameter_count_is_the_papers(name):
    model, image = models.get(name), jax.ShapeDtypeStruct((1, 16, 16, 1), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), image, image)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == PARAMETERS[name]
