"""All cases of a test that compiles much, or those that stand for them: one for each way through the code."""

import os
from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def chosen(every: Iterable[T], some: Sequence[T]) -> list[T]:
    """The cases of `every` that are in `some`; all of them where FUSIONINN_ALL_TESTS is set (`make test-all`)."""
    cases = list(every)
    assert all(case in cases for case in some), "a chosen case that does not exist"
    return cases if os.environ.get("FUSIONINN_ALL_TESTS") else [case for case in cases if case in some]
