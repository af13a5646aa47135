"""formats.dicom_files: files as archives and scanners really hand them over; none vanishes without a word."""

import functools
import tracemalloc
import zlib

import numpy as np
import pydicom
import pytest

from fusioninn_jax.formats import files
from fusioninn_jax.runtime.errors import UserError
from tests.formats.dicom_cases import VOXELS, of_slice, refused, series

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


@functools.cache
def bomb():
    """`BOMB` zeros as the end of a deflated stream, made once for all files."""
    deflate = zlib.compressobj(9, wbits=-15)
    return deflate.compress(bytes(BOMB)) + deflate.flush()


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
    squeezed = deflate.compress(plain + private) + deflate.flush(zlib.Z_FULL_FLUSH) + bomb()
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
