"""What a misspelt word was probably meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The one of the words in `known` that is most like `word`; None where none is.

    Args:
      word: as it was typed.
      known: the words that it may be.
      cutoff: how alike they must be: 0 takes any, 1 the same word alone.
    """
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)), None)
