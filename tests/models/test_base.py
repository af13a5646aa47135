"""What every FusionModel does with the images that it gets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import models

SMALL = {"unet": {"width": 2}, "deepfuse": {"width": 2}}


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
