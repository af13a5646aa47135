"""studies.page_content: the voxels of a page, and how large it may become."""

import numpy as np
import pytest

from fusioninn_jax.studies import examination, fusing, page_content, reading, slice_scores
from tests.studies import cases
from tests.studies.page_cases import big, data_of, unpacked, without_voxels


@pytest.fixture(scope="module", name="examined")
def examined_fixture(tmp_path_factory, model_folder):
    """(the sources of a study, what the page shows of it)."""
    folder = tmp_path_factory.mktemp("study")
    sources = reading.read_sources([cases.save(folder / f"{i}.nii.gz", big(i)) for i in (1, 2)])
    trained, mask = fusing.load(str(model_folder)), np.zeros(sources[0].stored.shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slice_scores, "TABLE1", ("q_ssim", "q_ncie"))  # the others take half a minute to compile
        return sources, examination.examine(trained, sources, mask, ["a", "b"], samples=2, seed=3)


def test_the_voxels_of_the_page_are_those_of_the_study(examined):
    sources, found = examined
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


def test_a_page_that_would_be_too_large_shows_fewer_slices(examined, monkeypatch):
    _, found = examined
    whole = len(page_content.render(found))
    bare = len(without_voxels(page_content.render(found)))
    monkeypatch.setattr(page_content, "LARGEST", (whole + bare) // 2)
    page = page_content.render(found)
    kept = data_of(page)["numbers"]
    assert len(page) <= page_content.LARGEST and 1 <= len(kept) < 5 and f"{len(kept)} of them, spread evenly" in page
    monkeypatch.setattr(page_content, "COARSE_SIDE", 8)
    page = page_content.render(found)
    assert data_of(page)["shrink"] == 2 and "mean of 2x2" in page and len(data_of(page)["numbers"]) == 5
