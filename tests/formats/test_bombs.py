"""Files that would become far more than they declare, and what is no file: an error at once, in little memory."""

import gzip
import io
import os
import struct
import tracemalloc
import zlib

import nibabel as nib
import numpy as np
import pytest
import tifffile

from fusioninn_jax.formats import files
from fusioninn_jax.runtime.errors import UserError
from tests.formats.volume_cases import noise

BOMB = 120 << 20
LIMIT = 40 << 20  # bytes, for files that declare some hundred


def refused_within_limit(path, message):
    files_before = sorted(path.parent.iterdir())
    tracemalloc.start()
    with pytest.raises(UserError, match=message) as caught:
        files.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < LIMIT and "\n" not in str(caught.value) and str(caught.value).startswith(str(path))
    assert sorted(path.parent.iterdir()) == files_before


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(path, width, height, data, *more):
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(more) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
    return path


def test_gzip_bombs(tmp_path):
    good = nib.Nifti1Image(noise("i2"), np.diag([-1.0, -1, 1, 1])).to_bytes()
    members = gzip.compress(good) + gzip.compress(bytes(BOMB // 2)) * 2
    (tmp_path / "members.nii.gz").write_bytes(members)
    (tmp_path / "one.nii").write_bytes(gzip.compress(good + bytes(BOMB)))
    (tmp_path / "zeros.nii.gz").write_bytes(gzip.compress(bytes(BOMB)))
    for name, message in (
        ("members.nii.gz", "far more than"),
        ("one.nii", "far more than"),
        ("zeros.nii.gz", "truncated or corrupt|not a readable NIfTI"),
    ):
        refused_within_limit(tmp_path / name, message)
    claims = bytearray(good)
    claims[40:48] = struct.pack("<4h", 3, 32767, 32767, 32767)
    (tmp_path / "claims.nii.gz").write_bytes(gzip.compress(claims))
    refused_within_limit(tmp_path / "claims.nii.gz", "truncated")


def test_picture_bombs(tmp_path):
    bomb = zlib.compress(bytes(BOMB))
    image = io.BytesIO()
    tifffile.imwrite(image, np.zeros((16, 16), np.uint8), compression="zlib", metadata=None)
    content = bytearray(image.getvalue())
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        tags = file.pages.first.tags
        counts, offsets = tags["StripByteCounts"].valueoffset, tags["StripOffsets"].valueoffset
    content[offsets : offsets + 4], content[counts : counts + 4] = (
        struct.pack("<I", len(content)),
        struct.pack("<I", len(bomb)),
    )
    (tmp_path / "strip.tif").write_bytes(content + bomb)
    refused_within_limit(tmp_path / "strip.tif", "cannot be read as an image")
    refused_within_limit(png(tmp_path / "wide.png", 20000, 20000, zlib.compress(b"0")), "more pixels than the")
    refused_within_limit(png(tmp_path / "none.png", 0, 5, zlib.compress(b"0")), "cannot be read")
    refused_within_limit(
        png(tmp_path / "text.png", 4, 4, zlib.compress(bytes(20)), chunk(b"zTXt", b"a\0\0" + bomb)), "cannot be read"
    )
    pixels = png(tmp_path / "more.png", 4, 4, zlib.compress(bytes(20) + bytes(BOMB)))  # more than 4 x 4 pixels
    tracemalloc.start()
    assert files.read(pixels).stored.shape == (1, 4, 4)
    assert tracemalloc.get_traced_memory()[1] < LIMIT
    tracemalloc.stop()


def test_array_headers_that_lie(tmp_path):
    def npy(name, header):
        text = header.encode().ljust(117) + b"\n"
        (tmp_path / name).write_bytes(b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text + bytes(64))
        return tmp_path / name

    for i, header in enumerate(
        (
            "{'descr': '<f4', 'fortran_order': False, 'shape': (100000, 100000)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-4, -4)}",
            "{'descr': '|O', 'fortran_order': False, 'shape': (4, 4)}",
            "{'a':(\n ",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 10**9)}",
            "(" * 90,
        )
    ):
        refused_within_limit(npy(f"{i}.npy", header), "not a readable array|are expected")


def test_what_is_no_file_at_all(tmp_path):
    for ending in (".nii", ".nii.gz", ".png", ".tif", ".npy", ".jpg", ".dcm", ""):
        os.mkfifo(tmp_path / f"pipe{ending}")
        (tmp_path / f"loop{ending}").symlink_to(f"loop{ending}")
        refused_within_limit(tmp_path / f"pipe{ending}", "is a pipe")
        refused_within_limit(tmp_path / f"loop{ending}", "is a loop of symbolic links")
    (tmp_path / "folder.nii").mkdir()
    refused_within_limit(tmp_path / "folder.nii", "is a folder")
