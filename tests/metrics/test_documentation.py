"""The examples of docs/metrics/others.md give what is printed there."""

import doctest
import pathlib

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "metrics" / "others.md"


def test_examples_give_what_the_page_says():
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert result.attempted > 10 and result.failed == 0
