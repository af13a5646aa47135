"""What a training run tells: TensorBoard, two files of JSON lines, the progress bar."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any, NoReturn, TextIO

from fusioninn_jax.runtime import quiet_tensorflow  # noqa: F401  isort: skip  before TensorFlow

import jax
import ml_collections
from etils import epath, epy
from tqdm import tqdm

from fusioninn_jax.runtime import guarded, outputs, places, processes
from fusioninn_jax.runtime.errors import UserError, first_line
from fusioninn_jax.training.panel import panel
from fusioninn_jax.training.validation import Results

with epy.lazy_imports():  # TensorFlow takes seconds, which a command's help would wait for
    import flax.metrics.tensorboard as tensorboard
    import tensorboard.compat.proto.event_pb2 as event_pb2
    import tensorboard.summary.writer.event_file_writer as event_file_writer

METRICS_FILE = "metrics.jsonl"
TRAIN_FILE = "train_log.jsonl"


def _write_errors() -> tuple[type[Exception], ...]:
    return (OSError, tensorboard.tf.errors.OpError)


def read_lines(path: pathlib.Path | epath.Path) -> list[dict[str, Any]]:
    """The records of the file of JSON lines at `path`; [] where there is no file.

    A line cut short by a crash is left out, as is whatever else is no record of a step.
    """
    records = []
    for line in guarded.read_anywhere(path).decode(errors="replace").splitlines() if path.exists() else []:
        with contextlib.suppress(json.JSONDecodeError, RecursionError):
            record = json.loads(line)
            if isinstance(record, dict) and isinstance(record.get("step"), int):
                records.append(record)
    return records


def _keep_until(path: epath.Path, step: int) -> None:
    """Drops the records of steps that a resumed run will do again."""
    kept = [record for record in read_lines(path) if record["step"] <= step]
    outputs.write_text(path, "".join(json.dumps(record) + "\n" for record in kept))


def _tell_restart(folder: epath.Path, step: int) -> None:
    """Has TensorBoard forget the steps after `step`, which a resumed run does again."""
    writer = event_file_writer.EventFileWriter(os.fspath(folder))
    writer.add_event(
        event_pb2.Event(
            wall_time=time.time(), step=step + 1, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        )
    )
    writer.close()


class TrainLog:
    """Writes a run's records; a context manager. Process 0 alone writes.

    Where writing fails, on a full disk for example, that is told once, and training goes on.

    Args:
      workdir: gets the files; a folder or an object store's URL.
      config: of the run.
      modalities: of the data.
      step: where the run starts; records of later steps are dropped.
      evaluated: whether the evaluation of that step is done.

    Raises:
      UserError: the folder cannot be written to at the start.
    """

    def __init__(
        self,
        workdir: str,
        config: ml_collections.ConfigDict,
        modalities: tuple[str, ...],
        step: int,
        evaluated: bool = True,
    ) -> None:
        self._active = processes.is_first()
        self._config, self._modalities = config, modalities
        self._since, self._told = time.monotonic(), False
        if not self._active:
            return
        folder = places.folder(workdir, "--workdir")
        self._local = "://" not in os.fspath(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _keep_until(folder / METRICS_FILE, step if evaluated else step - 1)
            _keep_until(folder / TRAIN_FILE, step)
            outputs.write_text(folder / "config.json", config.to_json(indent=2) + "\n")
            self._metrics, self._train = (folder / METRICS_FILE).open("a"), (folder / TRAIN_FILE).open("a")
            if self._local and step:
                _tell_restart(folder / "tensorboard", step)
            self._board = tensorboard.SummaryWriter(os.fspath(folder / "tensorboard"), auto_flush=False)
            self._board.text("config", f"```\n{config.to_json(indent=2)}\n```", step)
        except _write_errors() as error:
            raise UserError(
                f"{folder}: cannot be written ({first_line(error)}); make room there, or choose another --workdir"
            ) from error

    def __enter__(self) -> TrainLog:
        return self

    def __exit__(self, *exception: object) -> None:
        for file in (self._metrics, self._train, self._board) if self._active else ():
            with self._writing():
                file.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """What fails to be written inside is told once; lines stay in the file's buffer and are tried again."""
        try:
            yield
        except _write_errors() as error:
            if not self._told:
                print(
                    f"warning: the run's records cannot be written ({first_line(error)}); training goes on",
                    file=sys.stderr,
                )
            self._told = True

    def _write(self, file: TextIO, record: dict[str, Any], *, now: bool) -> None:
        """A line; an object store takes the whole file anew at each flush, so not `now` there."""
        file.write(json.dumps(record) + "\n")
        if now:
            file.flush()

    def step(self, step: int, metrics: dict[str, jax.Array], bar: tqdm[NoReturn]) -> None:
        """After a training step: a record every `log_every` steps, with the seconds since the last one.

        Those seconds leave evaluations out and hold the first step's compilation; their sum is the training's time,
        however often it was resumed.

        Args:
          step: the number of steps done.
          metrics: scalars by name, `loss` among them.
          bar: of the training; shows the loss.
        """
        if not self._active or step % self._config.train.log_every:
            return
        values = {name: float(value) for name, value in metrics.items()}
        bar.set_postfix(loss=f"{values['loss']:.4f}", refresh=False)
        seconds, self._since = time.monotonic() - self._since, time.monotonic()
        with self._writing():
            self._write(self._train, {"step": step, **values, "seconds": round(seconds, 4)}, now=self._local)
            for name, value in values.items():
                self._board.scalar(f"train/{name}", value, step)

    def evaluation(self, step: int, results: Results, seconds: float) -> None:
        """After an evaluation at `step` that took `seconds`: a record, and in TensorBoard the scalars and a panel.

        Args:
          step: the number of steps done.
          results: of the validation split.
          seconds: that it took; they are left out of the training's time.
        """
        self._since += seconds
        if not self._active:
            return
        with self._writing():
            record = {"step": step, **results.means, "evaluation_seconds": round(seconds, 3)}
            self._write(self._metrics, record, now=True)
            self._train.flush()
            for name, value in results.means.items():
                self._board.scalar(f"validation/{name}", value, step)
            self._board.image("validation/panel", panel(results.examples), step)
            self._board.flush()
