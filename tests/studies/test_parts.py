"""Volumes are worked on some slices at a time: the same numbers as all at once, and the work is told as it goes."""

import threading

import jax
import numpy as np

from fusioninn_jax.formats import files
from fusioninn_jax.formats.grid import PIXELS
from fusioninn_jax.formats.series import uniform
from fusioninn_jax.studies import fusing, parts
from tests import tolerances
from tests.studies import cases


def test_parts_are_the_whole(model_folder, monkeypatch):
    trained = fusing.load(str(model_folder))
    sources = [
        uniform(cases.voxels(seed, (12, 10, 13)).transpose(2, 1, 0), PIXELS, {"kind": "none"}) for seed in (0, 1)
    ]
    found, told = [], []
    for part in (100, 1):  # for each device
        monkeypatch.setattr(parts, "PART", part)
        told.clear()
        fused = fusing.fuse(trained, sources, files.FLOAT, done=told.append)
        alone = fusing.as_volume(trained, fused.image, fused.record)
        back = fusing.decompose(trained, alone, 0)
        mean, spread = fusing.decompose_samples(trained, alone, 0, 3)
        found.append([fused.image.stored, np.asarray(fused.volume.latent), back, mean, spread])
    assert sum(told) == 13 and len(told) > 1 and found[0][2].shape == (2, 13, 10, 12)
    for whole, pieces in zip(*found, strict=True):
        np.testing.assert_allclose(pieces, whole, atol=tolerances.ROUND_TRIP_F32 * np.abs(whole).max())


def test_parts_are_worked_on_at_once_and_stay_in_order(monkeypatch):
    monkeypatch.setattr(parts, "PART", 2)  # for each device
    monkeypatch.setattr(parts, "_parts_at_once", lambda: 2)
    both = threading.Barrier(2, timeout=60)  # broken unless two parts are under way
    size = 2 * len(jax.local_devices())

    def function(constant, part):
        if part.min() < 2 * size:
            both.wait()
        return part + constant

    found = parts.run(function, 10, np.arange(3 * size - 1), what="adding", done=lambda count: None)
    assert found.tolist() == list(range(10, 3 * size + 9))
