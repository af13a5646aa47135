"""What fuse and decompose say at their end: which model did it, and commands that work as they stand."""

import pathlib
import shlex

import pytest

from fusioninn_jax import decompose, fuse, report
from fusioninn_jax.studies import next_steps, study_page
from fusioninn_jax.studies.fusing_files import StudyFusion
from fusioninn_jax.trained_model import training_free
from tests.studies import cases
from tests.studies.test_nifti_round_trip import run_fuse

DECOMPOSE, PAGE = "python -m fusioninn_jax.decompose", "python -m fusioninn_jax.report"


def command(lines, start, program):
    """The arguments in the one line that starts so."""
    (line,) = [line for line in lines if line.startswith(f"{start} {program}")]
    return shlex.split(line.removeprefix(f"{start} {program}"))


def test_the_next_commands_work_as_they_stand(tmp_path, model_folder, pair, capsys, monkeypatch):
    folder = tmp_path / "of a patient"
    run_fuse(model_folder, *pair, "-o", folder / "f.nii.gz", "--latent", folder / "z.nii")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("written") and lines[1].endswith(f" s; model: fusioninn of {model_folder}")
    assert decompose.main(command(lines, "next:", DECOMPOSE)) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["f.nii.gz", "source_1.nii.gz", "source_2.nii.gz", "z.nii"]
    back = capsys.readouterr().out.splitlines()
    assert back[0].endswith(f"model: fusioninn of {model_folder}")
    asked = []
    monkeypatch.setattr(study_page, "write", lambda wishes: asked.append(wishes) or wishes.output)
    report.main(command(lines, "  or:", PAGE))
    report.main(command([back[1].partition(", which")[0]], "next:", PAGE))
    assert asked[0].sources == tuple(pair) and asked[0].output == folder / "study.html"
    assert [of.checkpoint for of in asked] == [str(model_folder)] * 2 and len(asked[1].sources) == 2


def test_the_page_reads_the_series_as_they_were_fused(tmp_path, model_folder, pair, capsys, monkeypatch):
    run_fuse(model_folder, *pair, "-o", tmp_path / "f.nii.gz", "--invert", "2", "--fill-value", "nan", "--resample")
    asked = []
    monkeypatch.setattr(study_page, "write", lambda wishes: asked.append(wishes) or wishes.output)
    report.main(command(capsys.readouterr().out.splitlines(), "  or:", PAGE))
    assert asked[0].inverted == (2,) and asked[0].resample and asked[0].fill_value != asked[0].fill_value


def test_an_archive_needs_no_model():
    asked = StudyFusion((pathlib.Path("a.mgz"), pathlib.Path("b.mgz")), pathlib.Path("x/f.nii"), lossless=True)
    assert next_steps.model(None, None) == "no model, the picture is the mean"
    for checkpoint in (None, "runs/x"):
        lines = next_steps.after_fusing(asked, checkpoint, None)
        assert command(lines, "next:", DECOMPOSE) == ["x/f.nii", "-o", "x/source_1.nii", "x/source_2.nii"]


def test_what_cannot_be_decomposed_is_the_end(pair):
    trained = training_free("mean")
    assert next_steps.model("runs/x", trained._replace(step=7)) == "mean of runs/x, step 7"
    assert next_steps.after_fusing(StudyFusion(tuple(pair), pair[0]), "runs/x", trained) == []
    assert next_steps.after_fusing_all(pair[0], ("a", "b"), False, "runs/x", trained) == []


@pytest.mark.parametrize("latents", [(), ("--with-latents",)])
def test_after_many_studies_the_next_command_is_said_once(tmp_path, model_folder, capsys, latents):
    for name in ("p1", "p2"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for i, kind in enumerate(("t1", "flair")):
            cases.save(tmp_path / "in" / name / f"{kind}.nii.gz", cases.voxels(i, (6, 4, 3)))
    studies = ["--studies", str(tmp_path / "in"), "--match", "t1*", "flair*", "-o", str(tmp_path / "out")]
    assert fuse.main([*studies, *latents, "--checkpoint", str(model_folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["2 studies fused, 0 were there already, 0 failed", f"model: fusioninn of {model_folder}"]
    assert decompose.main(command(lines, "next:", DECOMPOSE)) == 0
    assert (tmp_path / "out_back" / "p2" / "source_2.nii.gz").exists()
    lines = capsys.readouterr().out.splitlines()
    assert (
        lines[1] == f"model: fusioninn of {model_folder}" and lines[2].startswith(f"next: {PAGE}") and len(lines) == 3
    )
