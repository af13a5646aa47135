"""Paths of object stores (gs://...): nothing mangles the URL; a stand-in bucket keeps its objects in a folder."""

import json
import os
import types

import numpy as np
import pytest
import tensorflow_datasets as tfds
from etils.epath import backend, gpath

from fusioninn_jax import decompose, fuse, input_pipeline, pretrained, report
from fusioninn_jax.scoring import score_table, uncertainty
from fusioninn_jax.studies import fusing
from fusioninn_jax.tables import run_page
from fusioninn_jax.trained_model import calibration
from fusioninn_jax.training import checkpoint, checkpoint_folders, run_lock, train_log
from fusioninn_jax.training.train_log import METRICS_FILE, TRAIN_FILE, read_lines
from fusioninn_jax.training.validation import Results
from tests import training_case
from tests.studies import cases


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
    library = types.SimpleNamespace(
        SummaryWriter=lambda folder, **_: boards.append(folder) or Board(), tf=train_log.tensorboard.tf
    )
    monkeypatch.setattr(train_log, "tensorboard", library)  # whole: attributes of a lazy module do not come back
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


def test_a_model_and_its_calibration_are_used_from_a_bucket(bucket, capsys):
    place = "gs://bucket/model"
    cases.save_model(place)
    trained = fusing.load(place)
    assert trained.calibration is None
    rng = np.random.default_rng(0)
    fitted = calibration.fit(rng.random((480, 2)), rng.standard_normal((480, 2)))
    name = pretrained.fingerprint(trained.variables, trained.config)
    assert str(calibration.save(place, fitted, name)) == f"{place}/{calibration.FILE}"
    assert {path.name for path in (bucket / "model").iterdir()} == {"weights.npz", "config.json", calibration.FILE}
    np.testing.assert_array_equal(fusing.load(place).calibration.deviations, fitted.deviations)
    assert calibration.load(place, "another") is None
    first, second = (cases.save(bucket / f"{i}.nii", cases.voxels(i, (6, 5, 3))) for i in (1, 2))
    fused, back = bucket / "f.nii", [bucket / "b1.nii", bucket / "b2.nii"]
    assert fuse.main([*map(str, (first, second)), "-o", str(fused), "--checkpoint", place]) == 0
    error = ["--samples", "2", "--uncertainty", str(bucket / "u.nii")]
    assert decompose.main([str(fused), "-o", *map(str, back), *error, "--checkpoint", place]) == 0
    assert (bucket / "u.nii").exists() and f"model: fusioninn of {place}" in capsys.readouterr().out


def test_a_calibration_is_made_in_a_bucket(bucket, monkeypatch):
    trained = fusing.load(str(cases.save_model(bucket / "model")))
    asked, rng = [], np.random.default_rng(0)
    pixels = uncertainty.Pixels(*rng.random((3, 480, 2)), np.full(480, "p1"))
    monkeypatch.setattr(uncertainty, "collect", lambda *arguments, **settings: pixels)
    monkeypatch.setattr(checkpoint, "load", lambda workdir, which: asked.append(workdir) or trained)
    prepared = type("Prepared", (), {"modalities": ("a", "b")})
    trained.config.data = {}
    monkeypatch.setattr(input_pipeline, "open_dataset", lambda config: prepared)
    assert uncertainty.main(["--workdir", "gs://bucket/run"]) == 0
    assert asked == ["gs://bucket/run"] and (bucket / "run" / calibration.FILE).is_file()


def test_the_page_of_a_training_lies_in_its_bucket(bucket, monkeypatch, capsys):
    (bucket / "run" / "evaluation" / "test").mkdir(parents=True)
    (bucket / "run" / "evaluation" / "test" / "summary.json").write_text('{"a": 1}')
    (bucket / "run" / METRICS_FILE).write_text('{"step": 1, "loss": 1.0}\n')
    (bucket / "run" / "config.json").write_text("{}")
    monkeypatch.setattr(run_page, "_examples", lambda *asked: ({}, []))
    monkeypatch.setattr(run_page, "_page", lambda report, *content, **about: f"{report}, {about['workdir']}")
    assert report.main(["run", "--workdir=gs://bucket/run"]) == 0
    assert (bucket / "run" / "report.html").read_text() == "{'a': 1}, gs://bucket/run"
    assert "written: gs://bucket/run/report.html, 0.0 MB" in capsys.readouterr().out
