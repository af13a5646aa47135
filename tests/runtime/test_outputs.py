"""runtime.outputs: only older results are replaced, all or none of a set, one of two writers, nothing left over."""

import errno
import os
import pathlib
import signal
import threading

import pytest
from etils import epath

from fusioninn_jax.runtime import outputs
from fusioninn_jax.runtime.errors import UserError


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def place(tmp_path):
    """A study: two inputs (one a folder), a consent form, an older result, a folder of older results, a link to all."""
    (tmp_path / "study" / "series").mkdir(parents=True)
    for name in ("study/t1.nii", "study/series/1.dcm", "study/consent.pdf", "old.nii"):
        (tmp_path / name).write_text(name)
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "0001.dcm").write_text("ours")
    (tmp_path / "link").symlink_to(tmp_path / "study")
    return tmp_path


REFUSED = [
    ("study/t1.nii", "is an input too"),
    ("link/t1.nii", "is an input too"),
    ("study/../study/t1.nii", "is an input too"),
    ("study", "is the folder of the input"),
    (".", "is the folder of the input"),
    ("link", "is the folder of the input"),
    ("study/series", "is an input too"),
    ("study/series/x.nii", "lies inside the input"),
    ("link/series/deep/x.nii", "lies inside the input"),
    ("hard.nii", "is an input too"),
    ("foreign", "holds more than an older result"),
    ("pipe", "is a pipe"),
    ("to_ours", "is a symbolic link"),
    ("old.nii/x.nii", "cannot be written"),
    ("n" * 300 + ".nii", "cannot be written"),
    ("nul\0.nii", "not a name that a file can have"),
]


@pytest.mark.parametrize("output, message", REFUSED)
def test_with_overwrite_nothing_is_lost_that_is_no_older_result(place, output, message):
    os.link(place / "study/t1.nii", place / "hard.nii")
    os.mkfifo(place / "pipe")
    (place / "foreign").mkdir()
    (place / "foreign" / "thesis.docx").touch()
    (place / "to_ours").symlink_to(place / "ours")
    before = names(place)
    with pytest.raises(UserError, match=message) as caught:
        outputs.check(
            [place / output],
            inputs=[place / "study/t1.nii", place / "study/series"],
            overwrite=True,
            is_own=lambda folder: folder.name == "ours",
        )
    assert "\n" not in str(caught.value) and names(place) == before


def test_older_results_are_replaced_and_the_folder_of_an_input_takes_new_ones(place):
    outputs.check(
        [place / "old.nii", place / "ours", place / "study/new.nii", place / "deep/er/new.nii"],
        inputs=[place / "study/t1.nii", place / "study/series"],
        overwrite=True,
        is_own=lambda folder: folder.name == "ours",
    )
    for there in ("old.nii", "ours", "dangling"):
        if there == "dangling":
            (place / there).symlink_to(place / "nowhere")
        with pytest.raises(UserError, match="exists already"):
            outputs.check([place / there], is_own=lambda folder: True)


@pytest.mark.parametrize(
    "first, second, message",
    [
        ("a.nii", "./a.nii", "named twice"),
        ("study/a.nii", "link/a.nii", "named twice"),
        ("series", "series/z.nii", "lies inside the output"),
        ("x/y/z.nii", "x", "lies inside the output"),
        ("study/new", "link/new/deep/z.nii", "lies inside the output"),
    ],
)
def test_outputs_inside_one_another(place, first, second, message):
    for pair in ((first, second), (second, first)):
        with pytest.raises(UserError, match=message):
            outputs.check([place / name for name in pair])


def write(path, text="new"):
    if path.suffix:
        path.write_text(text)
    else:
        path.mkdir()
        (path / "0001.dcm").write_text(text)


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize(
    "order", [("a.nii", "blocked.nii", "c"), ("c", "a.nii", "blocked.nii"), ("a.nii", "x/y.nii", "blocked.nii")]
)
def test_all_or_none(tmp_path, overwrite, order):
    """A folder of somebody else's comes to stand in the place of one output while all are being written."""
    if overwrite:
        for name in ("a.nii", "c"):
            write(tmp_path / name, "old")
    (tmp_path / "x").mkdir()
    before = {name: (tmp_path / name).read_text() for name in names(tmp_path) if (tmp_path / name).is_file()}
    with (
        pytest.raises(UserError, match="blocked.nii: (is a folder|exists already)"),
        outputs.new_files(*[tmp_path / name for name in order], overwrite=overwrite) as temporaries,
    ):
        for temporary in temporaries:
            write(temporary)
        (tmp_path / "blocked.nii").mkdir()
    (tmp_path / "blocked.nii").rmdir()
    assert {name: (tmp_path / name).read_text() for name in names(tmp_path) if (tmp_path / name).is_file()} == before
    assert not list(tmp_path.rglob(".writing*"))
    with outputs.new_files(*[tmp_path / name for name in order], overwrite=overwrite) as temporaries:
        for temporary in temporaries:
            write(temporary)
    assert all((tmp_path / name).exists() for name in order) and not list(tmp_path.rglob(".writing*"))


@pytest.mark.parametrize("name", ["f.nii", "series"])
def test_of_two_writers_one_gets_the_error(tmp_path, name):
    ready, errors = threading.Barrier(8), []

    def work(number):
        try:
            with outputs.new_files(tmp_path / name, overwrite=False) as (temporary,):
                write(temporary, str(number))
                ready.wait()
        except UserError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 7 and all("exists already" in error for error in errors)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_without_hard_links_too(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    for text, overwrite in (("one", False), ("two", True)):
        with outputs.new_files(tmp_path / "f.nii", overwrite=overwrite) as (temporary,):
            temporary.write_text(text)
        assert (tmp_path / "f.nii").read_text() == text
    with (
        pytest.raises(UserError, match="exists already"),
        outputs.new_files(tmp_path / "f.nii", overwrite=False) as (temporary,),
    ):
        temporary.write_text("three")
    assert names(tmp_path) == ["f.nii"] and (tmp_path / "f.nii").read_text() == "two"


def test_a_long_name(tmp_path):
    name = "n" * 240 + ".nii.gz"
    outputs.check([tmp_path / name])
    with outputs.new_files(tmp_path / name) as (temporary,):
        temporary.write_text("x")
    assert names(tmp_path) == [name]


def test_an_interrupt_waits_until_results_are_in_place(tmp_path, monkeypatch):
    rename = pathlib.Path.rename

    def interrupted(path, target):
        signal.raise_signal(signal.SIGINT)
        return rename(path, target)

    monkeypatch.setattr(pathlib.Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), outputs.new_files(tmp_path / "a.nii", tmp_path / "b.nii") as temporaries:
        for temporary in temporaries:
            temporary.write_text("whole")
    assert names(tmp_path) == ["a.nii", "b.nii"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_full_disk_is_one_line(tmp_path):
    with (
        pytest.raises(UserError, match=r"a.nii: cannot be written \(No space left"),
        outputs.new_files(tmp_path / "new" / "a.nii"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert not names(tmp_path)


def test_paths_of_epath_are_paths(tmp_path):
    for text in ("one", "two"):
        with outputs.new_files(epath.Path(tmp_path) / "deep" / "s.json") as (temporary,):
            temporary.write_text(text)
        assert (tmp_path / "deep" / "s.json").read_text() == text
    assert names(tmp_path) == ["deep", "deep/s.json"]


def test_text_is_written_whole_as_utf_8_with_its_own_line_ends(tmp_path):
    outputs.write_text(tmp_path / "new" / "a.csv", "α\r\n")
    assert (tmp_path / "new" / "a.csv").read_bytes() == b"\xce\xb1\r\n"
    outputs.write_text(tmp_path / "new" / "a.csv", "")
    assert (tmp_path / "new" / "a.csv").read_bytes() == b"" and names(tmp_path) == ["new", "new/a.csv"]
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder: is a folder"):
        outputs.write_text(tmp_path / "folder", "x")
