"""runtime.staging: hidden folders go when their writer is dead, and nothing else does."""

import os
import signal
import subprocess
import sys
import time

from fusioninn_jax.runtime import outputs, staging


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


CHILD = """
import pathlib, sys, time
from fusioninn_jax.runtime import outputs, staging
folder = pathlib.Path(sys.argv[1])
with outputs.new_files(folder / "f.nii", folder / "deep" / "z.nii") as (one, two):
    one.write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


def child(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    return process


def test_what_a_killed_run_left_goes_with_the_next_and_a_living_run_keeps_its_own(tmp_path):
    dead, alive = child(tmp_path), child(tmp_path)
    try:
        dead.kill()
        dead.wait()
        stages = set(tmp_path.rglob(".writing*"))
        assert len(stages) == 4
        with outputs.new_files(tmp_path / "g.nii", tmp_path / "deep" / "h.nii") as temporaries:
            for temporary in temporaries:
                temporary.write_text("whole")
        assert len(set(tmp_path.rglob(".writing*")) & stages) == 2
    finally:
        alive.send_signal(signal.SIGINT)
        alive.wait()
    assert names(tmp_path) == ["deep", "deep/h.nii", "g.nii"]  # an interrupt cleans up by itself


def test_an_older_result_on_its_way_out_comes_back(tmp_path):
    """A run killed between the two steps in which a folder is replaced."""
    process = child(tmp_path)
    process.kill()
    process.wait()
    stage = next(tmp_path.glob(".writing*"))
    (stage / "old" / "series").mkdir()
    (stage / "old" / "series" / "0001.dcm").write_text("precious")
    (stage / "old" / "f.nii").write_text("older")
    (tmp_path / "f.nii").write_text("newer")
    staging.sweep(tmp_path)
    assert (tmp_path / "series" / "0001.dcm").read_text() == "precious"
    assert (tmp_path / "f.nii").read_text() == "newer" and not list(tmp_path.glob(".writing*"))


def test_what_others_named_alike_is_left_alone(tmp_path):
    (tmp_path / ".writing-17-f.nii").write_text("of an older version")
    (tmp_path / ".writing-mine").mkdir()
    (tmp_path / ".writing-mine" / "diary.txt").touch()
    (tmp_path / ".writing-loop").symlink_to(tmp_path)
    before = names(tmp_path)
    with outputs.new_files(tmp_path / "f.nii") as (temporary,):
        temporary.write_text("x")
    assert names(tmp_path) == sorted([*before, "f.nii"])


def test_a_stage_is_there_until_it_is_removed_or_its_writer_is_dead(tmp_path):
    stage = staging.Stage(tmp_path)
    (stage.folder / staging.NEW / "half").write_text("half")
    staging.sweep(tmp_path)
    assert stage.folder.is_dir()  # locked: its writer lives
    stage.remove()
    assert not names(tmp_path)
    staging.sweep(tmp_path / "missing")  # no folder, nothing to remove


def test_a_folder_whose_writer_is_about_to_lock_it_is_left_for_an_hour(tmp_path):
    young, old = (tmp_path / f"{staging.STAGING}{name}" for name in ("young", "old"))
    for stage in (young, old):
        (stage / staging.NEW).mkdir(parents=True)
    past = time.time() - staging.BIRTH - 60
    os.utime(old, (past, past))
    staging.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [young.name]


def test_the_folders_that_were_missing_are_told_the_deepest_first(tmp_path):
    assert staging.make_folder(tmp_path / "a" / "b") == [tmp_path / "a" / "b", tmp_path / "a"]
    assert staging.make_folder(tmp_path / "a" / "b") == []
