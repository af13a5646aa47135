"""The six baselines against the authors' numbers, and the batch statistics that they share."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import models
from fusioninn_jax.interop.torch_checkpoint import convert
from tests import tolerances
from tests.chosen import chosen
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
# funfusean divides by nearly 0; float32 is the same code, and the wider nets are trained in it elsewhere
FLOAT32 = chosen([name for name in PARAMETERS if name != "funfusean"], ["deepfuse", "half_unet"])


@functools.lru_cache(maxsize=1)  # 30 million numbers
def weights(name):
    """The fill rule's, under the authors' keys."""
    return baseline_weights.state_dict(name)


def assert_golden(name, images, numbers, dtype):
    """NCHW images give the authors' fused images, in evaluation and in training."""
    config, variables = convert(name, {key: value.astype(dtype) for key, value in weights(name).items()})
    model = models.get(name, config)
    sources = [jnp.asarray(images[:, i, ..., None].astype(dtype)) for i in range(2)]
    for mode, fuse in (("eval", model.fuse), ("train", model.fuse_train)):
        ours = jax.jit(fuse)(variables, *sources)[0]
        assert ours.dtype == dtype
        np.testing.assert_allclose(
            ours[..., 0], numbers[f"{name}_{mode}"][:, 0], rtol=0, atol=tolerances.BASELINE, err_msg=mode
        )


# one system after the other, so that its weights are made once
CASES = [
    (name, case)
    for name in PARAMETERS
    for case in ("portable", "real", "float32")
    if case != "float32" or name in FLOAT32
]


@pytest.mark.parametrize("name,case", CASES)
def test_outputs_are_the_authors(name, case, request):
    file = request.getfixturevalue("reference") / "baselines.npz" if case == "real" else GOLDEN_FOLDER / "portable.npz"
    numbers = np.load(file)
    images = numbers["input_nchw"] if case == "real" else portable_inputs.baseline_input()
    with jax.enable_x64(case != "float32"):
        assert_golden(name, images, numbers, np.float32 if case == "float32" else np.float64)


@SYSTEMS
def test_parameter_count_is_the_papers(name):
    model, image = models.get(name), jax.ShapeDtypeStruct((1, 16, 16, 1), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), image, image)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == PARAMETERS[name]
