"""The form of Half-UNet that its paper describes, and settings that cannot be."""

import jax
import jax.numpy as jnp
import pytest

from fusioninn_jax import models

PRINTED = 0.03  # relative: the paper gives two digits


def test_published_half_unet_has_as_many_parameters_as_its_paper_says():
    model, image = models.get("half_unet", {"form": "paper", "sources": 1}), jnp.zeros((1, 16, 16, 1))
    params = jax.eval_shape(model.init, jax.random.key(0), image)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == pytest.approx(0.21e6, rel=PRINTED)
    assert jax.eval_shape(models.get("half_unet", {"form": "paper"}).init, jax.random.key(0), image, image)
    with pytest.raises(ValueError, match="must be one of official, paper"):
        models.get("half_unet", {"form": "published"})
    with pytest.raises(ValueError, match="must be even"):
        models.get("half_unet", {"width": 7})
