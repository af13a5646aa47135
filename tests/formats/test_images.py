"""formats.images: pictures and arrays as series."""

import numpy as np
import pytest
import tifffile

from fusioninn_jax.formats import files, image_io
from fusioninn_jax.runtime.errors import UserError
from tests.formats.volume_cases import SECRET


def test_names_of_fields_are_not_told(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 4), [(SECRET.decode(), "f4")]))
    with pytest.raises(UserError, match="are expected") as caught:
        files.read(tmp_path / "a.npy")
    assert SECRET.decode() not in str(caught.value)


def test_pages_that_are_no_volume(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(np.zeros((8, 8), np.uint8))
        file.write(np.zeros((9, 8), np.uint8))
    tifffile.imwrite(tmp_path / "b.tif", np.eye(3, dtype=np.uint8)[np.zeros((2, 8, 8), int)], photometric="rgb")
    for name, message in (("a.tif", "its pages differ"), ("b.tif", "several pages in colour")):
        with pytest.raises(UserError, match=message):
            files.read(tmp_path / name)
    with pytest.raises(UserError, match="split its pages"):  # one picture is wanted there
        image_io.read_image(tmp_path / "a.tif")
