"""data.brats.reading: which slices are kept, and subjects that cannot be read."""

import json

import numpy as np
import pytest

from data import prepare
from data.brats import reading
from tests.data import synthetic
from tests.data.refusals import refused, truncate


def _slices(brain_pixels, labels):
    """One 10 x 10 slice per entry: so many brain pixels (in the second source alone), and these labels."""
    sources = np.zeros((len(brain_pixels), 100, 2), np.float32)
    mask = np.zeros((len(brain_pixels), 100, 1), np.uint8)
    for row, (count, present) in enumerate(zip(brain_pixels, labels, strict=True)):
        sources[row, :count, 1] = 5
        mask[row, : len(present), 0] = present
    shape = (len(brain_pixels), 10, 10)
    return reading.Slices(sources.reshape(*shape, 2), mask.reshape(*shape, 1), ["a"] * len(shape), 0, (1.0, 1.0), 0)


@pytest.mark.parametrize(
    "annotated, required, fraction, expected",
    [
        (True, (1, 2), 0.05, [True, False, False, True, False]),  # the last has its labels outside any brain
        (True, (2,), 0.05, [True, True, False, True, False]),
        (True, (), 0.05, [True, True, True, False, False]),
        (False, (1, 2), 0.05, [True, True, True, False, False]),
        (False, (), 0.9, [True, False, False, False, False]),
        (False, (), 0.0, [True, True, True, True, False]),
    ],
)
def test_keep(annotated, required, fraction, expected):
    slices = _slices([90, 50, 5, 4, 0], [(1, 2, 4), (2,), (), (1, 2), (1, 2)])
    kept = reading.keep(slices, annotated=annotated, required_labels=required, min_brain_fraction=fraction)
    assert kept.tolist() == expected


def _shape(folder):
    synthetic.save(folder / "p2_flair.nii.gz", synthetic.volume(0)[:, :, :-1])


def _affine(folder):
    synthetic.save(folder / "p2_flair.nii.gz", synthetic.volume(0), np.diag([-1, -1, 1.5, 1]))


def _annotation_affine(folder):
    moved = synthetic.LPS_AFFINE.copy()
    moved[0, 3] += 5
    synthetic.save(folder / "p2_seg.nii.gz", synthetic.annotation(), moved)


def _nan(folder):
    voxels = synthetic.volume(0).astype(np.float32)
    voxels[0, 0, 0] = np.nan
    synthetic.save(folder / "p2_flair.nii.gz", voxels)


def _four(folder):
    synthetic.save(folder / "p2_flair.nii.gz", np.stack([synthetic.volume(0)] * 2, axis=-1))


def _label(folder):
    synthetic.save(folder / "p2_seg.nii.gz", synthetic.annotation((1, 2, 3)))


def _half_label(folder):
    synthetic.save(folder / "p2_seg.nii.gz", synthetic.annotation().astype(np.float32) / 2)


BAD = [
    (truncate, "p2_t1ce.nii.gz: truncated or corrupt"),
    (_shape, "p2_flair.nii.gz: shape .* differs from"),
    (_affine, "p2_flair.nii.gz: its affine puts"),
    (_annotation_affine, "p2_seg.nii.gz: its affine puts"),
    (_nan, "p2_flair.nii.gz: 1 NaN or infinite voxels"),
    (_four, "p2_flair.nii.gz: 4-D file"),
    (_label, "p2_seg.nii.gz: holds label 3"),
    (_half_label, "p2_seg.nii.gz: holds label 0.5"),
]


@pytest.mark.parametrize("spoil, message", BAD, ids=[spoil.__name__[1:] for spoil, _ in BAD])
def test_a_bad_subject_stops_the_run_or_is_skipped_with_its_reason(source, tmp_path, capsys, spoil, message):
    spoil(source / "p2")
    line = refused(source, tmp_path, message)
    assert prepare.main(["brats", f"--source={source}", f"--data_dir={tmp_path}/out", "--skip_bad"]) == 0
    assert f"skipped p2: {line}\n" in capsys.readouterr().out
    metadata = json.loads(next((tmp_path / "out").rglob("metadata.json")).read_text())
    assert list(metadata["counts"]["skipped"]) == ["p2"]
    assert sorted(sum(metadata["subjects"].values(), [])) == ["p1", "p3"]


def test_all_bad(source, tmp_path):
    for folder in source.iterdir():
        (folder / f"{folder.name}_flair.nii.gz").unlink()
    refused(source, tmp_path, "all 3 subjects are bad, the first one: .* p1 has no flair", "--skip_bad")


def test_negative_voxels_under_strict(source, tmp_path):
    synthetic.save(source / "p2" / "p2_flair.nii.gz", synthetic.volume(0) - 1)
    refused(source, tmp_path, r"p2_flair.nii.gz: \d+ negative voxels; .*--strict", "--strict")
