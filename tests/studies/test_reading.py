"""studies.reading: numbers on a command line, and series that must lie on one grid."""

import argparse

import numpy as np
import pytest

from fusioninn_jax.formats import files
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import reading
from tests.studies import cases


@pytest.mark.parametrize("text, value", [("0", 0), ("7", 7), (str(2**63 - 1), 2**63 - 1)])
def test_seeds(text, value):
    assert reading.seed(text) == value


@pytest.mark.parametrize("text", ["", "-1", "1.5", "²", str(2**63), "9" * 400])
def test_what_is_no_seed(text):
    with pytest.raises(argparse.ArgumentTypeError, match="a whole number from 0 to"):
        reading.seed(text)


@pytest.mark.parametrize("text, value", [("1", 1), ("10000", 10_000)])
def test_numbers_of_samples(text, value):
    assert reading.samples(text) == value


@pytest.mark.parametrize("text", ["", "0", "10001", "x", "-3", "1" * 400])
def test_what_is_no_number_of_samples(text):
    with pytest.raises(argparse.ArgumentTypeError, match="at least 1 and at most 10000"):
        reading.samples(text)


def test_series_of_other_grids_are_refused_or_brought_to_the_first(tmp_path):
    pytest.importorskip("SimpleITK")
    moved = cases.AFFINE.copy()
    moved[2, 3] += 2.5  # one slice up
    paths = [cases.save(tmp_path / "a.nii", cases.voxels(1)), cases.save(tmp_path / "b.nii", cases.voxels(2), moved)]
    with pytest.raises(UserError, match=r"b.nii: its affine puts .* \(`--resample` does the latter\)"):
        reading.read_sources(paths)
    first, second = reading.read_sources(paths, resample=True)
    np.testing.assert_array_equal(second.affine, first.affine)
    np.testing.assert_array_equal(second.stored[1:], files.read(paths[1]).stored[:-1])
    assert not second.stored[0].any()  # beyond its field of view
