"""studies.fusing_files: all outputs or none, and every bad input one line."""

import errno
import pathlib

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from fusioninn_jax import fuse
from fusioninn_jax.runtime.errors import UserError
from tests.studies import cases
from tests.studies.cases import run_fuse


def _bad_inputs(folder, model):
    """(arguments of fuse, message)."""
    good, other = folder / "t1.nii.gz", folder / "flair.nii.gz"
    moved = cases.AFFINE.copy()
    moved[0, 3] += 5
    four = folder / "4d.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((9, 7, 5, 2), np.int16), cases.AFFINE), four)
    (folder / "notes.docx").write_text("x")
    Image.fromarray(np.zeros((7, 9, 3), np.uint8)).save(folder / "rgb.png")
    Image.fromarray(np.zeros((7, 9), np.uint8)).save(folder / "grey.png")
    np.save(folder / "objects.npy", np.array([["a"]]))
    out = folder / "out.nii.gz"
    three = cases.save_model(folder / "three", sources=3)
    (folder / "there.nii.gz").write_bytes(b"precious")
    return [
        ([good, cases.save(folder / "moved.nii", cases.voxels(1), moved), "-o", out], "moved.nii: its affine puts"),
        ([good, cases.save(folder / "big.nii", cases.voxels(1, (9, 7, 6))), "-o", out], "big.nii: shape"),
        ([good, four, "-o", out], "4d.nii.gz: 4-D file of shape"),
        ([good, folder / "none.nii", "-o", out], "none.nii: no such file or folder"),
        ([good, folder / "notes.docx", "-o", out], "notes.docx: of no known format"),
        ([folder / "grey.png", folder / "rgb.png", "-o", folder / "out.jpg"], "out.jpg: .jpg is read, not written"),
        ([folder / "grey.png", folder / "objects.npy", "-o", out], "objects.npy: str32 of shape"),
        ([good, other, "-o", folder / "there.nii.gz"], "there.nii.gz: exists already; .*--overwrite"),
        ([good, other, "-o", other, "--overwrite"], "flair.nii.gz: is an input too"),
        ([good, other, "-o", out, "--latent", out], "out.nii.gz: named twice"),
        ([good, other, "-o", folder / "out.png"], "out.png: 5 slices, where .png holds one"),
        ([good, other, "-o", folder / "out.dcm"], "out.dcm: DICOM is written as a folder"),
        ([good, other, "-o", "/proc/none/out.nii"], "/proc/none/out.nii: cannot be written"),
        ([good, other, good, "-o", out], "3 series: the model of this checkpoint fuses 2"),
        ([good, other, "-o", out, "--checkpoint", three], "2 series: the model of this checkpoint fuses 3"),
        ([good, other, "-o", out, "--checkpoint", folder], "no checkpoints there"),
        ([good, "-o", out], "two series at least"),
        ([good, other, "-o", out, "--lossless", "--latent", "z.nii"], "--lossless writes one NIfTI file"),
        ([good, other, "-o", out, "--studies", folder], "--studies takes --match"),
    ]


def test_bad_inputs_are_one_line_and_leave_nothing(tmp_path, model_folder, pair):
    cases_ = _bad_inputs(tmp_path, model_folder)
    before = sorted(tmp_path.rglob("*"))
    for arguments, message in cases_:
        with pytest.raises(UserError, match=message) as caught:
            run_fuse(model_folder, *arguments) if "--checkpoint" not in arguments else fuse.main(
                list(map(str, arguments))
            )
        assert "\n" not in str(caught.value)
        assert sorted(tmp_path.rglob("*")) == before, message
    assert (tmp_path / "there.nii.gz").read_bytes() == b"precious"


def test_a_full_disk_leaves_nothing(tmp_path, model_folder, pair, monkeypatch):
    write_bytes = pathlib.Path.write_bytes

    def full(path, content):
        write_bytes(path, content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"f.nii.gz: cannot be written \(No space left on device\)"):
        run_fuse(model_folder, *pair, "-o", tmp_path / "f.nii.gz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flair.nii.gz", "t1.nii.gz"]
