"""Numbers of things, in words for people."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """`1 slice`, `1,153 slices`, `2 studies`.

    Args:
      number: how many.
      one: what a single one is called.
      many: what several are called; empty: as one, with an s.
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
