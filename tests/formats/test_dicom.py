"""formats.dicom: header text gets nowhere, and scales and frames that are none are refused."""

import io

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit

from fusioninn_jax.formats import dicom, files
from fusioninn_jax.runtime.errors import UserError
from tests.formats.dicom_cases import SECRET, VOXELS, of_slice, refused, series
from tests.studies import dicom_series


def raw(image, tag, vr, value):
    image._dict[Tag(tag)] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)


@pytest.mark.parametrize(
    "tag, vr",
    [
        (0x00280004, "CS"),
        (0x00200013, "IS"),
        (0x00201002, "IS"),
        (0x00281053, "DS"),
        (0x00281052, "DS"),
        (0x00280008, "IS"),
        (0x00200032, "DS"),
        (0x00200037, "DS"),
        (0x00280030, "DS"),
        (0x00180050, "DS"),
        (0x00280002, "CS"),
        (0x00280010, "CS"),
        (0x00280100, "LO"),
        (0x00080060, "CS"),
        (0x0020000D, "UI"),
        (0x00080018, "UI"),
        (0x00080016, "UI"),
        (0x00200052, "UI"),
        (0x00280103, "SH"),
    ],
)
def test_header_text_gets_into_no_message_and_no_output(tmp_path, tag, vr, capsys, recwarn, caplog):
    folder = series(tmp_path / "s", lambda image, z: raw(image, tag, vr, SECRET.encode()))
    out = tmp_path / "out"
    try:
        got = files.read(folder)
        files.write(tmp_path / "f.nii", tmp_path / "f.nii", got)
        files.write(out, out, got._replace(origin=got.origin))
        written = b"".join(path.read_bytes() for path in [tmp_path / "f.nii", *out.iterdir()])
        assert SECRET.encode() not in written and b"GIVEN" not in written
        said = str(got.origin)
    except UserError as error:
        said = str(error)
    said += "".join(capsys.readouterr()) + caplog.text + "".join(str(warning.message) for warning in recwarn)
    assert SECRET not in said and "GIVEN" not in said


@pytest.mark.parametrize("vr", ["IS", "DS", "UI", "DA", "UN", "SQ"])
def test_a_name_in_place_of_the_record_is_not_quoted(tmp_path, vr, recwarn, caplog):
    def change(image, z):
        raw(image, 0x00990010, "LO", dicom.CREATOR.encode() + b" ")
        raw(image, 0x00991001, vr, SECRET.encode())

    refused(series(tmp_path / "s", change), "the record of the fusion in it is damaged")
    assert SECRET not in caplog.text + "".join(str(warning.message) for warning in recwarn)


@pytest.mark.parametrize("value", ["19.05.1950", "19500519"])
def test_what_is_no_uid_is_neither_kept_nor_told(tmp_path, value, recwarn):
    got = files.read(series(tmp_path / "s", lambda image, z: raw(image, 0x0020000D, "UI", value.encode())))
    files.write(tmp_path / "out", tmp_path / "out", got)
    told = "".join(str(warning.message) for warning in recwarn)
    assert value not in str(got.origin) + told
    assert all(value.encode() not in path.read_bytes() for path in (tmp_path / "out").iterdir())


@pytest.mark.parametrize("slope", ["nan", "inf", "-inf", "1e39", "1e308", "0", "-1e38"])
def test_a_scale_that_is_none(tmp_path, slope):
    folder = series(tmp_path / "s", lambda image, z: z == 4 and raw(image, 0x00281053, "DS", slope.encode()))
    text = refused(folder, "RescaleSlope|slice 5 holds .* values that cannot be computed with, the first ")
    assert of_slice(folder, 4).name in text or "slice 5" in text


@pytest.mark.parametrize("size, message", [(8, ""), (3000, "a frame of 3000x3000 where 8x8 are declared")])
@pytest.mark.parametrize("kind, syntax", [("JPEG2000", JPEG2000Lossless), ("JPEG", JPEGBaseline8Bit)])
def test_a_compressed_frame_is_no_larger_than_declared(tmp_path, kind, syntax, size, message):
    encoded = io.BytesIO()
    Image.fromarray(np.full((size, size), 7, np.uint8)).save(encoded, kind)
    path = of_slice(dicom_series.write(tmp_path / "s", VOXELS[:1]), 0)
    image = pydicom.dcmread(path)
    image.file_meta.TransferSyntaxUID = syntax
    image.Rows = image.Columns = image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.NumberOfFrames = 7, 1
    image.PixelData = pydicom.encaps.encapsulate([encoded.getvalue()])
    image["PixelData"].VR, image["PixelData"].is_undefined_length = "OB", True
    image.save_as(path)
    if not message:
        assert (files.read(path).stored == 7).all()
        return
    with pytest.raises(UserError, match=message if kind == "JPEG2000" else "bytes of pixels where|a frame of"):
        files.read(path)
