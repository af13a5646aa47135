"""What a training run tells: TensorBoard, two files of JSON lines, the progress bar."""
from __future__ import annotations

import json
import os
import pathlib
import time
from typing import Any

from fusioninn_jax import quiet_tensorflow  # noqa: F401  isort: skip  before TensorFlow

import jax
import ml_collections
from flax.metrics import tensorboard

from fusioninn_jax.evaluation import Results
from fusioninn_jax.figures import panel

METRICS_FILE = "metrics.jsonl"
TRAIN_FILE = "train_log.jsonl"


def read_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """The records of a file of JSON lines; [] where there is no file. A line cut short by a crash is left out."""
    records = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def _keep_until(path: pathlib.Path, step: int) -> None:
    """Drops the records of steps that a resumed run will do again."""
    kept = [record for record in read_lines(path) if record["step"] <= step]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(record) + "\n" for record in kept))
    os.replace(temporary, path)


class TrainLog:
    """Writes a run's records; a context manager. Process 0 alone writes."""

    def __init__(self, workdir: str, config: ml_collections.ConfigDict, modalities: tuple[str, ...],
                 step: int) -> None:
        self._active = jax.process_index() == 0
        self._config, self._modalities = config, modalities
        self._since = time.monotonic()
        if not self._active:
            return
        folder = pathlib.Path(workdir).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        for name in (METRICS_FILE, TRAIN_FILE):
            _keep_until(folder / name, step)
        (folder / "config.json").write_text(config.to_json(indent=2) + "\n")
        self._metrics = (folder / METRICS_FILE).open("a", buffering=1)
        self._train = (folder / TRAIN_FILE).open("a", buffering=1)
        self._board = tensorboard.SummaryWriter(str(folder / "tensorboard"), auto_flush=False)

    def __enter__(self) -> TrainLog:
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._active:
            self._metrics.close()
            self._train.close()
            self._board.close()

    def step(self, step: int, metrics: dict[str, jax.Array], bar: Any) -> None:
        """After a training step: a record every `log_every` steps, with the seconds since the last one.

        Those seconds leave evaluations out and hold the first step's compilation; their sum is the training's time,
        however often it was resumed.
        """
        if not self._active or step % self._config.train.log_every:
            return
        values = {name: float(value) for name, value in metrics.items()}
        bar.set_postfix(loss=f"{values['loss']:.4f}", refresh=False)
        seconds, self._since = time.monotonic() - self._since, time.monotonic()
        self._train.write(json.dumps({"step": step, **values, "seconds": round(seconds, 4)}) + "\n")
        for name, value in values.items():
            self._board.scalar(f"train/{name}", value, step)

    def evaluation(self, step: int, results: Results, seconds: float) -> None:
        """After an evaluation of `seconds`: a record, scalars, and a panel of the first images."""
        self._since += seconds
        if not self._active:
            return
        self._metrics.write(json.dumps({"step": step, **results.means, "evaluation_seconds": round(seconds, 3)}) + "\n")
        for name, value in results.means.items():
            self._board.scalar(f"validation/{name}", value, step)
        self._board.image("validation/panel", panel(results.examples), step)
        self._board.flush()
