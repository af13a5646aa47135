"""FusionModels as objects that other processes can have, and as functions that look at what they get."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import models

SMALL = {
    "unet": {"width": 2},
    "unet_plus_plus": {"width": 2},
    "unet_3plus": {"width": 2},
    "half_unet": {"width": 2},
    "deepfuse": {"width": 2},
    "funfusean": {"width": 2},
    "fusioninn": {"widths": (2,)},
    "ddfm": {
        "channels": 32,
        "multipliers": (1,),
        "attention": (),
        "blocks": 1,
        "image_channels": 1,
        "steps": 2,
        "head_channels": 32,
    },
}


@pytest.mark.parametrize("name", models.names())
def test_every_model_pickles(name):
    model = models.get(name, SMALL.get(name))
    copy = pickle.loads(pickle.dumps(model))
    assert copy._fields == model._fields and (copy.sources, copy.multiple) == (model.sources, model.multiple)


@pytest.mark.parametrize("name", ["mean", "wavelet", "deepfuse"])
def test_a_copy_fuses_alike(name):
    model = models.get(name, SMALL.get(name))
    sources = jax.random.uniform(jax.random.key(0), (2, 1, 16, 16, 1))
    variables = model.init(jax.random.key(1), *sources)
    copy = pickle.loads(pickle.dumps(model))
    for ours, theirs in zip(model.fuse(variables, *sources), copy.fuse(variables, *sources), strict=True):
        np.testing.assert_array_equal(ours, theirs) if ours is not None else None


@pytest.mark.parametrize("name", ["mean", "guided_filter", "unet"])
@pytest.mark.parametrize("bad", [255.0, -0.01, 1.01, np.nan, np.inf])
def test_values_outside_of_the_range_are_refused_where_they_are_at_hand(name, bad):
    model = models.get(name, SMALL.get(name))
    good = jnp.full((1, 16, 16, 1), 0.5)
    with pytest.raises(ValueError, match=r"source 2 has values in \["):
        model.fuse({"params": {}}, good, good.at[0, 3, 3, 0].set(bad))


def test_under_jit_nothing_is_looked_at():
    model = models.get("mean")
    image = jnp.full((1, 4, 4, 1), 300.0)
    assert jax.jit(model.fuse)({"params": {}}, image, image)[0].shape == image.shape


@pytest.mark.parametrize("name", ["mean", "deepfuse"])
def test_arrays_of_numpy_serve(name):
    model = models.get(name, SMALL.get(name))
    images = np.full((2, 1, 16, 16, 1), 0.25, np.float32)
    assert model.fuse(model.init(jax.random.key(0), *images), *images)[0].shape == (1, 16, 16, 1)
