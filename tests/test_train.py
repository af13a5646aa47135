"""Training end to end on a tiny dataset: it learns, resumes exactly after any kind of end, and names bad input."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from fusioninn_jax import evaluate, input_pipeline, models, train
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.tables import run_page
from fusioninn_jax.training import checkpoint, train_state
from fusioninn_jax.training.train_log import METRICS_FILE, read_lines
from tests import tolerances, training_case
from tests.many_processes import losses
from tests.train_command import DEADLINE, start, wait_for_step

ROOT = pathlib.Path(__file__).parents[1]


def with_permutation(data_dir):
    """Of two blocks, which have a permutation between them."""
    config = training_case.config(data_dir)
    config.model.fusioninn.blocks = 2
    return config


@pytest.fixture(scope="module", name="whole_run")
def whole_run_fixture(data_dir, tmp_path_factory):
    """(workdir, last state) of an uninterrupted run."""
    workdir = tmp_path_factory.mktemp("whole")
    return workdir, train.train_and_evaluate(with_permutation(data_dir), str(workdir))


def test_a_run_leaves_its_records(whole_run):
    workdir, state = whole_run
    assert int(state.step) == 6
    assert [step for step, _ in losses(workdir)] == [1, 2, 3, 4, 5, 6]
    evaluations = read_lines(workdir / METRICS_FILE)
    assert [record["step"] for record in evaluations] == [2, 4, 6]
    assert all(np.isfinite(list(record.values())).all() for record in evaluations)
    assert {"loss", "ssim_fused_1", "ssim_decomposed_2_8bit_brain"} <= set(evaluations[0])
    assert list((workdir / "tensorboard").iterdir())
    kept = sorted(int(folder.name) for folder in (workdir / "checkpoints").iterdir())
    best = min(evaluations, key=lambda record: record["loss"])["step"]
    assert kept == sorted({4, 6, best})  # the last two and the best


def test_a_run_that_crashed_resumes_exactly(whole_run, data_dir, tmp_path, monkeypatch):
    class Crash(Exception):
        pass

    step = train.TrainLog.step

    def crash_at_5(self, number, *rest):
        step(self, number, *rest)
        if number == 5:
            raise Crash

    monkeypatch.setattr(train.TrainLog, "step", crash_at_5)
    with pytest.raises(Crash):
        train.train_and_evaluate(with_permutation(data_dir), str(tmp_path))
    monkeypatch.setattr(train.TrainLog, "step", step)
    state = train.train_and_evaluate(with_permutation(data_dir), str(tmp_path))
    workdir, expected = whole_run
    assert losses(tmp_path) == losses(workdir)
    for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_finished_run_does_nothing_more(whole_run, data_dir):
    workdir, _ = whole_run
    before = losses(workdir)
    assert int(train.train_and_evaluate(with_permutation(data_dir), str(workdir)).step) == 6
    assert losses(workdir) == before


@pytest.mark.slow
def test_a_training_learns_and_killed_and_interrupted_ones_resume_exactly(data_dir, tmp_path):
    """SIGKILL between two checkpoints, then Ctrl-C, then to the end: the curve of an uninterrupted run."""
    from tests import tiny_config

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train.train_and_evaluate(tiny_config.get_config(str(data_dir)), str(whole))
    curve = [loss for _, loss in losses(whole)]
    assert np.mean(curve[-8:]) < 0.9 * np.mean(curve[:4])
    killed = start(broken, data_dir)
    wait_for_step(killed, broken, 12 + int(np.random.default_rng(7).integers(2, 9)))
    killed.send_signal(signal.SIGKILL)
    killed.wait(DEADLINE)
    interrupted = start(broken, data_dir)
    wait_for_step(interrupted, broken, 27)
    interrupted.send_signal(signal.SIGINT)
    _, said = interrupted.communicate(timeout=DEADLINE)
    assert interrupted.returncode == 130 and "Traceback" not in said
    assert 27 <= losses(broken)[-1][0] < 60
    train.train_and_evaluate(tiny_config.get_config(str(data_dir)), str(broken))
    assert losses(broken) == losses(whole)


@pytest.mark.parametrize(
    "settings,message",
    [
        ({"data.dataset": "brats/none"}, "run `python -m data.prepare brats"),
        ({"train.batch_size": 12}, "the 8 devices don't divide it"),
        ({"model.fusioninn.sources": 3}, "the model takes 3"),
        ({"data.crop": (15, 16)}, "set --config.data.crop=14,16"),
    ],
)
def test_bad_settings_are_named(data_dir, tmp_path, settings, message):
    config = training_case.config(data_dir)
    config.update_from_flattened_dict(settings)
    with pytest.raises(UserError, match=message):
        train.train_and_evaluate(config, str(tmp_path / "new"))
    assert not (tmp_path / "new" / "metrics.jsonl").exists()


def test_a_checkpoint_of_another_architecture_is_named(whole_run, data_dir):
    config = with_permutation(data_dir)
    config.model.fusioninn.blocks = 3
    with pytest.raises(UserError, match="another architecture .blocks is 2, this run asks for 3"):
        train.train_and_evaluate(config, str(whole_run[0]))


def test_training_starts_from_the_weights_asked_for(whole_run, data_dir, tmp_path):
    workdir, state = whole_run
    config = train.settle(with_permutation(data_dir))
    config.start = str(workdir)
    prepared = input_pipeline.open_dataset(config.data)
    model = models.get(config.model.name, config.model.fusioninn)
    found = train.initial_state(model, train_state.make_optimizer(config.optimizer, 6), config, prepared)
    best = checkpoint.load(workdir)
    jax.tree.map(np.testing.assert_array_equal, found.variables["params"], best.variables["params"])
    assert int(found.step) == 0


def test_a_loss_that_is_not_finite_stops_with_step_and_slices(data_dir, tmp_path):
    config = training_case.config(data_dir)
    config.optimizer.learning_rate, config.optimizer.clip_norm = 1e30, 0.0
    with pytest.raises(UserError, match=r"step 2: the loss is .* slices numbered \[\d+, .*look at those slices"):
        train.train_and_evaluate(config, str(tmp_path))


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["--config=configs/phantom.py", "--config.train.batch_sizes=3", "--workdir=x"], "did you mean batch_size?"),
        (["--config=demo", "--config.train.steps=1.5", "--workdir=x"], "--config.train.steps=1.5: give a whole number"),
        (["--config=configs/absent.py", "--workdir=x"], "configs/absent.py"),
        (["--workdir=x"], "--config and --workdir are needed"),
        (["--config=configs/phantom.py", "--config.data.data_dir=/nonexistent", "--workdir=x"], "no prepared dataset"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(arguments, message):
    done = subprocess.run(
        [sys.executable, "-m", "fusioninn_jax.train", *arguments],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1 and message in done.stderr


def test_evaluate_and_report_use_what_training_left(whole_run, data_dir, capsys):
    workdir, _ = whole_run
    with pytest.raises(UserError, match="fusioninn_jax.evaluate --workdir"):
        run_page.write_run_report(workdir)
    arguments = [f"--workdir={workdir}", "--split=test", "--metrics=ssim", f"--save-fused={workdir}/fused"]
    assert evaluate.main([*arguments, "--model=mean"]) == 0
    summary = json.loads((workdir / "evaluation/test/summary.json").read_text())
    assert summary["systems"]["fusioninn"]["images"] == 3
    assert set(summary["systems"]) == {"fusioninn", "mean"}
    assert {"mean", "std", "excess_kurtosis"} <= set(summary["systems"]["fusioninn"]["latent"]["brain"])
    for system in ("fusioninn", "mean"):
        found = summary["systems"][system]["conspicuity"]
        assert set(found["subjects"]) == {"test0", "test1"}
        assert {name.split("_")[1] for name in found["overall"]} == {"oedema"}
    assert found["overall"]["auc_oedema_over_mean"]["mean"] == 0  # of the mean itself
    assert found["overall"]["auc_oedema"]["mean"] == found["overall"]["auc_oedema_mean"]["mean"]
    header, *lines = (workdir / "evaluation/test/patients.csv").read_text().splitlines()
    assert "auc_oedema" in header.split(",") and len(lines) == 4
    folder = workdir / "fused" / "fusioninn"
    assert len(list(folder.iterdir())) == 3
    assert (
        evaluate.main(
            [
                f"--workdir={workdir}",
                "--split=test",
                "--metrics=ssim",
                f"--fused-dir=saved={folder}",
                f"--out={workdir}/again",
            ]
        )
        == 0
    )
    again = json.loads((workdir / "again/summary.json").read_text())["systems"]
    for name in ("ssim_fused_1", "q_ssim_brain"):  # 8 bits apart
        np.testing.assert_allclose(
            again["saved"]["overall"][name]["mean"],
            again["fusioninn"]["overall"][name]["mean"],
            atol=tolerances.SCORE_8BIT,
        )
    assert again["saved"]["conspicuity"] == again["fusioninn"]["conspicuity"]  # that is of 8 bits anyway
    assert "SSIM with t1gd" in capsys.readouterr().out
    evaluate.main([f"--workdir={workdir}", "--split=test", "--metrics=ssim"])
    page = run_page.write_run_report(workdir).read_text()
    assert page.count("data:image/png;base64,") == 3 and "decomposed from an 8-bit image" in page
    assert "oedema, AUC" in page and "test1" in page
    assert "http" not in page.split("</style>")[1].split("<h2>Configuration")[0]  # self-contained


def test_an_evaluation_of_fewer_slices_says_what_it_replaces(tmp_path):
    def report(images):
        return {"systems": {"fusioninn": {"images": images}}}

    assert evaluate._replaced(tmp_path, report(2)) == ""
    (tmp_path / "summary.json").write_text(json.dumps(report(60)))
    assert evaluate._replaced(tmp_path, report(2)) == "; they replace an evaluation of 60 slices"
    assert evaluate._replaced(tmp_path, report(60)) == ""
    (tmp_path / "summary.json").write_text("[")
    assert evaluate._replaced(tmp_path, report(2)) == ""


@pytest.mark.parametrize(
    "arguments,message",
    [
        ([], "nothing to score"),
        (["--model=mean"], "--dataset and --out are needed"),
        (["--workdir=/nonexistent"], "no checkpoints there"),
        (["--model=fusioninn", "--dataset=a/b", "--out=x"], "needs training"),
        (["--model=maen", "--dataset=a/b", "--out=x"], "did you mean 'mean'"),
    ],
)
def test_evaluate_names_bad_arguments(arguments, message):
    with pytest.raises(UserError, match=message):
        evaluate.main(arguments)


def test_a_missing_fused_image_is_named(data_dir, tmp_path):
    with pytest.raises(UserError, match=r"has no test\d_00\d.png"):
        evaluate.main(
            [
                f"--fused-dir=other={tmp_path}",
                "--dataset=tiny/default",
                f"--data-dir={data_dir}",
                "--split=test",
                f"--out={tmp_path}/out",
            ]
        )


def test_loading_gives_the_trained_model_without_the_configuration(whole_run):
    workdir, state = whole_run
    model, variables, config, step, *_ = checkpoint.load(workdir, "last")
    assert step == 6 and tuple(config.model.fusioninn.permutations[0]) == (4, 5, 6, 7, 0, 1, 2, 3)
    for ours, theirs in zip(jax.tree.leaves(variables), jax.tree.leaves(state.variables), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert model.decompose is not None


def test_import_needs_neither_tensorflow_nor_orbax():
    code = (
        "import sys, fusioninn_jax; fusioninn_jax.models.get('fusioninn'); "
        "print([name for name in ('tensorflow', 'orbax', 'tensorflow_datasets') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "[]"


def test_runs_that_differ_in_seed_and_data_alone_compile_once(data_dir):
    first, other = train.settle(training_case.config(data_dir)), train.settle(training_case.config(data_dir))
    other.seed, other.data.shuffle_buffer = 5, 3
    devices = jax.local_devices()
    assert train._programs(first, devices)[2] is train._programs(other, devices)[2]
    other.losses.alpha = 0.7
    assert train._programs(first, devices)[2] is not train._programs(other, devices)[2]
