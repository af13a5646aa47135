"""FusionModels as objects that other processes can have."""

import pickle

import jax
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
