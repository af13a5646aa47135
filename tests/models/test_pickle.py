"""Every fusion system can be sent to another process."""

import pickle

import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import models


@pytest.mark.parametrize("name", models.names())
def test_a_system_pickles(name):
    model = models.get(name)
    again = pickle.loads(pickle.dumps(model))
    assert (again.sources, again.multiple, again.training_free) == (model.sources, model.multiple, model.training_free)
    if name == "mean":
        sources = [jnp.full((1, 4, 4, 1), value) for value in (0.2, 0.6)]
        np.testing.assert_allclose(again.fuse({}, *sources)[0], 0.4)
