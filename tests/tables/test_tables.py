"""The tables: what they count, mark and print, and that runs are trained once and scored once."""

import csv
import json
import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from fusioninn_jax import evaluate, report, train
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.scoring import image_scores
from fusioninn_jax.tables import comparison, cost, published, render, systems
from fusioninn_jax.trained_model import TrainedModel
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
    """Metrics that compile quickly."""
    monkeypatch.setitem(image_scores.METRIC_SETS, "table1", ("q_ssim", "q_xy"))


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


def rows(label, offset, patients, slices=30):
    """Q_SSIM of two systems on patients whose difference varies about `offset`."""
    noise = np.random.default_rng(0).normal(0, 0.002, (patients, slices))
    return [
        {"system": label, "subject": f"p{i}", "slice_index": j, "q_ssim": 0.9 + offset * (1 + noise[i, j])}
        for i in range(patients)
        for j in range(slices)
    ]


@pytest.mark.parametrize("patients,offset,mark", [(12, 0.01, "*"), (2, 0.01, "†"), (12, 0.0, "")])
def test_marks_tell_patients_from_slices(patients, offset, mark):
    def scored(name, offset):
        config = ml_collections.ConfigDict({"model": {"name": name}})
        system = systems.System(name, TrainedModel(None, {}, config), None)
        return comparison.Scored(system, rows(name, offset, patients), {})

    cell = comparison._cell(scored("unet", offset), scored("fusioninn", 0.0), "q_ssim")
    assert cell.endswith("]" + mark)


def test_flops_count_the_repetitions_of_loops():
    def product(x):
        return x @ x

    def repeated(x):
        return jax.lax.scan(lambda carry, _: (product(carry), None), x, length=7)[0]

    x = jnp.ones((16, 16))
    once = cost.gflops(product, x)
    assert once == pytest.approx(2 * 16**3 / 1e9)
    assert cost.gflops(jax.jit(lambda x: repeated(jax.jit(repeated)(x))), x) == pytest.approx(
        14 * once, rel=tolerances.COARSE
    )
    assert 0 < cost.milliseconds(product, x) < 1000
    assert cost.parameters({"params": {"a": x}, "batch_stats": {"b": x}}) == 256


def test_tables_escape_what_their_formats_read():
    table = render.Table("α & β", ["a_b", "x|y"], [["<i>", "50 %"]], "note")
    assert r"a\_b" in render.latex([table]) and r"50 \%" in render.latex([table]) and r"\alpha" in render.latex([table])
    assert "&lt;i&gt;" in render.html("t", [table])
    assert r"x\|y" in render.markdown("t", [table])


def test_the_published_tables_are_whole():
    assert all(len(row) == 5 for row in published.TABLE1.values()) and len(published.TABLE1) == 8
    assert [len(section) for section in published.TABLE2.values()] == [4, 4, 4, 4]
    sweep = systems.load_sweep("configs/sweeps/table2.py")
    assert {name: list(of) for name, of in sweep.TABLE.items()} == {
        name: list(of) for name, of in published.TABLE2.items()
    }
    assert set(sweep.RUNS) == {run for of in sweep.TABLE.values() for run in of.values()}
    for run in sweep.RUNS:
        assert sweep.get_config(f"{run},paper").model.fusioninn.formulation == "official"
    assert sweep.get_config("blocks_4").model.fusioninn.blocks == 4
    assert sweep.get_config("lambda_0.9").losses.alpha == 0.5  # the paper's, whatever the base has


@pytest.mark.parametrize("name", ["table1", "table1_laptop"])
def test_sweeps_of_table1_hold_every_trained_system(name):
    sweep = systems.load_sweep(f"configs/sweeps/{name}.py")
    assert set(sweep.RUNS) == set(published.TABLE1) - {"ddfm"}
    assert {sweep.get_config(run).model.name for run in sweep.RUNS} == set(sweep.RUNS)
