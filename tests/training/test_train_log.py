"""training.train_log: what is recorded when, what a resumed run drops, and that a full disk stops nothing."""

import json
import types

import numpy as np
import pytest

from fusioninn_jax import settings
from fusioninn_jax.runtime import processes
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.training import train_log
from fusioninn_jax.training.train_log import METRICS_FILE, TRAIN_FILE, TrainLog, read_lines
from fusioninn_jax.training.validation import Results


class Board:
    """Remembers the scalars that TensorBoard was given; [name, value, step]."""

    def __init__(self, folder, auto_flush):
        self.scalars = SCALARS

    def scalar(self, name, value, step):
        self.scalars.append((name, value, step))

    def __getattr__(self, name):
        return lambda *arguments: None


SCALARS = []


@pytest.fixture(autouse=True)
def no_tensorflow(monkeypatch):
    """A TensorBoard of our own, which takes no seconds to import."""
    errors = types.SimpleNamespace(OpError=ConnectionError)
    board = types.SimpleNamespace(SummaryWriter=Board, tf=types.SimpleNamespace(errors=errors))
    monkeypatch.setattr(train_log, "tensorboard", board)
    monkeypatch.setattr(train_log, "_tell_restart", lambda folder, step: None)
    SCALARS.clear()


class Bar:
    """A progress bar that nobody looks at."""

    def set_postfix(self, **shown):
        self.shown = shown


def opened(folder, step=0, evaluated=True, log_every=1):
    config = settings.defaults()
    config.train.log_every = log_every
    return TrainLog(str(folder), config, ("t1", "flair"), step, evaluated)


def results(loss):
    return Results({"loss": loss}, {"sources": np.zeros((1, 4, 4, 2)), "fused": np.zeros((1, 4, 4, 1))})


def run(folder, steps, **options):
    """Logs steps and an evaluation after every second one."""
    with opened(folder, **options) as log:
        for step in steps:
            log.step(step, {"loss": np.float32(1 / step)}, Bar())
            if step % 2 == 0:
                log.evaluation(step, results(0.5), 1.5)


def steps_in(path):
    return [record["step"] for record in read_lines(path)]


def test_records_of_steps_and_evaluations(tmp_path):
    run(tmp_path, (1, 2, 3))
    first, second, _ = read_lines(tmp_path / TRAIN_FILE)
    assert first["loss"] == 1 and second["loss"] == 0.5 and second["seconds"] >= 0
    (evaluation,) = read_lines(tmp_path / METRICS_FILE)
    assert evaluation == {"step": 2, "loss": 0.5, "evaluation_seconds": 1.5}
    assert ("train/loss", 0.5, 2) in SCALARS and ("validation/loss", 0.5, 2) in SCALARS
    assert json.loads((tmp_path / "config.json").read_text())["train"]["log_every"] == 1


def test_the_time_of_an_evaluation_is_not_a_step_s(tmp_path, monkeypatch):
    times = iter((0.0, 2.0, 2.0, 15.0, 15.0))  # two seconds a step, then ten of evaluation and three of the next step
    monkeypatch.setattr(train_log.time, "monotonic", lambda: next(times))
    with opened(tmp_path) as log:
        log.step(1, {"loss": np.float32(1)}, Bar())
        log.evaluation(1, results(0.5), 10.0)
        log.step(2, {"loss": np.float32(1)}, Bar())
    assert [record["seconds"] for record in read_lines(tmp_path / TRAIN_FILE)] == [2.0, 3.0]


def test_every_so_many_th_step_is_recorded(tmp_path):
    run(tmp_path, range(1, 10), log_every=4)
    assert steps_in(tmp_path / TRAIN_FILE) == [4, 8]


@pytest.mark.parametrize("evaluated, evaluations", [(True, [2, 4]), (False, [2])])
def test_a_resumed_run_drops_what_it_does_again(tmp_path, evaluated, evaluations):
    run(tmp_path, range(1, 7))
    with opened(tmp_path, step=4, evaluated=evaluated):
        pass
    assert steps_in(tmp_path / TRAIN_FILE) == [1, 2, 3, 4] and steps_in(tmp_path / METRICS_FILE) == evaluations


def test_lines_that_are_no_records_are_left_out(tmp_path):
    path = tmp_path / TRAIN_FILE
    assert read_lines(path) == []
    path.write_bytes(b'{"step": 1}\n[1]\n{"loss": 2}\n{"step": "x"}\n\xff\n' + b"[" * 100_000 + b'\n{"step": 2, "lo')
    assert read_lines(path) == [{"step": 1}]


def test_a_write_that_fails_is_told_once_and_training_goes_on(tmp_path, capsys):
    with opened(tmp_path) as log:

        def fail(*arguments):
            raise OSError(28, "No space left on device")

        log._board.scalar = fail
        for step in (1, 2):
            log.step(step, {"loss": np.float32(1)}, Bar())
    told = capsys.readouterr().err
    assert told.count("warning:") == 1 and "No space left on device" in told and "training goes on" in told


def test_a_folder_that_cannot_be_is_named_at_the_start(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/run: cannot be written .*; make room there, or choose another --workdir"):
        opened(tmp_path / "file" / "run")


def test_other_processes_write_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "is_first", lambda: False)
    run(tmp_path, (1, 2))
    assert not list(tmp_path.iterdir()) and not SCALARS
