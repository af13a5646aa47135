"""DICOM series as archives and scanners really hand them over: nothing vanishes, and header text gets nowhere."""

import io
import pathlib
import tracemalloc
import zlib

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit

from fusioninn_jax.formats import dicom, dicom_writer, files
from fusioninn_jax.runtime.errors import UserError
from tests.formats.dicom_cases import SECRET, VOXELS, of_slice, refused, series
from tests.studies import dicom_series

BOMB = 100 << 20


@pytest.mark.parametrize("where", ["preamble", "preamble and DICM", "meta too"])
def test_files_without_preamble_are_read(tmp_path, where, capsys):
    folder = series(tmp_path / "s")
    for path in folder.iterdir():
        content = path.read_bytes()
        meta_end = 144 + int.from_bytes(content[140:144], "little")
        path.write_bytes(content[{"preamble": 128, "preamble and DICM": 132, "meta too": meta_end}[where] :])
    np.testing.assert_array_equal(files.read(folder).stored, VOXELS)
    assert capsys.readouterr().err == ""


def cut_inside_header(path):
    path.write_bytes(path.read_bytes()[:600])


def cut_inside_pixels(path):
    path.write_bytes(path.read_bytes()[:-20])


def to_nothing(path):
    path.write_bytes(b"")


def to_text(path):
    path.write_text("the disk was full")


def to_zeros(path):
    path.write_bytes(bytes(5000))


@pytest.mark.parametrize("damage", [cut_inside_header, cut_inside_pixels, to_nothing, to_text, to_zeros])
def test_a_damaged_file_at_an_end_is_named(tmp_path, damage, capsys):
    folder = series(tmp_path / "s", lambda image, z: delattr(image, "ImagesInAcquisition"))
    path = of_slice(folder, 6)
    damage(path)
    np.testing.assert_array_equal(files.read(folder).stored, VOXELS[:6])
    said = capsys.readouterr().err
    assert "6 images read, 1 files passed over" in said and path.name in said and said.count("\n") == 1
    damage(of_slice(folder, 3))
    refused(folder, "1 slices are missing, the first after slice 3 of 5")


def test_other_things_in_the_folder_are_named(tmp_path, capsys):
    folder = series(tmp_path / "s")
    (folder / "report.txt").write_text("x")
    (folder / "raw").mkdir()
    (folder / ".DS_Store").touch()
    (folder / "loop").symlink_to("loop")
    np.testing.assert_array_equal(files.read(folder).stored, VOXELS)
    said = capsys.readouterr().err
    assert "report.txt (not DICOM)" in said and "raw (a folder)" in said and "loop (is a loop" in said
    assert ".DS_Store" not in said


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


def deflated(path, lie):
    """Rewrites a file as a deflated one that is followed by a bomb; `lie` says how that is hidden."""
    image = pydicom.dcmread(path)
    image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    if lie == "far":  # what tells of the deflating comes late in the file
        image.file_meta.FileMetaInformationVersion = b"\0\1" + bytes(8000)
    image.save_as(path, enforce_file_format=lie != "far")
    content = path.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    head, plain = content[:start], zlib.decompress(content[start:], -15)
    if lie in ("short", "long"):  # the length that it tells of what comes before
        head = head[:140] + (4 if lie == "short" else 1 << 30).to_bytes(4, "little") + head[144:]
    if lie == "command":
        head += bytes.fromhex("00000001 02000000 0100".replace(" ", ""))
    deflate = zlib.compressobj(9, wbits=-15)
    private = bytes.fromhex("e17f1000 4c4f0400 41414141 e17f1010 4f420000") + BOMB.to_bytes(4, "little")
    squeezed = deflate.compress(plain + private + bytes(BOMB)) + deflate.flush()
    path.write_bytes((head[132:] if lie == "no preamble" else head) + squeezed)


@pytest.mark.parametrize("lie", ["", "far", "short", "long", "command", "no preamble"])
def test_a_deflated_bomb(tmp_path, lie):
    folder = series(tmp_path / "s")
    path = of_slice(folder, 2)
    deflated(path, lie)
    tracemalloc.start()
    refused(folder, "1 slices are missing")
    refused_alone = "not a readable DICOM file .damaged: its compressed content is longer than"
    with pytest.raises(UserError, match=refused_alone):
        files.read(path)
    assert tracemalloc.get_traced_memory()[1] < BOMB
    tracemalloc.stop()


def test_a_deflated_series_is_read(tmp_path):
    def change(image, z):
        image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"

    np.testing.assert_array_equal(files.read(series(tmp_path / "s", change)).stored, VOXELS)


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


def test_what_is_ours_is_told_from_what_is_not(tmp_path):
    got = files.read(series(tmp_path / "s"))
    out = tmp_path / "out"
    dicom_writer.write(out, out, got)
    assert files.is_own_folder(out) and not files.is_own_folder(tmp_path / "s")
    (out / "notes.txt").write_text("mine")
    assert not files.is_own_folder(out)
    (out / "notes.txt").unlink()
    (out / "sub").mkdir()
    assert not files.is_own_folder(out)
    (out / "sub").rmdir()
    (out / "0009.dcm").symlink_to(tmp_path / "s" / of_slice(tmp_path / "s", 0).name)
    assert not files.is_own_folder(out) and not files.is_own_folder(pathlib.Path("/nowhere"))
    assert dicom.is_own.__doc__
