"""Pictures and arrays, batches, outputs that stay until the new are whole, and what is no file: one line."""

import os
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
    assert "1 study fused, 2 were there already, 0 failed" in capsys.readouterr().out
    assert done.stat().st_mtime_ns == before and (tmp_path / "out" / "p4" / "latent.nii.gz").exists()
    with pytest.raises(UserError, match="nothing below it matches"):
        fuse.main([*command[:3], "x*", "y*", *command[5:]])


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
