"""`report study`: a self-contained page without names; what it holds, scores and draws."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from fusioninn_jax import report
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import examination
from tests import tolerances
from tests.studies import cases
from tests.studies.page_cases import big, data_of, without_voxels

TITLES = [
    "source 1",
    "source 2",
    "fused",
    "source 1, decomposed",
    "source 2, decomposed",
    "source 1, |error|",
    "source 2, |error|",
    "source 1, uncertainty",
    "source 2, uncertainty",
]
SCORES = [
    "Q SSIM",
    "Q NCIE",
    "SSIM, source 1 and fused",
    "SSIM, source 2 and fused",
    "SSIM, source 1 and decomposed",
    "SSIM, source 2 and decomposed",
    "SSIM, the worse of the sources and fused",
]


def test_the_page_shows_the_study_and_names_nobody(tmp_path, study, model_folder, quick):
    files = {"--mask": study[2], "-o": tmp_path / "page.html", "--figure": tmp_path / "figure.png"}
    options = files | {"--samples": 2, "--checkpoint": model_folder}
    command = ["study", *map(str, study[:2]), *(str(word) for option in options.items() for word in option)]
    assert report.main(command) == 0
    page = (tmp_path / "page.html").read_text()
    data, text = data_of(page), without_voxels(page)
    assert "DOE" not in text and not re.search(r"(src|href)=|url\(|@import|fetch\(|import\(", text)
    assert "default-src 'none'" in page  # a browser enforces it
    assert data["numbers"] == [1, 2, 3, 4, 5]  # the all-zero slice is not shown
    assert [volume["title"] for volume in data["volumes"]] == TITLES and list(data["scores"]) == SCORES
    assert all(
        name in page
        for name in [*data["scores"], "How the annotation stands out", "contrast-to-noise", "whole annotation"]
    )
    assert data["tumour"]["labels"] == [2, 4] and data["axes"] == ["S", "P", "L"]
    np.testing.assert_allclose(data["tumour"]["areas"], [0, 100, 100, 100, 0], rtol=tolerances.LONG_F32)
    assert "NaN" not in json.dumps(data)
    assert Image.open(tmp_path / "figure.png").size[0] > 500
    with pytest.raises(UserError, match="page.html: exists already"):
        report.main(command)
    with pytest.raises(UserError, match="moved.nii: its affine puts"):
        moved = cases.save(
            tmp_path / "moved.nii", big(1), cases.AFFINE + np.array([[0, 0, 0, 9.0]] + [[0, 0, 0, 0]] * 3)
        )
        report.main(["study", *map(str, study[:2]), "--mask", str(moved), "-o", str(tmp_path / "b.html")])


@pytest.mark.parametrize("flags, darkest", [([], -999), (["--fill-value=-999"], 0)])
def test_missing_voxels_are_background_on_the_page(tmp_path, model_folder, monkeypatch, flags, darkest):
    content = big(1)
    content[:5] = -999
    paths = [cases.save(tmp_path / f"{i}.nii", voxels) for i, voxels in enumerate((content, big(2)))]

    def examine(trained, sources, *rest, **settings):
        assert sources[0].values.min() == darkest and sources[1].values.min() == 0
        expected = np.where(content == -999, darkest, content)
        np.testing.assert_array_equal(np.sort(sources[0].values, None), np.sort(expected, None))  # the grid is turned
        raise UserError("seen")

    monkeypatch.setattr(examination, "examine", examine)
    with pytest.raises(UserError, match="^seen$"):
        report.main(
            ["study", *map(str, paths), "-o", str(tmp_path / "p.html"), "--checkpoint", str(model_folder)] + flags
        )
