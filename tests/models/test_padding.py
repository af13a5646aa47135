"""Images of any size: padded by their edges on the way in, cut back on the way out."""

import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax.models.base import FusionModel
from fusioninn_jax.models.padding import any_size, pad_slices


def picky(multiple):
    """A model that refuses other sides, gives the mean, and keeps the difference as its latent."""

    def fuse(variables, x1, x2):
        assert not x1.shape[1] % multiple and not x1.shape[2] % multiple
        return (x1 + x2) / 2, x1 - x2

    def decompose(variables, fused, latent):
        return fused + latent / 2, fused - latent / 2

    return FusionModel(lambda key, *sources: {}, fuse, fuse, decompose, multiple=multiple)


@pytest.mark.parametrize("size,padded", [((4, 8), (4, 8)), ((5, 6), (8, 8)), ((1, 1), (4, 4))])
def test_the_last_row_and_column_are_repeated(size, padded):
    volume = np.random.default_rng(0).random((2, *size, 3))
    found = pad_slices(volume, 4)
    assert found.shape == (2, *padded, 3)
    rows, columns = (np.minimum(np.arange(new), old - 1) for new, old in zip(padded, size, strict=True))
    np.testing.assert_array_equal(found, jnp.asarray(volume)[:, rows][:, :, columns])


def test_any_size_goes_there_and_back():
    model = any_size(picky(4))
    assert model.multiple == 1
    x1, x2 = (np.round(np.random.default_rng(seed).random((2, 5, 7, 1), np.float32) * 64) / 64 for seed in (0, 1))
    fused, latent = model.fuse({}, x1, x2)
    np.testing.assert_array_equal(fused, (x1 + x2) / 2)
    assert latent.shape == (2, 8, 8, 1)
    for ours, source in zip(model.decompose({}, fused, latent), (x1, x2), strict=True):
        np.testing.assert_array_equal(ours, source)


def test_a_model_of_any_size_is_returned_as_it_is_and_one_model_gives_one_object():
    free, model = picky(1), picky(4)
    assert any_size(free) is free and any_size(model) is any_size(model)
    assert any_size(model._replace(decompose=None)).decompose is None
