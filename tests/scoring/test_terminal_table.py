"""What `evaluate` prints: a table that fits, the worst patient, no interval for one patient."""

import itertools

import pytest
from etils import epath

from fusioninn_jax import evaluate
from fusioninn_jax.score_names import BRAIN, of_decomposed, of_fused
from fusioninn_jax.scoring import score_table, terminal_table

NAMES = [
    "q_ssim" + BRAIN,
    "q_fmi" + BRAIN,
    "q_ssim",
    "vif" + BRAIN,
    of_fused(1) + BRAIN,
    of_fused(2) + BRAIN,
    of_decomposed("ssim", 1, "8bit") + BRAIN,
    of_decomposed("ssim", 2, "8bit") + BRAIN,
]


def report(patients, systems=("fusioninn",)):
    found = {}
    for system in systems:
        rows = [
            {
                "system": system,
                "subject": f"p{p}",
                "slice_index": z,
                **{name: 0.9 - 0.1 * p - 0.01 * k for k, name in enumerate(NAMES)},
            }
            for p, z in itertools.product(range(patients), range(3))
        ]
        found[system] = score_table.summarise(rows)
    return {"dataset": "brats/x", "split": "test", "modalities": ["t1gd", "flair"], "systems": found}


def test_the_table_holds_the_papers_scores_and_decomposition_inside_the_brain():
    lines = terminal_table.text(report(3)).splitlines()
    assert lines[0].startswith("brats/x, split test: 9 slices of 3 patients; inside the brain, mean [95 % interval")
    titles = [line[:34].strip() for line in lines]
    for title in ("Q SSIM", "Q FMI", "SSIM with t1gd", "SSIM with flair", "SSIM of t1gd, decomposed"):
        assert title in titles
    assert "vif" not in "\n".join(lines)
    assert next(line for line in lines if line.startswith("Q SSIM")).split()[2] == "0.800"


def test_the_worst_patient_is_named_with_its_score():
    assert terminal_table.text(report(3)).splitlines()[-1] == (
        "fusioninn: worst patient p2, SSIM of flair, decomposed 0.630 (all: 0.730)"
    )


def test_one_patient_has_no_interval_in_either_table():
    one = report(1)
    text = terminal_table.text(one)
    assert "3 slices of 1 patient; inside the brain, mean (one patient: no interval)" in text
    assert "[" not in text and "worst" not in text
    assert "1 patient; mean, no interval" in score_table.markdown(one) and "0.9000 |" in score_table.markdown(one)
    assert "[0." not in score_table.markdown(one) and "[0." in score_table.markdown(report(2))


@pytest.mark.parametrize("width", [80, 100, 200])
def test_it_fits_a_terminal_whatever_the_number_of_systems(width):
    systems = [f"system_{i}" for i in range(7)]
    text = terminal_table.text(report(2, systems), width)
    table = [line for line in text.splitlines() if line.startswith((" ", "Q", "SSIM"))]
    assert max(map(len, table)) <= width
    assert all(f"{name}" in text for name in systems)


def test_the_evaluators_numbers_stand_alone_and_say_whose_they_are():
    found = report(2)
    for summary in found["systems"].values():
        summary["overall"] |= {
            "cddfuse_EN": {"mean": 5.0, "low": 4.0, "high": 6.0},
            "cddfuse_MI": {"mean": 2.0, "low": 1.0, "high": 3.0},
        }
        for values in summary["subjects"].values():
            values |= {"cddfuse_EN": 5.0, "cddfuse_MI": 2.0}
    lines = terminal_table.text(found, metrics="evaluator").splitlines()
    assert "whole slice, as the evaluator of CDDFuse computes them" in lines[0]
    assert [line.split()[0] for line in lines[3:5]] == ["EN", "MI"]


def test_table_1_is_of_whole_slices_in_the_form_that_was_published():
    found = report(2)
    for summary in found["systems"].values():
        summary["overall"] |= {"q_xy_fusioninn": {"mean": 0.4, "low": 0.3, "high": 0.5}}
    lines = terminal_table.text(found, metrics="table1").splitlines()
    assert "whole slice, as in the paper's Table 1" in lines[0]
    shown = {line[:34].strip(): line[34:].split()[0] for line in lines[3:5]}
    assert shown == {"Q SSIM": "0.830", "Q XY": "0.400"}
    assert lines[-1].startswith("fusioninn: worst patient p1, Q SSIM")


@pytest.mark.parametrize("width", [60, 80, 200])
def test_every_score_fits_a_terminal_and_none_is_lost(width):
    systems = [f"system_{i}" for i in range(4)]
    markdown = score_table.markdown(report(2, systems))
    text = terminal_table.fitting(markdown, width)
    assert max(map(len, text.splitlines())) <= width
    rows = [line[2:-2].replace("**", "") for line in markdown.splitlines() if line.startswith("| ")]
    cells = [cell for row in rows for cell in row.split(" | ")]
    assert all(text.count(cell) >= cells.count(cell) for cell in set(cells) - {"---"})
    assert "| " not in text and "## Fusion, inside the brain" in text


def test_evaluate_prints_every_score_as_the_terminal_takes_it_and_writes_markdown(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    arguments = ["--model=mean", "--dataset=a/b", f"--out={tmp_path}", "--metrics=all"]
    evaluate._write(epath.Path(tmp_path), [], report(2), evaluate._wishes(evaluate._arguments(arguments)))
    *table, written = capsys.readouterr().out.splitlines()
    assert max(map(len, table)) <= 60 and "## Fusion, whole slice" in table and written.startswith("written: ")
    assert (tmp_path / "summary.md").read_text() == score_table.markdown(report(2))


def test_a_block_repeats_what_its_rows_are_of():
    markdown = score_table.markdown_table(
        ["source", "where", "float", "8 bits"],
        [["t1gd", "brain", "0.9000 [0.8000, 1.0000]", "0.8000"], ["flair", "", "", "0.7000"]],
    )
    assert terminal_table.fitting(f"## Title\n\n{markdown}\n", 40).splitlines() == [
        "## Title",
        "",
        "source  where  float",
        "t1gd    brain  0.9000 [0.8000, 1.0000]",
        "flair",
        "",
        "source  where  8 bits",
        "t1gd    brain  0.8000",
        "flair          0.7000",
    ]
    assert len(terminal_table.fitting(markdown, 48).splitlines()) == 3
