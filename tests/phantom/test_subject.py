"""phantom.subject: geometry, contrast, determinism. Small slices (96 x 96, 2.5 mm) but for one."""

import subprocess
import sys

import numpy as np
import pytest

from fusioninn_jax import phantom
from fusioninn_jax.phantom import anatomy, contrast
from fusioninn_jax.runtime.errors import UserError
from tests import tolerances

TINY = {"size": 96, "spacing": 2.5, "lesion_slices": 3, "other_slices": 1}
PURE = 0.95  # share of a pixel from which it counts as one tissue
WHITE, GREY, FLUID, CORE, OEDEMA, ENHANCING, VESSEL = range(7)
T1GD, FLAIR = range(2)


@pytest.fixture(scope="module")
def subjects() -> list[phantom.Subject]:
    return [phantom.simulate_subject(0, index, **TINY) for index in range(8)]


def test_shapes_and_types(subjects):
    for subject in subjects:
        assert subject.sources.shape == (4, 96, 96, 2) and subject.sources.dtype == np.float32
        assert subject.mask.shape == (4, 96, 96, 1) and subject.mask.dtype == np.uint8
        assert subject.tissues.shape == (4, 96, 96, len(contrast.TISSUES))
        assert np.all(np.diff(subject.slice_index) > 0)


def test_full_size():
    subject = phantom.simulate_subject(0, 3, lesion_slices=1, other_slices=1)
    assert subject.sources.shape == (2, 240, 240, 2)
    brain = subject.sources[..., 0] > 0
    assert 0.1 < brain.mean() < 0.6
    assert not brain[:, [0, -1]].any() and not brain[:, :, [0, -1]].any()  # the brain lies within the image


def test_intensities_are_integers_and_background_is_exactly_zero(subjects):
    for subject in subjects:
        brain = subject.tissues.sum(-1) > 0.5
        np.testing.assert_array_equal(subject.sources, np.rint(subject.sources))
        assert np.all(subject.sources[~brain] == 0)
        assert np.all(subject.sources[brain] >= 1) and subject.sources.max() <= 32767
        assert np.all(subject.mask[~brain] == 0)


def test_tissue_fractions_sum_to_one_in_the_brain(subjects):
    for subject in subjects:
        total = subject.tissues.sum(-1)
        assert subject.tissues.min() >= -tolerances.ROUNDING_F32
        np.testing.assert_allclose(total[total > 0.5], 1, atol=tolerances.SUM_F32)
        np.testing.assert_array_equal(total[total <= 0.5], 0)


def _medians(subjects, modality: int) -> np.ndarray:
    """Median intensity of each tissue relative to white matter, of each subject; NaN where a tissue is absent."""
    rows = []
    for subject in subjects:
        image = subject.sources[..., modality]
        pure = [image[subject.tissues[..., k] > PURE] for k in range(7)]
        rows.append([np.median(values) if len(values) > 5 else np.nan for values in pure])
    table = np.array(rows)
    return table / table[:, :1]


def test_contrast_of_t1_with_gadolinium(subjects):
    medians = _medians(subjects, T1GD)
    assert np.all(medians[:, GREY] < 0.95)
    assert np.all(medians[:, FLUID] < 0.75 * medians[:, GREY])
    assert np.nanmax(medians[:, OEDEMA]) < 0.95
    assert np.nanmedian(medians[:, ENHANCING]) > 1.2
    assert np.nanmedian(medians[:, CORE]) < np.nanmedian(medians[:, GREY])


def test_contrast_of_flair(subjects):
    medians = _medians(subjects, FLAIR)
    assert np.median(medians[:, GREY]) > 1
    assert np.all(medians[:, FLUID] < 0.5)
    assert np.all(medians[:, GREY] < 1.4)
    assert np.nanmedian(medians[:, OEDEMA]) > 1.15 * np.median(medians[:, GREY])


def test_labels_and_kinds(subjects):
    everything = [phantom.simulate_subject(0, index, **TINY) for index in range(8, 20)] + subjects
    kinds = {subject.tumour.kind: set() for subject in everything}
    for subject in everything:
        found = set(np.unique(subject.mask).tolist())
        assert found <= {0, 1, 2, 4} and 2 in found
        kinds[subject.tumour.kind] |= found
    assert kinds["ring"] == {0, 1, 2, 4}
    assert 1 not in kinds["solid"] and 4 in kinds["solid"]
    assert 4 not in kinds["non-enhancing"] and 1 in kinds["non-enhancing"]
    assert {len(subject.tumour.foci) for subject in everything} == {1, 2}
    assert any(not mask.any() for subject in everything for mask in subject.mask)  # slices beside the tumour
    assert {subject.scanner.field for subject in everything} == {1.5, 3.0}


def test_same_seed_same_bytes_and_other_seed_or_index_other_subject(subjects):
    again = phantom.simulate_subject(0, 2, **TINY)
    assert again.sources.tobytes() == subjects[2].sources.tobytes()
    assert again.mask.tobytes() == subjects[2].mask.tobytes()
    other = phantom.simulate_subject(1, 2, **TINY)
    assert other.sources.tobytes() != again.sources.tobytes()
    for index, subject in enumerate(subjects):
        for later in subjects[index + 1 :]:
            assert np.any(subject.tissues != later.tissues)
            assert subject.scanner != later.scanner
            assert np.all(subject.relaxation != later.relaxation)


def test_needs_no_tensorflow_and_imports_nilearn_lazily():
    code = "import sys, fusioninn_jax.phantom; print([m for m in ('tensorflow', 'nilearn') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_missing_nilearn_is_said(monkeypatch):
    anatomy.load_atlas.cache_clear()
    monkeypatch.setitem(sys.modules, "nilearn", None)
    with pytest.raises(UserError, match=r'pip install "fusioninn_jax\[phantom\]"'):
        phantom.simulate_subject(0, 0, **TINY)
