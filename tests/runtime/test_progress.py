"""runtime.progress: who shows a bar, when, and what stands beside it."""

import pytest

from fusioninn_jax.runtime import processes, progress


@pytest.mark.parametrize("is_first", [True, False])
def test_the_first_process_alone_shows_a_bar(monkeypatch, capsys, is_first):
    monkeypatch.setattr(processes, "is_first", lambda: is_first)
    with progress.bar(4, "training", "steps", initial=3) as bar:
        bar.update()
    told = capsys.readouterr().err
    assert ("training" in told and "4/4" in told and "steps" in told) == is_first


def test_a_file_gets_a_line_every_ten_seconds(capsys):
    with progress.bar(1000, "reading", "slices") as bar:
        for _ in range(1000):
            bar.update()
    assert capsys.readouterr().err.count("slices") <= 2  # the first and the last state


def test_short_work_shows_nothing_before_three_seconds_have_passed(capsys):
    with progress.bar(2, "fusing", "slices", brief=True) as bar:
        bar.update(2)
    assert "fusing" not in capsys.readouterr().err
