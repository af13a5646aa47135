"""Pictures and arrays, batches, and every bad input: one line, nothing half-written."""

import errno
import os
import pathlib
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image

from fusioninn_jax import decompose, fuse
from fusioninn_jax.runtime import outputs
from fusioninn_jax.runtime.errors import UserError
from tests.studies import cases
from tests.studies.cases import RANGE, run_decompose, run_fuse
from tests.tolerances import PLACE_MM, ROUND_TRIP_F32


def flat(seed, dtype):
    return cases.voxels(seed, (9, 7, 1), "i2")[..., 0].T.clip(0, 255).astype(dtype)


@pytest.mark.parametrize("ending, dtype", [("png", "u1"), ("png", "u2"), ("tif", "u2"), ("tif", "f4"), ("npy", "i4")])
def test_pictures_and_arrays(tmp_path, model_folder, ending, dtype):
    images = [flat(i, dtype) for i in (1, 2)]
    names = [tmp_path / f"{name}.{ending}" for name in ("a", "b", "fused", "c", "d")]
    for name, image in zip(names, images, strict=False):
        write = {"png": lambda path, array: Image.fromarray(array).save(path), "tif": tifffile.imwrite, "npy": np.save}
        write[ending](name, image)
    run_fuse(model_folder, *names[:2], "-o", names[2], "--latent", tmp_path / "z.nii.gz")
    run_decompose(model_folder, names[2], "--latent", tmp_path / "z.nii.gz", "-o", *names[3:])
    read = {"png": lambda path: np.asarray(Image.open(path)), "tif": tifffile.imread, "npy": np.load}[ending]
    for image, name in zip(images, names[3:], strict=True):
        assert read(name).dtype == image.dtype
        np.testing.assert_allclose(read(name), image, atol=RANGE * ROUND_TRIP_F32 if dtype == "f4" else 0)
    assert read(names[2]).shape == (7, 9)


def test_resample_brings_the_second_to_the_first(tmp_path, model_folder):
    first = cases.save(tmp_path / "a.nii", cases.voxels(1, (8, 6, 4)))
    fine = cases.AFFINE @ np.diag([0.5, 0.5, 0.5, 1])
    second = cases.save(tmp_path / "b.nii", np.full((16, 12, 8), 40, np.uint16), fine)
    with pytest.raises(UserError, match=r"b.nii: shape \(16, 12, 8\) differs .*--resample"):
        run_fuse(model_folder, first, second, "-o", tmp_path / "f.nii")
    run_fuse(model_folder, first, second, "-o", tmp_path / "f.nii", "--resample", "--latent", tmp_path / "z.nii")
    run_decompose(
        model_folder, tmp_path / "f.nii", "--latent", tmp_path / "z.nii", "-o", tmp_path / "c.nii", tmp_path / "d.nii"
    )
    result = nib.load(tmp_path / "d.nii")
    np.testing.assert_allclose(result.affine, nib.load(first).affine, atol=PLACE_MM)
    assert result.get_data_dtype() == np.uint16
    assert (cases.stored(tmp_path / "d.nii")[1:-1, 1:-1, 1:-1] == 40).all()


def test_a_batch_goes_on_and_resumes(tmp_path, model_folder, capsys):
    for name in ("p1", "p2", "p3", "p4"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for i, kind in enumerate(("t1", "flair")):
            cases.save(tmp_path / "in" / name / f"{name}_{kind}.nii.gz", cases.voxels(i, (6, 4, 3)))
    (tmp_path / "in" / "p2" / "p2_flair.nii.gz").write_bytes(b"torn")
    (tmp_path / "in" / "p3" / "p3_t1.nii.gz").unlink()
    command = [
        "--studies",
        str(tmp_path / "in"),
        "--match",
        "*_t1.nii.gz",
        "*_flair.nii.gz",
        "-o",
        str(tmp_path / "out"),
        "--with-latents",
        "--checkpoint",
        str(model_folder),
    ]
    assert fuse.main(command) == 1
    said = "".join(capsys.readouterr())
    assert "2 studies fused, 0 were there already, 2 failed" in said
    assert "p2_flair.nii.gz: not a readable NIfTI" in said and "p3: 0 series match *_t1.nii.gz" in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["p1", "p4"]  # no folder without a result
    done = tmp_path / "out" / "p1" / "fused.nii.gz"
    before = done.stat().st_mtime_ns
    cases.save(tmp_path / "in" / "p2" / "p2_flair.nii.gz", cases.voxels(3, (6, 4, 3)))
    (tmp_path / "in" / "p3" / "p3_flair.nii.gz").unlink()
    assert fuse.main(command) == 0
    assert "1 studies fused, 2 were there already, 0 failed" in capsys.readouterr().out
    assert done.stat().st_mtime_ns == before and (tmp_path / "out" / "p4" / "latent.nii.gz").exists()
    with pytest.raises(UserError, match="nothing below it matches"):
        fuse.main([*command[:3], "x*", "y*", *command[5:]])


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


def test_bad_decompositions(tmp_path, model_folder, pair):
    fused, out = tmp_path / "f.nii.gz", ["-o", tmp_path / "1.nii", tmp_path / "2.nii"]
    run_fuse(model_folder, *pair, "-o", fused)
    other = cases.save_model(tmp_path / "other", seed=1)
    for arguments, message in [
        ([fused, *out, "--checkpoint", other], "was fused by another model"),
        ([fused, "-o", tmp_path / "1.nii"], "was fused from 2 series, 1 outputs are named"),
        ([pair[0], *out], "holds no record of its sources"),
        ([fused, *out, "--latent", fused], "4-D one is expected|is a fused image where the latent"),
        ([fused, *out, "--samples", 3, "--latent", fused], "--latent leaves nothing to draw"),
        ([fused, *out, "--uncertainty", tmp_path / "u.nii"], "at least 2 for --uncertainty"),
        ([fused, "-o", fused, tmp_path / "2.nii", "--overwrite"], "is an input too"),
    ]:
        with pytest.raises(UserError, match=message) as caught:
            run_decompose(model_folder, *arguments) if "--checkpoint" not in arguments else decompose.main(
                list(map(str, arguments))
            )
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "1.nii").exists() and not (tmp_path / "2.nii").exists()


def test_a_full_disk_leaves_nothing(tmp_path, model_folder, pair, monkeypatch):
    write_bytes = pathlib.Path.write_bytes

    def full(path, content):
        write_bytes(path, content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"f.nii.gz: cannot be written \(No space left on device\)"):
        run_fuse(model_folder, *pair, "-o", tmp_path / "f.nii.gz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flair.nii.gz", "t1.nii.gz"]


def test_what_was_there_stays_until_the_new_is_whole(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").touch()
    with pytest.raises(RuntimeError), outputs.new_files(tmp_path / "a") as (temporary,):
        temporary.mkdir()
        raise RuntimeError
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["old"]
    with outputs.new_files(tmp_path / "a") as (temporary,):
        temporary.mkdir()
    assert list(tmp_path.iterdir()) == [tmp_path / "a"] and not list((tmp_path / "a").iterdir())


def test_a_loop_of_links_is_one_line(tmp_path):
    first, second, out = tmp_path / "a.nii", tmp_path / "b.nii", tmp_path / "out.nii"
    first.symlink_to(second)
    second.symlink_to(first)
    for command, arguments in (
        (fuse, [first, second, "-o", out]),
        (fuse, [first, first, "-o", out]),
        (decompose, [first, "-o", out, tmp_path / "other.nii"]),
    ):
        with pytest.raises(UserError, match="a.nii: is a loop of symbolic links"):
            command.main([str(argument) for argument in arguments])
    assert not out.exists()


def test_a_pipe_is_refused_at_once(tmp_path):
    pipe = tmp_path / "pipe.nii.gz"
    os.mkfifo(pipe)
    for command, arguments in (
        (fuse, [pipe, pipe, "-o", tmp_path / "out.nii"]),
        (decompose, [pipe, "-o", tmp_path / "a.nii", tmp_path / "b.nii"]),
    ):
        with pytest.raises(UserError, match="is a pipe; give a file"):
            command.main([str(argument) for argument in arguments])


def test_a_name_that_no_disk_takes_is_one_line(tmp_path, model_folder):
    sources = [cases.save(tmp_path / f"{seed}.nii", cases.voxels(seed)) for seed in (0, 1)]
    command = [sys.executable, "-m", "fusioninn_jax.fuse", *map(str, sources), "-o", str(tmp_path / f"{'x' * 300}.nii")]
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 2 and told.stderr.count("\n") == 1 and "Traceback" not in told.stderr
