"""`report study`: a self-contained page without names; what it draws and counts."""
import json
import re

import numpy as np
import pytest
from PIL import Image

from fusioninn_jax import report
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import study_page
from tests.studies import cases


def big(seed):
    return cases.voxels(seed, (24, 20, 4))


def test_the_page_shows_the_study_and_names_nobody(tmp_path, model_folder, monkeypatch):
    monkeypatch.setattr(study_page, "TABLE1", ("q_ssim", "q_ncie"))  # the others take half a minute to compile
    folder = tmp_path / "DOE_JANE"
    folder.mkdir()
    sources = [cases.save(folder / f"{i}.nii.gz", big(i), descrip=b"DOE^JANE") for i in (1, 2)]
    mask = np.zeros((24, 20, 4), np.uint8)
    mask[10:14, 8:12, 1:3] = 2
    cases.save(folder / "seg.nii.gz", mask)
    command = ["study", *map(str, sources), "--mask", str(folder / "seg.nii.gz"), "--samples", "2",
               "-o", str(tmp_path / "page.html"), "--figure", str(tmp_path / "figure.png"), "--checkpoint",
               str(model_folder)]
    assert report.main(command) == 0
    page = (tmp_path / "page.html").read_text()
    assert "DOE" not in page and not re.search(r"(src|href)=\"http|url\(", page)
    images = json.loads(re.search(r"const images = (.*?), outlines = ", page)[1])
    assert len(images) == 3 and len(images[0]) == 9  # the all-zero slice is not shown
    assert all(uri.startswith("data:image/png;base64,") for row in images for uri in row)
    for name in ("Q SSIM", "Q NCIE", "source 1 and fused", "source 2 and decomposed"):
        assert name in page, name
    assert "nan" not in page.lower().replace("nand", "")[:page.index("const images")]
    assert Image.open(tmp_path / "figure.png").size[0] > 500
    with pytest.raises(UserError, match="page.html: exists already"):
        report.main(command)
    with pytest.raises(UserError, match="moved.nii: its affine puts"):
        moved = cases.save(folder / "moved.nii", mask, cases.AFFINE
                           + np.array([[0, 0, 0, 9.0]] + [[0, 0, 0, 0]] * 3))
        report.main(["study", *map(str, sources), "--mask", str(moved), "-o", str(tmp_path / "b.html")])


def test_the_outline_is_the_rim_of_the_mask():
    mask = np.zeros((6, 7), bool)
    mask[1:5, 2:6] = True
    rim = study_page.outline(mask)
    assert rim.sum() == 12 and not rim[2:4, 3:5].any() and not rim[~mask].any()
    assert study_page.outline(np.ones((3, 3), bool)).sum() == 8  # the image's edge counts as outside
