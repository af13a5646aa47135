"""runtime.guarded: regular files alone, nothing larger than declared, nothing of a file's content in a message."""

import gzip
import logging
import os
import pathlib
import tracemalloc
import warnings

import pytest

from fusioninn_jax.runtime import guarded
from fusioninn_jax.runtime.errors import UserError

BOMB = 48 << 20
SECRET = "FAMILY^GIVEN"


def test_a_gzipped_file_is_read_as_far_as_its_header_says(tmp_path):
    path, declared = tmp_path / "x.gz", lambda head: 5000
    content = os.urandom(5000)
    for written, is_fine in (
        (content, True),
        (content + bytes(100), True),
        (content[:4000], True),
        (content + bytes(BOMB), False),
    ):
        path.write_bytes(gzip.compress(written))
        if is_fine:
            assert guarded.read_declared(path, 348, declared) == written[:5000]
            continue
        tracemalloc.start()
        with pytest.raises(UserError, match="x.gz: truncated or corrupt .*far more than the 5000 bytes"):
            guarded.read_declared(path, 348, declared)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
        tracemalloc.stop()
    path.write_bytes(content)
    assert guarded.read_declared(path, 348, lambda head: 10**18) == content  # no memory for what is not there


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "dangling").symlink_to("nowhere")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    for path, message in (
        (tmp_path / "pipe", "is a pipe"),
        (tmp_path / "loop", "loop of symbolic links"),
        (tmp_path / "a", "loop of symbolic links"),
        (tmp_path / "dangling", "no such file"),
        (tmp_path, "is a folder"),
        (tmp_path / "sparse", "longer than"),
        (pathlib.Path("/dev/zero"), "is a device"),
        (tmp_path / ("n" * 300), "cannot be read"),
        (tmp_path / "nul\0", "no such file"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            guarded.read_bytes(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(SECRET),
        KeyError(SECRET),
        OSError(SECRET),
        MemoryError(SECRET),
        RecursionError(SECRET),
        SyntaxError(SECRET),
        AssertionError(SECRET),
    ],
)
def test_no_word_of_the_content_gets_out(tmp_path, error, caplog, capsys):
    path = tmp_path / "x"
    with (
        pytest.raises(UserError, match="x: is broken .*; mend it") as caught,
        guarded.reading(path, "is broken", "mend it"),
    ):
        warnings.warn(SECRET, stacklevel=1)
        logging.getLogger("pydicom").warning(SECRET)
        raise error
    assert SECRET not in str(caught.value) + caplog.text + "".join(capsys.readouterr())
    logging.getLogger("pydicom").warning("heard again")
    assert "heard again" in caplog.text
