"""studies.archive_v1: archives of version 1 are still read."""

import pathlib

import numpy as np

from tests.studies import cases
from tests.studies.cases import unpacked

VERSION_1 = pathlib.Path(__file__).parents[1] / "golden" / "archive_version_1.nii.gz"


def test_version_1_is_still_read(tmp_path):
    path = tmp_path / "old.nii.gz"
    path.write_bytes(VERSION_1.read_bytes())
    first, second = unpacked(path, 2)
    np.testing.assert_array_equal(cases.stored(first), cases.voxels(1))
    np.testing.assert_array_equal(cases.stored(second), cases.voxels(2).astype("f4") / 7)
