"""Paths of object stores (gs://...): nothing mangles the URL; a stand-in bucket keeps its objects in a folder."""

import json
import os

import pytest
import tensorflow_datasets as tfds
from etils.epath import backend, gpath

from fusioninn_jax import input_pipeline
from fusioninn_jax.scoring import score_table
from fusioninn_jax.training import checkpoint_folders, run_lock, train_log
from fusioninn_jax.training.train_log import METRICS_FILE, TRAIN_FILE, read_lines
from fusioninn_jax.training.validation import Results
from tests import training_case


class Bucket:
    """Takes gs://bucket/... for a local folder; anything that is no such URL fails."""

    def __init__(self, folder):
        self._folder = folder

    def __getattr__(self, name):
        def call(*arguments, **settings):
            def local(argument):
                path = os.fspath(argument) if isinstance(argument, str | os.PathLike) else ""
                return str(self._folder) + path.removeprefix("gs://bucket") if path.startswith("gs://") else argument

            if not any(local(argument) is not argument for argument in arguments):
                raise AssertionError(f"{name}{arguments}: not a URL of the bucket")
            return self._url(getattr(backend.os_backend, name)(*map(local, arguments), **settings))

        return call

    def _url(self, result):
        if isinstance(result, list):
            return [self._url(path) for path in result]
        return result.replace(str(self._folder), "gs://bucket") if isinstance(result, str) else result


@pytest.fixture(name="bucket")
def bucket_fixture(tmp_path, monkeypatch):
    bucket = Bucket(tmp_path)
    real = gpath._GPath._backend.fget
    monkeypatch.setattr(
        gpath._GPath, "_backend", property(lambda path: bucket if path._uri_scheme == "gs" else real(path))
    )
    either = gpath._get_backend
    monkeypatch.setattr(
        gpath, "_get_backend", lambda *paths: bucket if paths[0]._uri_scheme == "gs" else either(*paths)
    )
    return tmp_path


def test_a_dataset_is_found_in_a_bucket(bucket, monkeypatch):
    training_case.prepare(bucket)
    asked = []
    builder = tfds.builder_from_directory

    def local(folder):
        asked.append(folder)
        return builder(folder.replace("gs://bucket", str(bucket)))

    monkeypatch.setattr(tfds, "builder_from_directory", local)
    config = training_case.config("gs://bucket").data
    assert input_pipeline.open_dataset(config).sizes == training_case.SIZES
    assert asked == ["gs://bucket/tiny/default/1.0.0"]


def test_records_are_written_to_a_bucket(bucket, monkeypatch):
    boards = []
    monkeypatch.setattr(train_log.tensorboard, "SummaryWriter", lambda folder, **_: boards.append(folder) or Board())
    config = training_case.config("gs://bucket")
    bar = type("Bar", (), {"set_postfix": lambda self, **_: None})()
    monkeypatch.setattr(train_log, "panel", lambda examples: None)
    with run_lock.hold("gs://bucket/run"), train_log.TrainLog("gs://bucket/run", config, ("a", "b"), 0) as log:
        log.step(1, {"loss": 0.5}, bar)
        log.evaluation(1, Results({"loss": 0.25}, {}), 1.0)
    run = bucket / "run"
    assert boards == ["gs://bucket/run/tensorboard"]
    assert read_lines(run / TRAIN_FILE)[0]["loss"] == 0.5 and read_lines(run / METRICS_FILE)[0]["loss"] == 0.25
    assert json.loads((run / "config.json").read_text())["train"]["batch_size"] == 8
    assert not (run / run_lock.FILE).exists()  # object stores have no locks
    with train_log.TrainLog("gs://bucket/run", config, ("a", "b"), 1) as log:
        log.step(2, {"loss": 0.4}, bar)
    assert [record["step"] for record in read_lines(run / TRAIN_FILE)] == [1, 2]


class Board:
    """A TensorBoard that nobody looks at."""

    def __getattr__(self, name):
        return lambda *arguments, **settings: None


def test_tables_and_checkpoints_keep_the_url(bucket):
    score_table.write_json(gpath.PosixGPath("gs://bucket/scores/summary.json"), {"a": 1})
    assert json.loads((bucket / "scores" / "summary.json").read_text()) == {"a": 1}
    (bucket / "run" / checkpoint_folders.FOLDER / "12").mkdir(parents=True)
    assert checkpoint_folders.newest_step("gs://bucket/run") == 12
    assert str(checkpoint_folders.of("gs://bucket/run")) == "gs://bucket/run/checkpoints"
