"""studies.archive_format: every part is sealed, and no more is read than a header declares."""

import gzip
import struct

import pytest

from fusioninn_jax import decompose
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import archive_format
from tests.studies.cases import archive_of, unpacked


@pytest.mark.parametrize("shape", [(3, 32000, 32000, 32000), (7, *[32000] * 7)])
def test_a_header_may_declare_more_than_memory_holds(tmp_path, pair, shape):
    content = bytearray(pair[0].read_bytes())
    content = bytearray(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
    content[40:56] = struct.pack("<8h", *(*shape, 1, 1, 1, 1, 1)[:8])
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content))
    with pytest.raises(UserError, match="a.nii.gz: truncated"):
        decompose.main([str(tmp_path / "a.nii.gz"), "-o", str(tmp_path / "1.nii"), str(tmp_path / "2.nii")])


def test_a_gzipped_file_is_read_no_further_than_its_header_says(tmp_path, pair):
    path = archive_of(tmp_path, pair)
    whole = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(whole + bytes(1 << 24)))
    assert len(archive_format.read(path)) == len(whole) + 1
    with pytest.raises(UserError, match="damaged"):
        unpacked(path, 2)


def test_every_part_of_an_archive_is_sealed(tmp_path, pair):
    """Record, kept headers, affine, picture, coded sources: one bit of each."""
    path = archive_of(tmp_path, pair, name="study.nii")
    whole = path.read_bytes()
    places = {
        "affine": 284,
        "slope": 112,
        "record": whole.index(b'"header"') + 20,
        "picture": len(whole) - 100,
        "seal": whole.index(archive_format.MAGIC) + 30,
        "source": whole.index(archive_format.MAGIC) + 700,
        "magic": whole.index(archive_format.MAGIC) + 3,
    }
    for part, place in places.items():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(UserError, match="damaged"):
            unpacked(path, 2)
        assert not (tmp_path / "out0.nii").exists(), part


def test_a_block_comes_back_and_its_seal_is_of_the_whole_file(tmp_path):
    contents = archive_format.Contents({"rule": None}, [b"", b"\0\1\0", b"x" * 999])
    before, after = b"header" * 60, b"picture" * 9
    content = archive_format.seal(before + archive_format.pack(contents) + after)
    assert archive_format.check_seal(tmp_path / "a.nii", content)
    assert not archive_format.check_seal(tmp_path / "a.nii", before + after)
    block = content[len(before) : -len(after)]
    assert archive_format.unpack(block).pieces == contents.pieces and archive_format.unpack(block).head["rule"] is None
    with pytest.raises(ValueError, match="a piece is cut off"):
        archive_format.unpack(block[:-20])
    for place in (3, len(before) + 100, len(content) - 1):
        changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        with pytest.raises(UserError, match="a.nii: the archive is damaged"):
            archive_format.check_seal(tmp_path / "a.nii", changed)
