"""What a training tells."""

import types

import jax
import numpy as np

from fusioninn_jax import input_pipeline, models, settings, train
from fusioninn_jax.runtime.words import counted
from fusioninn_jax.training import parallel, talk, validation
from fusioninn_jax.training.train_log import METRICS_FILE, read_lines
from tests import training_case


def prepared(**sizes):
    return types.SimpleNamespace(modalities=("t1gd", "flair"), sizes=sizes)


def opening(step, **sizes):
    config = settings.defaults()
    config.train.steps, config.train.batch_size = 100, 8
    variables = {"params": {"a": np.zeros((3, 4)), "b": np.zeros(1500)}}
    return "\n".join(talk.opening(jax.local_devices()[:1], prepared(**sizes), config, variables, step, "runs/x"))


def test_the_opening_tells_devices_data_model_and_plan():
    text = opening(0, train=400, validation=1)
    for piece in (
        "1 device: CPU",
        "brain_phantom/default (t1gd, flair), 400 slices to train on",
        "on, 1 slice to validate",
        "fusioninn, 1,512 parameters",
        "100 steps of 8 slices, 2 times through",
        "in runs/x",
        "starting from random weights",
    ):
        assert piece in text, piece
    assert "resuming at step 40 of 100" in opening(40, train=400, validation=1)
    assert "as there are no others" in opening(0, train=400)


def test_scores_name_the_sources_and_leave_out_what_is_missing():
    means = {
        "loss": 0.25,
        "ssim_fused_1_brain": 0.8,
        "ssim_fused_2_brain": 0.7,
        "ssim_decomposed_1_8bit_brain": 0.95,
        "ssim_decomposed_2_8bit_brain": 0.94,
    }
    assert talk.scores(7, means, ("t1gd", "flair")) == (  # one line
        "step 7: validation loss 0.2500; fused 0.800 / 0.700; decomposed 0.950 / 0.940 "
        "(SSIM inside the brain, t1gd / flair)"
    )
    assert talk.scores(7, {"loss": 1.0}, ("t1gd",)) == "step 7: validation loss 1.0000"


def test_the_closing_has_the_next_command():
    text = talk.closing("runs/x", prepared(train=5, validation=2), 100, 130, [], [])
    assert "step 100 in 2 min" in text and text.endswith("evaluate --workdir=runs/x --split=validation")
    assert talk.closing("r", prepared(test=1), 1, 7, [], []).endswith("--split=test")
    assert talk.closing("r", prepared(test=0, validation=3), 1, 7, [], []).endswith("--split=validation")


def test_the_closing_names_the_best_checkpoint_that_there_is_and_its_scores():
    records = [{"step": step, "loss": loss} for step, loss in ((1, 0.1), (2, 0.3), (3, 0.4))]
    lines = talk.closing("r", prepared(test=1), 3, 7, [2, 3], records).splitlines()
    assert lines[1] == "checkpoints: last, step 3; best, step 2: validation loss 0.3000"  # that of step 1 is gone
    lines = talk.closing("r", prepared(test=1), 3, 7, [3], records).splitlines()
    assert lines[1] == "checkpoints: last and best, step 3: validation loss 0.4000"


def test_a_training_tells_what_it_compiles_and_where_its_best_lies(data_dir, tmp_path, capsys):
    config = training_case.config(data_dir)
    config.model.name, config.model.deepfuse.width = "deepfuse", 2  # compiles soonest
    train.train_and_evaluate(config, str(tmp_path))
    lines = capsys.readouterr().out.splitlines()
    first = [line for line in lines if line.startswith("compiling")]
    assert first == ["compiling the training step ...", "compiling validation ..."]  # each once
    told = next(i for i, line in enumerate(lines) if line.startswith("step 2: validation"))
    assert lines[told - 2] == first[1] and lines[told - 1].startswith("compiled in")
    best = min(read_lines(tmp_path / METRICS_FILE), key=lambda record: record["loss"])
    assert lines[-2].startswith("checkpoints: last") and f"step {best['step']}: " in lines[-2]
    assert lines[-2].endswith(next(line for line in lines if line.startswith(f"step {best['step']}: ")))


def test_images_of_the_first_batch_alone_leave_the_devices(data_dir, monkeypatch):
    config = training_case.config(data_dir)
    config.train.eval_batch_size = 1
    prepared = input_pipeline.open_dataset(config.data)
    model = models.get("mean")
    seen = []
    merge = parallel.merge_batch
    monkeypatch.setattr(parallel, "merge_batch", lambda results: seen.append(set(results)) or merge(results))
    prepared = prepared._replace(sizes={"train": training_case.SIZES["train"], "validation": 0})
    found = validation.validate(model, {"params": {}}, prepared, config, jax.local_devices()[:1])
    assert len(seen) == training_case.SIZES["train"]  # where there is nothing to validate on
    assert "fused" in seen[0] and all("fused" not in names for names in seen[1:])
    assert seen[1] <= seen[0] and found.examples["fused"].shape[0] == 1


def test_compiling_is_told_with_its_time():
    lines = []
    with talk.compiling(lines.append):
        lines.append("step")
    assert lines[0].startswith("compiling") and lines[1] == "step" and lines[2].startswith("compiled in")


def test_times_and_numbers_for_people():
    assert [talk.duration(s) for s in (3, 99, 120, 7200)] == ["3 s", "99 s", "2 min", "2.0 h"]
    assert counted(1, "patient") == "1 patient" and counted(1153, "slice") == "1,153 slices"
    assert counted(1, "study", "studies") == "1 study" and counted(0, "study", "studies") == "0 studies"
