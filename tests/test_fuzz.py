"""Seeded damages to files of every kind: a result or one line, and nothing left behind."""

from tests import fuzzing
from tests.chosen import chosen

ROUNDS = chosen([160, 800], [160])[-1]  # over all kinds


def test_whatever_is_damaged_there_is_a_result_or_one_line(tmp_path, capsys):
    every = fuzzing.subjects(tmp_path)
    counts = fuzzing.counted(fuzzing.rounds(tmp_path, 0, every), seconds=0, least=ROUNDS, after_each=capsys.readouterr)
    assert {kind for kind, _ in counts} == {subject.name for subject in every}
    assert fuzzing.mostly_damaged(counts)
