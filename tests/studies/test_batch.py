"""Folders of studies through `fuse --studies` and back through `decompose --studies`, in NIfTI and in DICOM."""

import numpy as np
import pydicom
import pytest

from fusioninn_jax import decompose, fuse
from fusioninn_jax.formats import files
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import fusing_files
from tests.studies import cases, dicom_series
from tests.studies.cases import run_decompose, run_fuse


def test_nifti_studies_come_back_from_a_folder(tmp_path, model_folder, capsys):
    for name in ("p1", "p2"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for i, kind in enumerate(("t1", "flair")):
            cases.save(tmp_path / "in" / name / f"{kind}.nii.gz", cases.voxels(i, (8, 8, 3)))
    run_fuse(
        model_folder,
        "--studies",
        tmp_path / "in",
        "--match",
        "t1.nii.gz",
        "flair.nii.gz",
        "-o",
        tmp_path / "out",
        "--with-latents",
    )
    command = ["--studies", tmp_path / "out", "--names", "t1", "flair", "-o", tmp_path / "back"]
    run_decompose(model_folder, *command, "--with-latents")
    assert "2 studies decomposed, 0 were there already, 0 failed" in capsys.readouterr().out
    for name in ("p1", "p2"):
        for kind in ("t1", "flair"):
            ours, theirs = (cases.stored(tmp_path / where / name / f"{kind}.nii.gz") for where in ("back", "in"))
            assert ours.dtype == theirs.dtype and np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1
    run_decompose(model_folder, *command)
    assert "0 studies decomposed, 2 were there already" in capsys.readouterr().out
    (tmp_path / "out" / "p1" / "fused.nii.gz").write_bytes(b"torn")
    (tmp_path / "back" / "p1" / "t1.nii.gz").unlink()
    assert decompose.main([*map(str, command), "--checkpoint", str(model_folder)]) == 1
    said = "".join(capsys.readouterr())
    assert "0 studies decomposed, 1 were there already, 1 failed" in said and "fused.nii.gz" in said


def test_dicom_studies_come_back_as_dicom(tmp_path, model_folder):
    voxels = np.random.default_rng(0).integers(0, 900, (2, 3, 8, 8)).astype(np.uint16)
    (tmp_path / "in" / "p1").mkdir(parents=True)
    for kind, content in zip(("t1", "flair"), voxels, strict=True):
        dicom_series.write(tmp_path / "in" / "p1" / kind, content)
    run_fuse(
        model_folder, "--studies", tmp_path / "in", "--match", "t1", "flair", "-o", tmp_path / "out", "--with-latents"
    )
    fused = tmp_path / "out" / "p1" / "fused"
    assert fused.is_dir() and len({pydicom.dcmread(file).SeriesInstanceUID for file in fused.iterdir()}) == 1
    run_decompose(
        model_folder, "--studies", tmp_path / "out", "--names", "t1", "flair", "-o", tmp_path / "back", "--with-latents"
    )
    for kind in ("t1", "flair"):
        folder = tmp_path / "back" / "p1" / kind
        assert all(pydicom.dcmread(file).Modality == "MR" for file in folder.iterdir())
        assert np.abs(files.read(folder).values - files.read(tmp_path / "in" / "p1" / kind).values).max() <= 1.01


def test_a_latent_that_is_asked_for_and_missing_is_named(tmp_path, model_folder, pair, capsys):
    (tmp_path / "in" / "p1").mkdir(parents=True)
    run_fuse(model_folder, *pair, "-o", tmp_path / "in" / "p1" / "fused.nii.gz")
    command = ["--studies", str(tmp_path / "in"), "--names", "t1", "flair", "-o", str(tmp_path / "back")]
    assert decompose.main([*command, "--with-latents", "--checkpoint", str(model_folder)]) == 1
    said = "".join(capsys.readouterr())
    assert "latent.nii.gz: missing; fuse with --with-latents" in said and "1 failed" in said
    assert not list(tmp_path.glob("back/**/*.gz"))


def test_the_size_of_a_latent_is_said_before_it_is_written(tmp_path, model_folder, pair, capsys):
    run_fuse(model_folder, *pair, "-o", tmp_path / "f.nii.gz", "--latent", tmp_path / "z.nii.gz")
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("MB") and "z.nii.gz: will take about" in said[0] and said[1].startswith("written")
    noise = cases.save(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 999, (64, 60, 12)).astype(np.int16))
    other = cases.save(tmp_path / "b.nii.gz", np.random.default_rng(1).integers(0, 999, (64, 60, 12)).astype(np.int16))
    run_fuse(model_folder, noise, other, "-o", tmp_path / "g.nii.gz", "--latent", tmp_path / "y.nii.gz")
    told = fusing_files.latent_bytes([files.read(noise), files.read(other)])
    assert 0.7 < (tmp_path / "y.nii.gz").stat().st_size / told < 1.4


def end_of_input(question):
    raise EOFError


def test_one_file_named_twice_is_asked_about(tmp_path, model_folder, pair, monkeypatch, capsys):
    command = [str(pair[0]), str(pair[0]), "-o", str(tmp_path / "f.nii.gz"), "--checkpoint", str(model_folder)]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    with pytest.raises(UserError, match="t1.nii.gz: is named twice"):
        fuse.main(command)
    monkeypatch.setattr("builtins.input", end_of_input)
    with pytest.raises(UserError, match="t1.nii.gz: is named twice"):
        fuse.main(command)
    assert not (tmp_path / "f.nii.gz").exists()
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert fuse.main(command) == 0
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert fuse.main([*command, "--overwrite"]) == 0
    assert "named twice; it is fused with itself" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["--studies", "x", "-o", "y"], ["-o", "y"], ["f.nii.gz", "--studies", "x", "--names", "a", "b", "-o", "y"]],
)
def test_arguments_that_do_not_go_together_are_told(arguments):
    with pytest.raises(UserError, match="--studies"):
        decompose.main(arguments)
