"""`report study`: a self-contained page without names; what it holds, scores and draws."""

import base64
import json
import re
import zlib

import jax
import numpy as np
import pytest
from PIL import Image

from fusioninn_jax import metrics, report
from fusioninn_jax.formats import files
from fusioninn_jax.formats.grid import PIXELS
from fusioninn_jax.formats.series import uniform
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import examination, fusing, packed_volume, page_content, reading, slice_scores
from fusioninn_jax.volumes import decompose_samples, from_fused
from tests import tolerances
from tests.studies import cases

SIZE = (80, 72, 6)


def big(seed):
    """Voxels with much background around the brain."""
    content = np.zeros(SIZE, np.int16)
    content[12:44, 10:38] = np.maximum(cases.voxels(seed, (32, 28, 6)), 0)
    return content


@pytest.fixture
def study(tmp_path):
    """Paths of two series and of a mask, in a folder that names a patient."""
    folder = tmp_path / "DOE_JANE"
    folder.mkdir()
    mask = np.zeros(SIZE, np.uint8)
    mask[20:30, 18:28, 1:4] = 2
    mask[23:26, 20:24, 2:4] = 4
    return [
        *[cases.save(folder / f"{i}.nii.gz", big(i), descrip=b"DOE^JANE") for i in (1, 2)],
        cases.save(folder / "seg.nii.gz", mask),
    ]


@pytest.fixture
def quick(monkeypatch):
    """Two fusion metrics only: the others take half a minute to compile."""
    monkeypatch.setattr(slice_scores, "TABLE1", ("q_ssim", "q_ncie"))


def zero_prior(trained):
    """The same model decomposing from a latent of zeros: noise is drawn by shape, zeros are not."""
    config = trained.config.copy_and_resolve_references()
    config.prior = "zeros"
    return trained._replace(config=config)


def unpacked(page, key, shape, reference=None):
    """The bytes of a volume of the page, read independently of the page's own code."""
    residuals = np.frombuffer(
        zlib.decompress(base64.b64decode(re.search(rf'id="voxels-{key}">([^<]*)<', page)[1])), np.uint8
    ).reshape(shape)
    if reference is not None:
        return residuals + reference
    result = np.zeros((shape[0], shape[1] + 1, shape[2] + 1), int)
    for z, y, x in np.ndindex(*shape):
        left, above, corner = result[z, y + 1, x], result[z, y, x + 1], result[z, y, x]
        guess = (
            min(left, above)
            if corner >= max(left, above)
            else max(left, above)
            if corner <= min(left, above)
            else left + above - corner
        )
        result[z, y + 1, x + 1] = (residuals[z, y, x] + guess) % 256
    return result[:, 1:, 1:].astype(np.uint8)


def data_of(page):
    return json.loads(re.search(r'id="study">(.*?)</script>', page)[1])


def without_voxels(page):
    return re.sub(r'(id="voxels-[\w-]+">)[^<]*<', r"\1<", page)


def test_the_page_shows_the_study_and_names_nobody(tmp_path, study, model_folder, quick):
    command = [
        "study",
        *map(str, study[:2]),
        "--mask",
        str(study[2]),
        "--samples",
        "2",
        "-o",
        str(tmp_path / "page.html"),
        "--figure",
        str(tmp_path / "figure.png"),
        "--checkpoint",
        str(model_folder),
    ]
    assert report.main(command) == 0
    page = (tmp_path / "page.html").read_text()
    data, text = data_of(page), without_voxels(page)
    assert "DOE" not in text and not re.search(r"(src|href)=|url\(|@import|fetch\(|import\(", text)
    assert "default-src 'none'" in page  # a browser enforces it
    assert data["numbers"] == [1, 2, 3, 4, 5]  # the all-zero slice is not shown
    assert [volume["title"] for volume in data["volumes"]] == [
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
    assert list(data["scores"]) == [
        "Q SSIM",
        "Q NCIE",
        "SSIM, source 1 and fused",
        "SSIM, source 2 and fused",
        "SSIM, source 1 and decomposed",
        "SSIM, source 2 and decomposed",
        "SSIM, the worse of the sources and fused",
    ]
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


def test_cutting_to_the_brain_changes_neither_scores_nor_images(study, model_folder, quick):
    """What is decomposed and scored inside the box is what the whole slices give there."""
    sources = reading.read_sources(study[:2])
    trained = zero_prior(fusing.load(None))  # the small one multiplies rounding errors
    found = examination.examine(trained, sources, np.zeros(sources[0].stored.shape), ["a", "b"], samples=2, seed=0)
    assert found.fused.shape[1:] < sources[0].stored.shape[1:]
    whole = fusing.fuse(trained, sources, files.FLOAT).volume
    numbers = np.arange(6)
    unit = np.tile(np.array([0, 1], np.float32), (6, 2, 1))
    mean, _ = decompose_samples(
        trained.model,
        trained.variables,
        from_fused(whole.fused, unit, trained.model.multiple),
        key=jax.random.key(0),
        samples=2,
        prior="zeros",
        numbers=numbers,
    )
    box = tuple(slice(a, a + n) for a, n in zip(found.corner, found.fused.shape, strict=True))
    values = np.stack([source.values for source in sources])
    brain = (values > 0).any(0)
    low, high = np.moveaxis(np.asarray(whole.ranges), -1, 0)[..., None, None].transpose(0, 2, 1, 3, 4)
    images = ((values - low) / np.where(high > low, high - low, 1)).astype(np.float32)[..., None]
    for i in (0, 1):
        assert np.abs(np.asarray(mean)[i][box] - found.decomposed[i])[found.brain].max() < tolerances.CUT_TO_BRAIN
    for z in range(5):
        score = metrics.q_ssim(
            images[0, z : z + 1],
            images[1, z : z + 1],
            np.asarray(whole.fused)[z : z + 1, ..., None],
            mask=brain[z : z + 1],
        )
        np.testing.assert_allclose(found.scores["Q SSIM"][z], score[0], atol=tolerances.CUT_TO_BRAIN)


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


def test_a_mask_of_fractions_is_one_label():
    assert examination.labels_of(np.array([0, 1, 4])).tolist() == [0, 1, 4]
    assert examination.labels_of(np.array([0, 0.25, 1])).tolist() == [0, 1, 1]
    assert examination.labels_of(np.array([0, 300, -2])).tolist() == [0, 1, 0]


def test_packing_keeps_every_byte():
    rng = np.random.default_rng(0)
    noise, smooth = rng.integers(0, 256, (2, 5, 7)).astype(np.uint8), np.full((1, 4, 4), 255, np.uint8)
    for volume in (noise, smooth):
        packed = packed_volume.pack(volume)
        page = f'<script id="voxels-x">{packed.text}</script>'
        assert packed.coding == "median" and (unpacked(page, "x", volume.shape) == volume).all()
    other = packed_volume.pack(noise, noise[::-1])
    assert (unpacked(f'id="voxels-x">{other.text}<', "x", noise.shape, noise[::-1]) == noise).all()


def test_where_no_slice_has_brain_enough_there_are_no_scores():
    brain = np.zeros((3, 10, 10), bool)
    brain[1, :2, :2] = True
    assert not slice_scores.is_scored(brain).any()
    assert slice_scores.means({"Q SSIM": np.full(3, np.nan)}) == {}
    assert examination.brain_box(np.zeros((3, 10, 10), bool)) == (slice(0, 3), slice(0, 10), slice(0, 10))


def test_scans_that_are_normalised_have_a_black_background_and_a_whole_brain(model_folder):
    grey = [big(seed).astype(np.float32) for seed in (1, 2)]
    brain = (grey[0] > 0) | (grey[1] > 0)
    sources = []
    for values in grey:
        normalised = np.where(brain, (values - values[brain].mean()) / values[brain].std(), 0).astype(np.float32)
        sources.append(uniform(np.moveaxis(normalised, -1, 0), PIXELS, {"kind": "none"}))
    brain = np.moveaxis(brain, -1, 0)
    trained = fusing.load(str(model_folder))
    study = examination.examine(trained, sources, np.zeros(brain.shape), ("a", "b"), samples=2, seed=0)
    shown = tuple(slice(start, start + length) for start, length in zip(study.corner, study.brain.shape, strict=True))
    np.testing.assert_array_equal(study.brain, brain[shown])
    assert study.brain.sum() == brain.sum() and np.abs(study.sources[:, ~study.brain]).max() < tolerances.COARSE
