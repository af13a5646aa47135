"""studies.integer_codec: arrays that would grow without end are refused."""

import bz2
import json

import pytest

from fusioninn_jax.formats import nifti
from fusioninn_jax.studies import integer_codec
from tests.studies.test_archive_v1 import VERSION_1


def test_an_archive_of_version_1_cannot_grow_without_end(tmp_path):
    """A plane of an array that inflates to a gigabyte is refused before it does."""
    content = next(content for code, content in nifti.extensions(VERSION_1) if code == nifti.PRIVATE)
    start = len(integer_codec.MAGIC) + 8
    length = int.from_bytes(content[start - 8 : start], "little")
    table = json.loads(content[start : start + length])
    bomb, entry = bz2.compress(bytes(1 << 26)), table["table"][0]
    rest = content[start + length + entry["size"] :]
    for shape in (entry["shape"], [1 << 26]):
        entry |= {"planes": [len(bomb)], "size": len(bomb), "shape": shape}
        text = json.dumps(table).encode()
        with pytest.raises(ValueError, match="an array (larger|of another size)"):
            integer_codec.unpack(content[: start - 8] + len(text).to_bytes(8, "little") + text + bomb + rest, 10_000)
