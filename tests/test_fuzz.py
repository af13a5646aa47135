"""A few hundred seeded damages to files of every kind: a result or one line, and nothing left behind."""
import collections
import time

from tests import fuzzing

SECONDS = 20.0
LEAST = 40  # rounds over all kinds, on the slowest machine


def test_whatever_is_damaged_there_is_a_result_or_one_line(tmp_path, capsys):
    every = fuzzing.subjects(tmp_path)
    counts: collections.Counter = collections.Counter()
    start = time.monotonic()
    for outcome in fuzzing.rounds(tmp_path, 0, every):
        counts[outcome] += 1
        capsys.readouterr()
        if time.monotonic() - start > SECONDS and counts.total() >= LEAST:
            break
    assert {kind for kind, _ in counts} == {subject.name for subject in every}
    assert sum(count for (_, outcome), count in counts.items() if outcome == "error") > counts.total() / 10
