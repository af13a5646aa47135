"""tables.sweep: the rows of a sweep beside the paper's, in whole slices and inside the brain."""

import argparse

import pytest

from fusioninn_jax.score_names import BRAIN, OVER_MEAN, of_part
from fusioninn_jax.tables import published, sweep

MOMENTS = dict.fromkeys(sweep.LATENT, 0.25)
SECTION = "α (k = 3, λ = 0.8)"


def summary(score=0.5, **more):
    value = {"mean": score, "low": score - 0.1, "high": score + 0.1}
    overall = {name + ending: value for name in sweep.SSIMS for ending in ("", BRAIN)}
    return {"overall": overall, "latent": {}, **more}


def cells(table, label):
    header, row = table.header, next(row for row in table.rows if row[0] == label)
    assert len(row) == len(header)
    return list(zip(header, row, strict=True))


def test_the_papers_numbers_stand_beside_ours_in_whole_slices_alone():
    whole, brain = sweep.tables({SECTION: {"0.5": "a", "0.3": "b"}}, dict.fromkeys("ab", summary()), ["t1", "flair"])
    assert whole.title == f"{SECTION}, whole slices" and brain.title == f"{SECTION}, inside the brain"
    found = cells(whole, "0.5")
    assert found[1:3] == [("fusion, t1", "0.500 [0.400, 0.600]"), ("paper", "0.921")]
    assert [text for name, text in found if name == "paper"] == [f"{x:.3f}" for x in published.TABLE2[SECTION]["0.5"]]
    assert [text for name, text in cells(whole, "0.3") if name == "paper"] == [""] * 4  # the paper has no such row
    assert "paper" not in brain.header and cells(brain, "0.5")[1][1] == "0.500 [0.400, 0.600]"


def test_a_section_that_the_paper_has_not_has_no_such_columns():
    whole, _ = sweep.tables({"own": {"x": "a"}}, {"a": summary()}, ["t1", "flair"])
    assert "paper" not in whole.header


def test_what_a_run_lacks_is_a_dash():
    whole, _ = sweep.tables({"own": {"x": "a"}}, {"a": {"overall": {}, "latent": {}}}, ["t1", "flair"])
    assert [text for _, text in cells(whole, "x")[1:]] == ["—"] * (len(sweep.SSIMS) + len(sweep.PARTS) + 1)


def test_the_tumour_and_the_latent_in_words():
    part = sweep.PARTS[0]
    overall = {
        of_part("auc", part): {"mean": 0.9, "worst": 0.6, "worst_subject": "p3"},
        of_part("auc", part, OVER_MEAN): {"mean": -0.05},
    }
    found = summary(latent={"brain": MOMENTS}, conspicuity={"overall": overall})
    *_, oedema, enhancing, latent = sweep.tables({"own": {"x": "a"}}, {"a": found}, ["t1", "flair"])[0].rows[0]
    assert oedema == "0.900, -0.050, 0.600 p3" and enhancing == "—" and latent == "0.25, 0.25, 0.25, 0.25"


@pytest.mark.parametrize("default", [None, "configs/sweeps/table2.py"])
def test_a_sweep_is_needed_where_there_is_no_default(default, capsys):
    parser = argparse.ArgumentParser()
    sweep.add_arguments(parser, default)
    if default:
        assert parser.parse_args([]).sweep == default
    else:
        with pytest.raises(SystemExit):
            parser.parse_args([])
        assert "--sweep" in capsys.readouterr().err
