"""`--invert`: a lesion dark in one series and bright in the other is bright in the fused image, and comes back dark."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from fusioninn_jax import decompose, fuse, report
from fusioninn_jax.formats import files, negative
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.scoring import image_scores
from fusioninn_jax.studies import study_negatives
from tests.studies import cases

SIZE = (48, 40, 3)


@pytest.fixture
def stroke(tmp_path):
    """(paths of a FLAIR-like and an ADC-like series, their voxels, (X, Y, Z) mask of the lesion)."""
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, size) for size in SIZE], indexing="ij")
    brain, lesion, fluid = x**2 + y**2 < 0.8, (x - 0.4) ** 2 + y**2 < 0.04, x**2 + (y + 0.3) ** 2 < 0.03
    noise = np.random.default_rng(0).normal(0, 15, (2, *SIZE))
    flair = np.where(brain, 400 + 150 * lesion - 250 * fluid + noise[0], 0)
    adc = np.where(brain, 400 - 300 * lesion + 600 * fluid + noise[1], 0)
    volumes = [np.maximum(volume, 0).astype(np.int16) for volume in (flair, adc)]
    paths = [cases.save(tmp_path / f"{name}.nii.gz", of) for name, of in zip(("flair", "adc"), volumes, strict=True)]
    return paths, volumes, lesion, brain


def auc(values, lesion, other):
    return mannwhitneyu(values[lesion], values[other]).statistic / lesion.sum() / other.sum()


def test_the_lesion_is_bright_in_the_fused_image_and_dark_in_what_comes_back(stroke, tmp_path):
    (flair, adc), volumes, lesion, brain = stroke
    plain, inverted, back = tmp_path / "plain.nii.gz", tmp_path / "inverted.nii.gz", tmp_path / "back"
    fuse.main([str(flair), str(adc), "-o", str(plain)])
    fuse.main([str(flair), str(adc), "-o", str(inverted), "--invert", "2"])
    seen = [auc(cases.stored(path), lesion, brain & ~lesion) for path in (plain, inverted)]
    assert seen[0] < 0.8 and seen[1] > 0.95
    outputs = [str(back / name) for name in ("flair.nii.gz", "adc.nii.gz")]
    back.mkdir()
    decompose.main([str(inverted), "-o", *outputs])
    for path, volume in zip(outputs, volumes, strict=True):
        found = cases.stored(path)
        assert found.dtype == volume.dtype and np.corrcoef(found[brain], volume[brain])[0, 1] > 0.9
    assert (cases.stored(outputs[1])[volumes[1] == 0] == 0).all()
    deviation = tmp_path / "deviation.nii.gz"
    outputs = [str(back / name) for name in ("a.nii.gz", "b.nii.gz")]
    decompose.main([str(inverted), "-o", *outputs, "--samples", "2", "--uncertainty", str(deviation)])
    assert np.isfinite(cases.stored(deviation)).all()


@pytest.mark.parametrize(
    "more, message",
    [
        (["--invert", "3"], "--invert 3: there are 2 series"),
        (["--invert", "0"], "the first is 1"),
        (["--invert", "adc"], "the first is 1"),
        (["--invert", "2", "--lossless"], "leave out --invert"),
    ],
)
def test_what_cannot_be_inverted_is_named(stroke, tmp_path, more, message):
    (flair, adc), *_ = stroke
    with pytest.raises(UserError, match=message):
        fuse.main([str(flair), str(adc), "-o", str(tmp_path / "f.nii.gz"), *more])


def test_a_number_beyond_the_series_is_named():
    with pytest.raises(UserError, match="--invert 3: there are 1 series"):
        study_negatives.find_all([np.zeros((1, 2, 2))], [3], ["a"])


GOOD = negative.note(negative.Negative(0.0, np.array([[0.0, 1.0]]), np.zeros((1, 2, 2), bool)))


@pytest.mark.parametrize(
    "noted",
    [
        [],
        {},
        GOOD | {"background": "x"},
        GOOD | {"ranges": [[0, 1]] * 2},
        GOOD | {"ranges": [[0, float("nan")]]},
        GOOD | {"outside": "?"},
        GOOD | {"outside": GOOD["outside"][:4]},
    ],
)
def test_a_damaged_note_is_one_line(noted):
    values = np.zeros((1, 1, 2, 2), np.float32)
    study_negatives.restored({"sources": [{"negative": GOOD}]}, values)
    with pytest.raises(UserError, match="the record of the fusion is damaged: .*; fuse anew"):
        study_negatives.restored({"sources": [{"negative": noted}]}, values)


def test_the_study_page_shows_the_negative_by_name(stroke, tmp_path, model_folder):
    (flair, adc), *_ = stroke
    series = [files.read(path) for path in (flair, adc)]
    first, second = study_negatives.as_negatives(series, (2,), ["flair", "adc"])
    assert first is series[0] and np.corrcoef(second.values.ravel(), series[1].values.ravel())[0, 1] < 0.9
    page = tmp_path / "page.html"
    words = ["study", str(flair), str(adc), "--labels", "FLAIR", "ADC", "--invert", "2", "-o", str(page)]
    report.main([*words, "--samples", "2", "--checkpoint", str(model_folder)])
    content = page.read_text()
    assert "ADC, negative" in content and all(image_scores.TITLES[name] in content for name in image_scores.TABLE1)
