"""`report study`: a self-contained page without names; what it draws and counts."""
import json
import re

import numpy as np
import pytest
import scipy.stats
from PIL import Image

from fusioninn_jax import report
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import study_page
from tests import tolerances
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
    for name in ("Q SSIM", "Q NCIE", "source 1 and fused", "source 2 and decomposed",
                 "the worse of the sources and fused", "How the annotation stands out", "contrast-to-noise",
                 "whole annotation"):
        assert name in page, name
    assert "nan" not in page.lower().replace("nand", "")[:page.index("const images")]
    assert Image.open(tmp_path / "figure.png").size[0] > 500
    with pytest.raises(UserError, match="page.html: exists already"):
        report.main(command)
    with pytest.raises(UserError, match="moved.nii: its affine puts"):
        moved = cases.save(folder / "moved.nii", mask, cases.AFFINE
                           + np.array([[0, 0, 0, 9.0]] + [[0, 0, 0, 0]] * 3))
        report.main(["study", *map(str, sources), "--mask", str(moved), "-o", str(tmp_path / "b.html")])


@pytest.mark.parametrize("name, labels, parts", [
    ("seg.nii.gz", (1, 2, 4), {"core": 1, "oedema": 2, "enhancing": 4}),
    ("a-seg.nii.gz", (1, 2, 3), {"core": 1, "oedema": 2, "enhancing": 3}),
    ("BRATS_007.nii.gz", (1, 2), {"core": 2, "oedema": 1}),
    ("lesion.nii.gz", (1,), {}),
    ("lesion.nii.gz", (1, 9), {}),
    ("lesion.nii.gz", (0.25, 1), {}),
])
def test_a_mask_is_read_as_parts_where_its_labels_are_a_tumour_s(name, labels, parts):
    annotation = np.zeros((2, 6, 8))
    annotation[1, 2, :len(labels)] = labels
    found = study_page.tumour_parts(annotation, name)
    np.testing.assert_array_equal(found.pop("whole annotation"), annotation > 0)
    assert set(found) == set(parts)
    for part, label in parts.items():
        np.testing.assert_array_equal(found[part], annotation == label, err_msg=part)


def test_conspicuity_pools_the_annotated_slices_of_the_study():
    rng = np.random.default_rng(0)
    sources = np.float32(np.round(255 * rng.random((2, 4, 20, 22))) / 255)
    brain = np.zeros((4, 20, 22), bool)
    brain[:, 3:] = True
    lesion = np.zeros_like(brain)
    lesion[1:3, 8:12, 5:9] = True
    sources[1, lesion] = np.float32(np.round(255 * (0.5 + sources[1, lesion] / 2)) / 255)
    found = study_page.conspicuity(sources, sources[1], brain, {"whole annotation": lesion}, ["T1-Gd", "FLAIR"])
    fused, _, first, second, over_best, over_mean = found["AUC"]["whole annotation"]
    other = brain & ~lesion & lesion.any((1, 2), keepdims=True)
    for value, image in ((first, sources[0]), (second, sources[1])):
        pairs = scipy.stats.mannwhitneyu(image[lesion].astype(float), image[other].astype(float))
        assert value == pytest.approx(pairs.statistic / (lesion.sum() * other.sum()), abs=tolerances.METRIC_F32)
    assert fused == second > 0.7 and over_best == 0 < over_mean
    nothing = study_page.conspicuity(sources, sources[1], brain, {"whole annotation": np.zeros_like(brain)}, ["a", "b"])
    assert nothing == {}


def test_the_outline_is_the_rim_of_the_mask():
    mask = np.zeros((6, 7), bool)
    mask[1:5, 2:6] = True
    rim = study_page.outline(mask)
    assert rim.sum() == 12 and not rim[2:4, 3:5].any() and not rim[~mask].any()
    assert study_page.outline(np.ones((3, 3), bool)).sum() == 8  # the image's edge counts as outside
