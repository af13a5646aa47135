"""The tables: what they count, mark and print, and that runs are trained once and scored once."""

import csv
import json
import pathlib

import jax
import pytest

from fusioninn_jax import evaluate, report, train
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.scoring import image_scores
from tests import tolerances, training_case

SWEEP = """
from tests import training_case
RUNS = {{"deepfuse": {{"model.name": "deepfuse", "model.deepfuse.width": 2}},
        "fusioninn": {{"losses.alpha": 0.5, "model.fusioninn.blocks": 1}}}}
TABLE = {{"α (k = 3, λ = 0.8)": {{"0.5": "fusioninn"}}}}

def get_config(argument):
    config = training_case.config({path!r})
    config.train.steps = config.train.eval_every = 2
    config.update_from_flattened_dict(RUNS[argument])
    return config
"""


@pytest.fixture(scope="module", name="sweep")
def sweep_fixture(tmp_path_factory):
    """A sweep file over the tiny dataset."""
    data_dir = training_case.prepare(tmp_path_factory.mktemp("data"))
    path = tmp_path_factory.mktemp("sweeps") / "tiny.py"
    path.write_text(SWEEP.format(path=str(data_dir)))
    return path


@pytest.fixture(name="few_metrics")
def few_metrics_fixture(monkeypatch):
    """The metric that the test looks at: the others take seconds to compile."""
    monkeypatch.setitem(image_scores.METRIC_SETS, "table1", ("q_ssim",))


def deepfuse_parameters(width):
    """Kernels, biases and batch normalisations of its five layers, counted by hand from the paper's figure."""
    layers = [(5, 1, width), (7, width, 2 * width), (7, 2 * width, 2 * width), (5, 2 * width, width), (5, width, 1)]
    return sum(size**2 * before * after + 3 * after for size, before, after in layers)


def forbidden(*arguments, **options):
    raise AssertionError("done already")


def memory_maps():
    maps = pathlib.Path("/proc/self/maps")
    return len(maps.read_text().splitlines()) if maps.exists() else 0


@pytest.mark.usefixtures("few_metrics")
def test_table1_trains_scores_and_writes_then_takes_what_is_there(sweep, tmp_path, monkeypatch, capsys):
    one = jax.devices()[:1]
    monkeypatch.setattr(jax, "local_devices", lambda: one)
    root = tmp_path / "runs"
    command = ["table1", f"--sweep={sweep}", f"--root={root}", "--split=test", "--bounds=mean", f"--out={tmp_path}/out"]
    mapped = memory_maps()
    assert report.main(command) == 0
    assert memory_maps() < mapped + 1000  # compiled code is freed run by run: Linux grants a process 65 530
    text = (tmp_path / "out/table1.md").read_text()
    assert "| UNet++ | not run | 0.937 |" in text and "mean of the sources" in text
    with (tmp_path / "out/table1.csv").open(newline="") as file:
        records = {(row["system"], row["score"]): row for row in csv.DictReader(file)}
    evaluate.main([f"--workdir={root}/deepfuse", "--split=test", "--metrics=ssim"])
    summary = json.loads((root / "deepfuse/evaluation/test/summary.json").read_text())["systems"]["deepfuse"]
    ours = records["deepfuse", "q_ssim"]
    assert float(ours["mean"]) == pytest.approx(summary["overall"]["q_ssim"]["mean"], rel=tolerances.ROUNDING_F32)
    assert ours["paper"] == "0.927" and float(ours["difference"]) != 0
    assert int(ours["parameters"]) == deepfuse_parameters(2)
    assert 0 < float(ours["training_seconds"]) < 600 and float(ours["gflops"]) > 0
    for ending, start in ((".tex", r"\begin{table}"), (".html", "<!doctype html>")):
        assert (tmp_path / f"out/table1{ending}").read_text().startswith(start)
    with monkeypatch.context() as patch:
        patch.setattr(train, "train_and_evaluate", forbidden)
        patch.setattr(evaluate, "score_model", forbidden)
        assert report.main(command) == 0
    assert (
        report.main(
            [
                "figures",
                "--workdirs",
                *[f"{root}/{run}" for run in ("deepfuse", "fusioninn")],
                "--split=test",
                f"--out={tmp_path}/figures",
            ]
        )
        == 0
    )
    names = {f"figure{number}.{ending}" for number in (3, 4, 5) for ending in ("png", "pdf")}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == names
    assert report.main(["sweep", f"--sweep={sweep}", f"--root={root}", "--split=test"]) == 0
    text = (root / "tiny.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("| 0.5 |")).split(" | ")
    assert line[2] == "0.921" and line[6] == "0.976" and "latent in the brain" in text
    with pytest.raises(UserError, match="holds a run with losses.alpha=0.5, 0.9 is asked for; give another --root"):
        report.main(["sweep", f"--sweep={sweep}", f"--root={root}", "--config.losses.alpha=0.9"])
    capsys.readouterr()


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["table1"], "nothing to compare"),
        (["table1", "--sweep=none.py"], "none.py: no such sweep"),
        (["table1", "--workdirs", "/nonexistent"], "no checkpoints there"),
        (["table1", "--workdirs", "/nonexistent", "--split"], "expected one argument"),
        (["figures", "--workdirs", "x", "--config.train.steps=3"], "figures are of trained runs"),
        (["table2", "--base=nothing", "--root=x"], "no base configuration configs/nothing.py"),
        (["table2", "--root=x", "--config.train.stepps=3"], "there is no setting stepps; did you mean steps?"),
        (["table2", "--root=x", "--config.train.steps=many"], "--config.train.steps=many"),
        (["run", "--workdir=x", "--config.train.steps=3"], "run takes no --config"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        report.main(arguments)
