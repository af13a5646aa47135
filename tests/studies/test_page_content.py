"""studies.page_content: the voxels of a page, and how large it may become."""

import numpy as np

from fusioninn_jax.studies import examination, fusing, page_content, reading
from tests.studies.page_cases import data_of, unpacked, without_voxels


def test_the_voxels_of_the_page_are_those_of_the_study(study, model_folder, quick):
    sources = reading.read_sources(study[:2])
    trained = fusing.load(str(model_folder))
    found = examination.examine(trained, sources, np.zeros(sources[0].stored.shape), ["a", "b"], samples=2, seed=3)
    page = page_content.render(found)
    data = data_of(page)
    (z, y, x), shape = found.corner, tuple(data["shape"])
    assert data["tumour"] is None and shape == found.fused.shape
    for i, source in enumerate(sources, 1):
        volume = data["volumes"][i - 1]
        low, high = (np.array(volume[bound])[:, None, None] for bound in ("low", "high"))
        stored = unpacked(page, f"source-{i}", shape)
        shown = low + stored / 255 * (high - low)
        wanted = source.values[z : z + shape[0], y : y + shape[1], x : x + shape[2]]
        assert np.abs(shown - wanted).max() <= (high - low).max() / 255 * 0.501
        back = unpacked(page, f"decomposed-{i}", shape, stored)
        assert np.abs(back / 255 - found.decomposed[i - 1].clip(0, 1)).max() <= 0.501 / 255


def test_a_page_that_would_be_too_large_shows_fewer_slices(study, model_folder, quick, monkeypatch):
    sources = reading.read_sources(study[:2])
    found = examination.examine(
        fusing.load(str(model_folder)), sources, np.zeros(sources[0].stored.shape), ["a", "b"], samples=2, seed=3
    )
    whole = len(page_content.render(found))
    bare = len(without_voxels(page_content.render(found)))
    monkeypatch.setattr(page_content, "LARGEST", (whole + bare) // 2)
    page = page_content.render(found)
    kept = data_of(page)["numbers"]
    assert len(page) <= page_content.LARGEST and 1 <= len(kept) < 5 and f"{len(kept)} of them, spread evenly" in page
    monkeypatch.setattr(page_content, "COARSE_SIDE", 8)
    page = page_content.render(found)
    assert data_of(page)["shrink"] == 2 and "mean of 2x2" in page and len(data_of(page)["numbers"]) == 5
