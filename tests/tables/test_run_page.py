"""What a training's page picks and draws."""

import os

import jax
import numpy as np
import pytest

from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.tables import run_figures, run_page
from fusioninn_jax.trained_model import training_free
from fusioninn_jax.training.train_log import METRICS_FILE
from tests import tolerances, training_case


def test_typical_slices_and_the_worst_are_chosen_in_their_order():
    values = np.array([0.9, 0.1, 0.5, 0.6, 0.55, 0.2, 0.95, 0.7])
    assert run_page.choose(values, 4) == {3: "typical", 4: "typical", 1: "worst", 5: "worst"}
    assert run_page.choose(values, 1) == {4: "typical"}
    for count in range(1, 12):  # each at most once, the worst among them
        chosen = run_page.choose(values, count)
        assert len(chosen) == min(count, len(values)) and (count < 2 or chosen[1] == "worst")


def test_likeness_is_the_worse_of_what_comes_back():
    results = {
        "ssim_fused_1_brain": np.array([0.1, 0.2]),
        "ssim_decomposed_1_8bit_brain": np.array([0.9, 0.5]),
        "ssim_decomposed_2_8bit_brain": np.array([0.7, 0.8]),
        "ssim_decomposed_2_8bit": np.array([0.0, 0.0]),
    }
    np.testing.assert_array_equal(run_page.likeness(results), [0.7, 0.5])
    del results["ssim_decomposed_1_8bit_brain"], results["ssim_decomposed_2_8bit_brain"]
    np.testing.assert_array_equal(run_page.likeness(results), [0.1, 0.2])


def test_the_split_that_there_is(tmp_path):
    with pytest.raises(UserError, match="--split=test` first"):
        run_page.evaluated_split(tmp_path)
    for split in ("validation", "test"):
        (tmp_path / "evaluation" / split).mkdir(parents=True)
        (tmp_path / "evaluation" / split / "summary.json").write_text("{}")
        assert run_page.evaluated_split(tmp_path) == split
    assert run_page.evaluated_split(tmp_path, "validation") == "validation"
    (tmp_path / "evaluation" / "validation_evaluator").mkdir()
    (tmp_path / "evaluation" / "validation_evaluator" / "summary.json").write_text("{}")
    (tmp_path / "evaluation" / "test" / "summary.json").unlink()
    assert run_page.evaluated_split(tmp_path) == "validation"  # not the other evaluator's numbers
    (tmp_path / "evaluation" / "test" / "summary.json").write_text("{}")
    with pytest.raises(UserError, match="evaluated: test, validation"):
        run_page.evaluated_split(tmp_path, "train")


def test_a_summary_that_is_none_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(run_page, "_examples", lambda *asked: ({}, []))
    (tmp_path / METRICS_FILE).write_text('{"step": 1, "loss": 1.0}\n')
    (tmp_path / "config.json").write_bytes(b"\xff{}")
    summary = tmp_path / "evaluation" / "test" / "summary.json"
    summary.parent.mkdir(parents=True)
    of_no_score = '{"systems": {"a": 5}, "modalities": ["x"], "dataset": "d"}'
    for content in ("", "\0", "[" * 100_000, "[1]", '{"systems": {}}', of_no_score):
        summary.write_text(content)
        with pytest.raises(UserError, match="summary.json: is not as an evaluation writes it .*`python -m ") as caught:
            run_page.write_run_report(tmp_path)
        assert "\n" not in str(caught.value)
    summary.unlink()
    os.mkfifo(summary)
    with pytest.raises(UserError, match="is a pipe"):
        run_page.write_run_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("make, message", [(os.mkdir, "is a folder"), (os.mkfifo, "is a pipe")])
def test_a_log_that_is_no_file_is_one_line(tmp_path, make, message):
    make(tmp_path / METRICS_FILE)
    with pytest.raises(UserError, match=f"{METRICS_FILE}: {message}"):
        run_page.write_run_report(tmp_path)


def test_patients_are_sorted_and_legends_cover_nothing():
    scores = {name: {"fair": value, "back": 1 - value} for name, value in (("b", 0.2), ("a", 0.8), ("c", 0.5))}
    figure = run_figures.patients(scores, {"fair": "fused", "back": "back", "none": "?"}, {"fair": 0.5, "back": 0.5})
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["b", "c", "a"]
    assert run_figures.patients(scores, {"none": "?"}, {}) is None
    train = [{"step": 1, "loss": 1.0, "fusion": 0.5, "decomposition": 0.4}]
    evaluations = [{"step": 1, "loss": 1.0, "ssim_fused_1_brain": 0.5, "ssim_decomposed_1_8bit_brain": 0.9}]
    for drawn in (figure, run_figures.curves(train, evaluations, ["T1"])):
        drawn.canvas.draw()
        for axis in drawn.axes:
            legend = axis.get_legend().get_window_extent()
            assert not legend.overlaps(axis.get_window_extent()), "a legend lies on its data"


def test_the_panel_has_a_colour_bar_a_column_and_names_of_rows():
    rng = np.random.default_rng(0)
    sources = np.zeros((2, 40, 30, 2))
    sources[:, 10:30, 8:22] = rng.uniform(0.2, 1, (2, 20, 14, 2))
    examples = {"sources": sources, "fused": sources[..., :1], "decomposed": sources[..., ::-1]}
    figure = run_figures.image_panel(examples, ["A", "B"], ["typical: p, slice 1", "worst: q, slice 2"])
    columns, rows = 7, 2
    assert len(figure.axes) == columns * rows + columns
    assert [axis.get_ylabel() for axis in figure.axes[: columns * rows : columns]] == [
        "typical: p, slice 1",
        "worst: q, slice 2",
    ]
    assert figure.axes[0].images[0].get_array().shape == (28, 22)  # cut to the brain


def test_the_images_do_not_depend_on_the_devices(data_dir, monkeypatch, tmp_path):
    config = training_case.config(data_dir)
    config.train.eval_batch_size = 1  # which eight devices do not share
    trained = training_free("mean")._replace(config=config)
    monkeypatch.setattr(run_page.checkpoint, "load", lambda workdir: trained)
    found = []
    for devices in (jax.devices(), jax.devices()[:1]):
        monkeypatch.setattr(jax, "local_devices", lambda devices=devices: devices)
        found.append(run_page._examples(tmp_path, "test", 4))
    (eight, names), (one, names_of_one) = found
    assert len(jax.devices()) == 8 and names == names_of_one and len(names) == training_case.SIZES["test"]
    assert eight.keys() == one.keys() == {"sources", "fused"}
    for name in one:
        np.testing.assert_allclose(eight[name], one[name], atol=tolerances.ROUNDING_F32)
