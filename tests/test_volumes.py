"""volumes: whole volumes through a model, on one device and on several; what it cannot take is named."""

import jax
import numpy as np
import pytest

from fusioninn_jax import models, volumes
from fusioninn_jax.studies import fusing
from tests.studies import cases
from tests.studies.cases import RANGE
from tests.tolerances import ROUND_TRIP_F32


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    return fusing.load(str(cases.save_model(tmp_path_factory.mktemp("model"))))


def test_devices_do_not_change_the_draw(system):
    stack = [np.asarray(cases.voxels(i).transpose(2, 1, 0), np.float32) for i in (1, 2)]
    volume = volumes.fuse_volume(system.model, system.variables, *stack)
    alone = volumes.decompose_volume(system.model, system.variables, volume.replace(latent=None), key=jax.random.key(3))
    shared = fusing.decompose(system, volume.replace(latent=None), seed=3)
    np.testing.assert_allclose(shared, alone, atol=RANGE * ROUND_TRIP_F32)
    key = jax.random.key(3)
    mean, deviation = volumes.decompose_samples(system.model, system.variables, volume, key=key, samples=3)
    keys = jax.random.split(key, 3)
    draws = np.stack(
        [volumes.decompose_volume(system.model, system.variables, volume.replace(latent=None), key=key) for key in keys]
    )
    np.testing.assert_allclose(mean, draws.mean(0), atol=RANGE * ROUND_TRIP_F32)
    np.testing.assert_allclose(deviation, draws.std(0), atol=RANGE * ROUND_TRIP_F32)


@pytest.mark.parametrize(
    "shapes, message",
    [
        ([(2, 8, 8), (2, 8, 9)], r"\(Z, H, W\) of one shape; got \(2, 8, 8\), \(2, 8, 9\)"),
        ([(8, 8), (8, 8)], r"must be \(Z, H, W\)"),
        ([(2, 8, 8)] * 3, "the model takes 2 sources; got 3"),
    ],
)
def test_sources_that_do_not_fit_are_named(system, shapes, message):
    with pytest.raises(ValueError, match=message):
        volumes.fuse_volume(system.model, system.variables, *map(np.zeros, shapes))


def test_what_cannot_be_decomposed_is_named(system):
    fused = volumes.from_fused(np.zeros((1, 7, 8), np.float32), np.zeros((1, 2, 2), np.float32), 2)
    assert fused.whole.shape == (1, 8, 8) and fused.fused.shape == (1, 7, 8) and fused.latent is None
    with pytest.raises(ValueError, match="needs the true latent or a key"):
        volumes.decompose_volume(system.model, system.variables, fused)
    mean = models.get("mean")
    for decompose in (volumes.decompose_volume, volumes.decompose_samples):
        more = {"samples": 2} if decompose is volumes.decompose_samples else {}
        with pytest.raises(ValueError, match="fuses only; it cannot decompose"):
            decompose(mean, {}, fused, key=jax.random.key(0), **more)
