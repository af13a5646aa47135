"""Scores that were kept are taken for the same weights, split and metrics alone."""

import types

import jax
import numpy as np
import pytest

from fusioninn_jax import settings
from fusioninn_jax.scoring.score_split import Scoring
from fusioninn_jax.tables import systems
from fusioninn_jax.tables.systems import System
from fusioninn_jax.trained_model import training_free


def prepared(data_dir="brats/1.0.0", size=1000):
    """What `systems.scores` asks of a dataset."""
    splits = {name: types.SimpleNamespace(num_bytes=size) for name in ("test", "validation")}
    builder = types.SimpleNamespace(data_dir=data_dir, info=types.SimpleNamespace(splits=splits))
    return types.SimpleNamespace(sizes={"test": 3, "validation": 2}, builder=builder)


@pytest.fixture(name="scored")
def scored_fixture(monkeypatch):
    """The weights that were scored, one for each time."""
    found = []

    def score(label, trained, *rest):
        found.append(float(trained.variables["params"]["w"][0]))
        row = {"system": label, "subject": "a", "slice_index": 0, "q_ssim": found[-1]}
        return [row], {"latent": {}, "conspicuity": {}}

    monkeypatch.setattr(systems, "score_model", score)
    monkeypatch.setattr(jax, "clear_caches", lambda: None)
    return found


def system(workdir, weight, step=100):
    variables = {"params": {"w": np.array([weight], np.float32)}}
    trained = training_free("mean")._replace(variables=variables, step=step)
    return System("mean", trained, workdir)


def scores(of, folder, data=None, **scoring):
    rows, _ = systems.scores(
        of, data or prepared(), settings.defaults(), Scoring(**({"split": "test"} | scoring)), folder
    )
    return [row["q_ssim"] for row in rows]


def test_a_training_anew_in_the_same_folder_is_scored_anew(tmp_path, scored):
    run, folder = tmp_path / "run", tmp_path / "scores"
    assert scores(system(run, 0.5), folder) == [0.5] == scores(system(run, 0.5), folder)
    assert scored == [0.5]  # the second time they were taken from the folder
    assert scores(system(run, 0.25), folder) == [0.25] and scored == [0.5, 0.25]  # same folder and step, other weights
    assert scores(system(run, 0.25), folder) == [0.25] and len(scored) == 2
    assert scores(system(run, 0.5), folder) == [0.5] and len(scored) == 3


@pytest.mark.parametrize("changed", [{"split": "validation"}, {"metrics": "ssim"}, {"limit": 2}])
def test_scores_of_other_slices_or_metrics_are_not_taken(tmp_path, scored, changed):
    scores(system(tmp_path, 0.5), tmp_path)
    assert scores(system(tmp_path, 0.5), tmp_path, **changed) == [0.5] and len(scored) == 2


def test_scores_of_another_folder_or_step_are_not_taken(tmp_path, scored):
    scores(system(tmp_path / "a", 0.5), tmp_path)
    scores(system(tmp_path / "b", 0.5), tmp_path)
    scores(system(tmp_path / "b", 0.5, step=200), tmp_path)
    assert len(scored) == 3


@pytest.mark.parametrize("changed", [{"data_dir": "other/brats/1.0.0"}, {"size": 1001}])
def test_scores_of_other_data_are_not_taken(tmp_path, scored, changed):
    scores(system(tmp_path, 0.5), tmp_path)
    assert scores(system(tmp_path, 0.5), tmp_path, prepared(**changed)) == [0.5] and len(scored) == 2
