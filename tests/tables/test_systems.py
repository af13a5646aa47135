"""tables.systems: what a table is made of, and the mistakes that are told before anything is trained or scored."""

import argparse
import json
import pathlib

import ml_collections
import pytest

from fusioninn_jax import settings
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.tables import systems
from fusioninn_jax.trained_model import TrainedModel


def trained(name="unet", dataset="brats/x"):
    config = settings.defaults()
    config.model.name, config.data.dataset = name, dataset
    return TrainedModel(None, {"params": {}}, config, 3)


def system(name="unet", dataset="brats/x"):
    return systems.System(name, trained(name, dataset), pathlib.Path("runs") / name)


@pytest.mark.parametrize("text", ["", "RUNS = {}", "def get_config(name): ..."])
def test_a_file_that_is_no_sweep_is_named(tmp_path, text):
    (tmp_path / "x.py").write_text(text)
    with pytest.raises(UserError, match="x.py: not a sweep; it needs RUNS and get_config"):
        systems.load_sweep(str(tmp_path / "x.py"))
    with pytest.raises(UserError, match="no such sweep"):
        systems.load_sweep(str(tmp_path))


def test_a_name_that_comes_twice_is_told_by_its_folder(monkeypatch):
    models = {"a": trained("unet"), "b": trained("unet"), "c": trained("fusioninn")}
    monkeypatch.setattr(systems.checkpoint, "load", lambda workdir: models[workdir.name])
    workdirs = [pathlib.Path("runs") / name for name in models]
    found = systems.load(workdirs, ["mean"], {workdirs[1]: "λ = 0.9"})
    assert [system.label for system in found] == ["unet (a)", "λ = 0.9", "fusioninn", "mean"]
    assert [system.workdir for system in found] == [*workdirs, None]


@pytest.mark.parametrize("name, message", [("unet", "unet: needs training"), ("maen", "did you mean 'mean'")])
def test_a_system_that_is_no_training_free_one_is_named(name, message):
    with pytest.raises(UserError, match=message):
        systems.load([], [name])


def test_all_are_scored_on_the_data_that_they_share_or_on_what_is_asked_for():
    found = systems.data_config([system(), system("fusioninn")], None, "elsewhere")
    assert (found.data.dataset, found.data.data_dir) == ("brats/x", "elsewhere")
    assert systems.data_config([system(), system(dataset="brats/y")], "brats/z", None).data.dataset == "brats/z"
    free = systems.System("mean", trained("mean"), None)
    assert systems.data_config([free], "brats/z", None).data.dataset == "brats/z"
    for compared, told in (([system(), system(dataset="brats/y")], "brats/x, brats/y"), ([free], "nothing")):
        with pytest.raises(UserError, match=f"were trained on {told}; say with --dataset"):
            systems.data_config(compared, None, None)


def test_the_time_of_a_training_is_that_of_its_steps(tmp_path):
    of = systems.System("unet", trained(), tmp_path)
    assert of.training_seconds is None and of._replace(workdir=None).training_seconds is None
    records = [{"step": 1, "seconds": 2.5}, {"step": 2}, {"step": 3, "seconds": 1.0}]
    (tmp_path / systems.TRAIN_FILE).write_text("".join(json.dumps(record) + "\n" for record in records))
    assert of.training_seconds == 3.5


def test_a_run_of_other_settings_is_not_gone_on_with(tmp_path):
    config = settings.defaults()
    systems._check_same_run(tmp_path, config)  # nothing there yet
    (tmp_path / "config.json").write_text(systems.train.settle(config).to_json())
    config.seed, config.train.log_every = 5, 3  # neither makes another run
    systems._check_same_run(tmp_path, config)
    config.train.steps += 1
    with pytest.raises(UserError, match="holds a run with train.steps=.* is asked for; give another --root"):
        systems._check_same_run(tmp_path, config)
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(UserError, match="is not the configuration of a run.*; give another --root"):
        systems._check_same_run(tmp_path, config)


def test_kept_scores_that_cannot_be_read_are_named(tmp_path):
    splits = {"test": argparse.Namespace(num_bytes=9)}
    builder = argparse.Namespace(data_dir="brats/1.0.0", info=argparse.Namespace(splits=splits))
    prepared = argparse.Namespace(sizes={"test": 3}, builder=builder)
    asked, data = systems.TableRequest().scoring("table1"), ml_collections.ConfigDict(settings.defaults())
    (tmp_path / "unet.csv").write_text("")
    (tmp_path / "unet.json").write_text("{")
    with pytest.raises(UserError, match="unet.json: is not as it was written .*; remove it"):
        systems.scores(system(), prepared, data, asked, tmp_path)


def test_a_request_is_what_the_flags_say():
    parser = argparse.ArgumentParser()
    systems.add_arguments(parser)
    assert systems.request(parser.parse_args([])) == systems.TableRequest()
    asked = systems.request(parser.parse_args(["--root=runs", "--split=validation", "--limit=5", "--batch-size=2"]))
    assert asked == systems.TableRequest(root=pathlib.Path("runs"), split="validation", limit=5, batch_size=2)
    assert asked.scoring("ssim") == systems.Scoring("validation", "ssim", 2, 5)
