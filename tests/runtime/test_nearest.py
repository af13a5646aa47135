"""runtime.nearest: the word that was meant, or none."""

import pytest

from fusioninn_jax.runtime.nearest import nearest


@pytest.mark.parametrize(
    "word, cutoff, found",
    [("evalute", 0.6, "evaluate"), ("fuse", 0.6, "fuse"), ("qqq", 0.6, None), ("fusing", 0.9, None), ("", 0.6, None)],
)
def test_the_nearest_word_or_none(word, cutoff, found):
    assert nearest(word, iter(("fuse", "decompose", "evaluate")), cutoff) == found


def test_among_no_words_there_is_none():
    assert nearest("fuse", []) is None
