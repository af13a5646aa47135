"""scoring.score_table: what stands in the summary, the CSV files and the Markdown."""

import csv
import json

import pytest

from fusioninn_jax.scoring import score_table


def row(subject, index, **scores):
    return {"system": "mean", "subject": subject, "slice_index": index, **scores}


def test_the_table_weighs_slices_and_resamples_patients(tmp_path):
    rows = [
        {"system": "mean", "subject": subject, "slice_index": i, "ssim_fused_1": value}
        for i, (subject, value) in enumerate([("a", 0.9), ("a", 0.9), ("a", 0.9), ("b", 0.5)])
    ]
    summary = score_table.summarise(rows)
    assert summary["overall"]["ssim_fused_1"]["mean"] == pytest.approx(0.8)
    assert summary["subjects"] == {"a": {"ssim_fused_1": pytest.approx(0.9)}, "b": {"ssim_fused_1": pytest.approx(0.5)}}
    overall = summary["overall"]["ssim_fused_1"]
    assert (overall["low"], overall["high"]) == pytest.approx((0.5, 0.9))
    score_table.write_csv(tmp_path / "scores.csv", rows)
    assert (tmp_path / "scores.csv").read_text().splitlines()[0] == "system,subject,slice_index,ssim_fused_1"
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]  # no temporary file is left


def test_scores_stand_in_the_order_of_readers():
    rows = [
        row("a", 0, ssim_decomposed_1_float=1.0, vif=1.0),
        row("b", 1, q_fmi_brain=1.0, q_ssim=1.0, ssim_fused_1=1.0),
    ]
    names = ["ssim_fused_1", "q_ssim", "q_fmi_brain", "vif", "ssim_decomposed_1_float"]
    assert score_table.score_names(rows) == names


def test_slices_are_resampled_where_there_is_one_patient():
    rows = [row("a", i, q_ssim=value) for i, value in enumerate((0.5, 0.7, 0.9))]
    found = score_table.summarise(rows)["overall"]["q_ssim"]
    assert found["low"] < found["mean"] < found["high"]


def test_a_patient_without_a_tumour_has_empty_cells(tmp_path):
    summary = score_table.summarise([row("a", 0, q_ssim=0.5), row("b", 1, q_ssim=0.7)])
    conspicuity = {"overall": {}, "subjects": {"b": {"auc_oedema": 0.9}}}
    score_table.write_patients(
        tmp_path / "patients.csv", {"mean": summary | {"conspicuity": conspicuity}, "max": summary}
    )
    with (tmp_path / "patients.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["system"], line["subject"], line["auc_oedema"]) for line in lines] == [
        ("mean", "a", ""),
        ("mean", "b", "0.9"),
        ("max", "a", ""),
        ("max", "b", ""),
    ]


def test_json_is_written_over_an_older_one_and_nothing_else_is_left(tmp_path):
    for content in ({"a": [1, 2]}, {"b": "α"}):
        score_table.write_json(tmp_path / "summary.json", content)
        assert json.loads((tmp_path / "summary.json").read_text()) == content
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_a_report_without_an_annotation_or_a_latent_says_so_or_leaves_it_out():
    rows = [row(subject, i, ssim_fused_1=0.8, q_ssim_brain=0.75) for i, subject in enumerate("ab")]
    report = {
        "dataset": "x/y",
        "split": "test",
        "modalities": ["t1gd"],
        "systems": {"mean": score_table.summarise(rows)},
    }
    text = score_table.markdown(report)
    assert text.startswith("# Evaluation on x/y, split test\n\n2 images of 2 patients; mean [bootstrap 95 % interval].")
    assert "| SSIM with t1gd | 0.8000 [0.8000, 0.8000] |" in text and "| q_ssim | 0.7500 [" in text
    assert "tells no parts of a tumour apart" in text
    assert "## Decomposition" not in text and "## Latent" not in text
