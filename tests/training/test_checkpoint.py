"""Checkpoints through faults: damaged ones are found and passed over, a full disk stops nothing, one run a folder."""

import json
import logging
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from fusioninn_jax import train
from fusioninn_jax.models.fusioninn import settled
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.training import checkpoint, checkpoint_folders, run_lock
from fusioninn_jax.training.train_log import METRICS_FILE, read_lines
from tests import many_processes, training_case

KEPT = (6, 8)  # the steps that the fixture's run keeps of those it saves: 2, 4, 6, 8


def small(data_dir):
    """One configuration for the file, so that its runs compile once."""
    config = training_case.config(data_dir)
    config.model.fusioninn.blocks, config.train.steps = 1, KEPT[1]
    return config


@pytest.fixture(scope="module", name="whole")
def whole_fixture(data_dir, tmp_path_factory):
    """(workdir of a finished run, its last state)."""
    workdir = tmp_path_factory.mktemp("whole")
    return workdir, train.train_and_evaluate(small(data_dir), str(workdir))


@pytest.fixture(name="run")
def run_fixture(whole, tmp_path):
    """A copy of the run, to be damaged."""
    shutil.copytree(whole[0], tmp_path / "run")
    return tmp_path / "run"


def restore(workdir, whole, data_dir):
    config = small(data_dir)
    config.model.fusioninn = settled(config.model.fusioninn)
    return checkpoint.restore_latest(workdir, whole[1], config)


def flip(path, place=0.5):
    """One bit here and there from a place on: a single one may hit bytes that a state does not use."""
    content = bytearray(path.read_bytes())
    for position in range(int(place * len(content)), len(content), 101):
        content[position] ^= 1
    path.write_bytes(content)


def largest(folder):
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def test_what_was_saved_comes_back(whole, data_dir):
    restored = restore(whole[0], whole, data_dir)
    assert restored.evaluated
    for ours, theirs in zip(jax.tree.leaves(restored.state), jax.tree.leaves(whole[1]), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "damage",
    [
        lambda newest: flip(largest(newest / "state")),
        lambda newest: flip(largest(newest / "meta")),
        lambda newest: shutil.rmtree(newest / "state"),
        lambda newest: shutil.rmtree(newest / "meta"),
        lambda newest: os.truncate(largest(newest / "state"), 10),
        lambda newest: [path.unlink() for path in newest.rglob("*") if path.is_file()],
    ],
)
def test_a_damaged_newest_is_told_and_passed_over(run, whole, data_dir, damage, capsys):
    newest = run / checkpoint_folders.FOLDER / str(KEPT[1])
    damage(newest)
    restored = restore(run, whole, data_dir)
    assert int(restored.state.step) == KEPT[0]
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    assert f"{newest}: damaged (" in said and "going on from step 6" in said
    assert not newest.exists() and newest.with_name("8.damaged").exists()
    assert checkpoint_folders.newest_step(run) == KEPT[0]


def test_training_goes_on_from_the_one_before_to_the_same_end(run, whole, data_dir, capsys):
    flip(largest(run / checkpoint_folders.FOLDER / "8" / "state"))
    state = train.train_and_evaluate(small(data_dir), str(run))
    assert "going on from step 6" in capsys.readouterr().err
    for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(whole[1]), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert many_processes.losses(run) == many_processes.losses(whole[0])


def test_no_intact_checkpoint_is_an_error_and_nothing_is_renamed(run, whole, data_dir):
    for step in KEPT:
        flip(largest(run / checkpoint_folders.FOLDER / str(step) / "state"))
    with pytest.raises(UserError, match="every checkpoint there is damaged .8, 6; the newest: .*remove the folder"):
        restore(run, whole, data_dir)
    assert {path.name for path in (run / checkpoint_folders.FOLDER).iterdir()} >= {"6", "8"}


def test_a_damaged_checkpoint_is_never_scored(run):
    flip(largest(run / checkpoint_folders.FOLDER / "8" / "state"))
    with pytest.raises(UserError, match="8: damaged .*--checkpoint"):
        checkpoint.load(run, "last")
    losses = run / checkpoint_folders.FOLDER / "6" / "metrics" / "metrics"
    losses.write_text(json.dumps({checkpoint.BEST_METRIC: -1.0}))
    with pytest.raises(UserError, match="6: damaged .*its validation loss"):
        checkpoint.load(run, "best")


def test_other_optimiser_settings_are_not_damage(run, data_dir, whole):
    config = small(data_dir)
    config.optimizer.ema = 0.9
    with pytest.raises(UserError, match="other --config.optimizer settings"):
        train.train_and_evaluate(config, str(run))
    assert (run / checkpoint_folders.FOLDER / "8").exists()


def test_checkpoints_from_before_the_checksums_are_read(run, whole, data_dir):
    record = run / checkpoint_folders.FOLDER / "8" / "meta" / "metadata"
    meta = json.loads(record.read_text())
    record.write_text(json.dumps({"step": meta["step"], "config": meta["config"]}))
    assert int(restore(run, whole, data_dir).state.step) == 8
    assert checkpoint.load(run, "last")[3] == 8


@pytest.fixture(name="small_disk")
def small_disk_fixture(tmp_path):
    """A file system of 600 kB; skipped where mounting is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_training_goes_on_through_a_full_disk(data_dir, whole, small_disk, capsys, monkeypatch):
    """The disk is full at steps 4 and 6, and has room again at 8."""
    filler, seen = small_disk / "filler", {}
    save = checkpoint.save

    def save_and_look(manager, state, *rest):
        if int(state.step) == 4:
            with pytest.raises(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        if int(state.step) == 8:
            filler.unlink()
        save(manager, state, *rest)
        checkpoint.finish(manager)
        seen[int(state.step)] = checkpoint_folders.steps(manager.directory)

    monkeypatch.setattr(checkpoint, "save", save_and_look)
    train.train_and_evaluate(small(data_dir), str(small_disk / "run"))
    logging.getLogger("absl").setLevel(logging.ERROR)
    assert seen[4] == [2] and seen[6] == [2] and 8 in seen[8]
    said = capsys.readouterr().err
    assert said.count("a checkpoint could not be written (") == 2 and "kept: 2" in said
    assert [step for step, _ in many_processes.losses(small_disk / "run")] == list(range(1, 9))
    assert not list((small_disk / "run" / checkpoint_folders.FOLDER).glob("*tmp*"))


def test_a_last_checkpoint_that_fails_is_an_error(data_dir, run, monkeypatch):
    shutil.rmtree(run / checkpoint_folders.FOLDER / "8")
    monkeypatch.setattr(checkpoint.ocp.CheckpointManager, "save", fail)
    with pytest.raises(UserError, match="the last checkpoint, of step 8, could not be written; .* goes on from step 6"):
        train.train_and_evaluate(small(data_dir), str(run))


def fail(*arguments, **settings):
    raise OSError(28, "No space left on device")


def test_a_second_run_in_a_folder_refuses(data_dir, whole, tmp_path):
    code = (
        f"import sys, time; sys.path.insert(0, {str(pathlib.Path(__file__).parents[2])!r}); "
        f"from fusioninn_jax.training import run_lock\nwith run_lock.hold({str(tmp_path)!r}):\n "
        "print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=f"another run is at work there .*process {holder.pid}"):
        train.train_and_evaluate(small(data_dir), str(tmp_path))
    holder.kill()  # SIGKILL: nothing is cleaned up
    holder.wait()
    with run_lock.hold(tmp_path):
        pass
    assert not (tmp_path / checkpoint_folders.FOLDER).exists()


def test_a_run_told_to_stop_while_it_evaluates_resumes_exactly(data_dir, whole, tmp_path, monkeypatch):
    """SIGTERM within the evaluation of step 2: saved at once, evaluated when resumed, and a candidate for the best."""
    from fusioninn_jax.training import validation

    run_over = validation.run_over

    def interrupted(*arguments, **settings):
        for item in run_over(*arguments, **settings):
            os.kill(os.getpid(), 15)
            yield item

    monkeypatch.setattr(validation, "run_over", interrupted)
    train.train_and_evaluate(small(data_dir), str(tmp_path))
    assert checkpoint_folders.newest_step(tmp_path) == 2 and not read_lines(tmp_path / METRICS_FILE)
    monkeypatch.setattr(validation, "run_over", run_over)
    state = train.train_and_evaluate(small(data_dir), str(tmp_path))
    for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(whole[1]), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    without_time = [
        [{k: v for k, v in record.items() if k != "evaluation_seconds"} for record in read_lines(folder / METRICS_FILE)]
        for folder in (tmp_path, whole[0])
    ]
    assert without_time[0] == without_time[1]
    best = min(read_lines(whole[0] / METRICS_FILE), key=lambda record: record["loss"])["step"]
    assert checkpoint.load(tmp_path, "best")[3] == checkpoint.load(whole[0], "best")[3] == best
