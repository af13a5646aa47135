"""Seeded damage to a checkpoint and to prepared examples: what was saved comes back, or one line."""

import pytest

from fusioninn_jax import train
from tests import fuzzing, training_case
from tests.chosen import chosen

ROUNDS = chosen([24, 120], [24])[-1]  # of each kind


@pytest.fixture(scope="module", name="workdir")
def workdir_fixture(data_dir, tmp_path_factory):
    config = training_case.config(data_dir)
    config.model.fusioninn.blocks, config.train.steps = 1, 2
    workdir = tmp_path_factory.mktemp("finished") / "run"
    train.train_and_evaluate(config, str(workdir))
    return workdir


@pytest.mark.parametrize("kind", ["checkpoint", "tfrecord", "description of a dataset"])
def test_damage_is_found_or_does_no_harm(kind, data_dir, workdir, tmp_path, capsys):
    every = [subject for subject in fuzzing.training_subjects(data_dir, workdir) if subject.name == kind]
    counts = fuzzing.counted(fuzzing.rounds(tmp_path, 0, every), seconds=0, least=ROUNDS, after_each=capsys.readouterr)
    assert fuzzing.mostly_damaged(counts), counts
