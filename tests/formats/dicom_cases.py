"""Series of DICOM files with something changed, for the tests of the reader."""

import numpy as np
import pydicom
import pytest

from fusioninn_jax.formats import files
from fusioninn_jax.runtime.errors import UserError
from tests.studies import dicom_series

VOXELS = np.random.default_rng(0).integers(0, 900, (7, 6, 8)).astype("u2")


SECRET = "FAMILY^GIVEN"


def series(folder, change=lambda image, z: None, voxels=VOXELS):
    """A series written slice by slice, `change`d by the slice's number from the feet up."""
    dicom_series.write(folder, voxels)
    for path in folder.iterdir():
        image = pydicom.dcmread(path)
        change(image, round((float(image.ImagePositionPatient[2]) - 30) / dicom_series.STEP))
        image.save_as(path)
    return folder


def of_slice(folder, z):
    """The file of a slice."""
    return next(path for path in folder.iterdir() if path.name.endswith(f"-{z}"))


def move(places):
    def change(image, z):
        image.ImagePositionPatient = [f"{x:.10g}" for x in places[z]]

    return change


def along(z_of_slice):
    return move([[-10, -20, z_of_slice(z)] for z in range(len(VOXELS))])


def refused(folder, message):
    with pytest.raises(UserError, match=message) as caught:
        files.read(folder)
    text = str(caught.value)
    assert text.startswith(str(folder)) and "\n" not in text and SECRET not in text
    return text
