"""Where a prepared dataset appears: in a bucket as on a disk, whole or not at all, of two runs one."""

import os
import shutil

import pytest
import tensorflow_datasets as tfds
from etils import epath

from data import building, prepare, publishing
from fusioninn_jax import input_pipeline
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.training import checkpoint
from tests import training_case
from tests.training.test_object_store import bucket_fixture  # noqa: F401  the fixture `bucket`


@pytest.fixture(name="builders")
def builders_fixture(bucket, monkeypatch):
    """TFDS reads the stand-in bucket's folder."""
    real = tfds.builder_from_directory
    monkeypatch.setattr(
        tfds, "builder_from_directory", lambda folder: real(os.fspath(folder).replace("gs://bucket", str(bucket)))
    )
    return bucket


def _prepare(source, *more):
    return prepare.main(["brats", f"--source={source}", "--data_dir=gs://bucket/data", "--name=x", *more])


def test_a_bucket_gets_the_files_of_a_disk(source, builders, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert _prepare(source) == 0
    assert prepare.main(["brats", f"--source={source}", f"--data_dir={tmp_path}/local", "--name=x"]) == 0
    there, local = (folder / "brats" / "x" / "1.0.0" for folder in (builders / "data", tmp_path / "local"))
    assert sorted(path.name for path in there.iterdir()) == sorted(path.name for path in local.iterdir())
    for path in local.glob("*.tfrecord*"):
        assert (there / path.name).read_bytes() == path.read_bytes()
    assert not (tmp_path / "gs:").exists() and "gs://bucket/data/brats/x/1.0.0" in capsys.readouterr().out
    config = training_case.config("gs://bucket/data").data
    config.dataset = "brats/x"
    assert input_pipeline.open_dataset(config).sizes == {"train": 4, "validation": 2}
    assert _prepare(source) == 0 and "already prepared" in capsys.readouterr().out
    with pytest.raises(UserError, match="other settings"):
        _prepare(source, "--seed=3")
    assert _prepare(source, "--seed=3", "--overwrite") == 0


def test_a_bucket_that_fails_half_way_holds_nothing(source, builders, monkeypatch):
    copied = []

    def full(source_file, target, length):
        copied.append(source_file)
        if len(copied) == 2:
            raise OSError(28, "No space left on device")
        target.write(source_file.read())

    monkeypatch.setattr(publishing.shutil, "copyfileobj", full)
    with pytest.raises(UserError, match="gs://bucket/data: cannot be written .*No space"):
        _prepare(source)
    assert not list((builders / "data").rglob("dataset_info.json"))


@pytest.mark.parametrize("place", ["ftp://host/data", "file:///tmp/x", "gs:/bucket/x"])
def test_a_place_of_no_known_kind_is_one_line_for_who_reads_too(place):
    with pytest.raises(UserError, match=f"data_dir={place}: not a path that can be used"):
        input_pipeline.open_dataset(training_case.config(place).data)
    with pytest.raises(UserError, match=f"--workdir={place}: not a path that can be used"):
        checkpoint.load(place)


def test_a_bucket_that_cannot_be_asked_is_one_line(monkeypatch):
    def fail(*asked):
        raise RuntimeError("no such host\nand more")

    monkeypatch.setattr(type(epath.Path("gs://bucket/x")), "glob", fail)
    with pytest.raises(UserError, match="cannot be read .no such host.; check data_dir") as caught:
        input_pipeline.open_dataset(training_case.config("gs://bucket/data").data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["ftp://host/data", "http://host/x", "gs:/bucket/x", "file:///tmp/x", "S3://b/x"])
def test_other_urls_are_refused(source, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="not a path that can be used; give a local folder, or one that begins"):
        prepare.main(["brats", f"--source={source}", f"--data_dir={place}"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_a_bucket_that_cannot_be_reached_is_one_line(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def unreachable(self):
        raise PermissionError("no credentials\nfor this bucket")

    monkeypatch.setattr(epath.gpath.PosixGPath, "exists", unreachable)
    with pytest.raises(UserError, match="gs://other/d.*cannot be written .no credentials.*a bucket needs credentials"):
        prepare.main(["brats", f"--source={source}", "--data_dir=gs://other/d"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_a_second_run_does_not_replace_the_first_one_s(source, tmp_path, monkeypatch):
    """Another run finishes while this one reads: this one says so, and leaves it as it is."""
    final = tmp_path / "out" / "brats" / "t1gd_flair" / "1.0.0"
    canonical = building.make_canonical

    def meanwhile(folder):
        canonical(folder)
        final.mkdir(parents=True)
        (final / "dataset_info.json").write_text("the other run's")

    monkeypatch.setattr(building, "make_canonical", meanwhile)
    with pytest.raises(UserError, match="another run has prepared it meanwhile"):
        prepare.main(["brats", f"--source={source}", f"--data_dir={tmp_path}/out"])
    assert (final / "dataset_info.json").read_text() == "the other run's"
    assert not list((tmp_path / "out").glob(".preparing*"))


def test_what_killed_runs_left_is_removed_and_others_are_not(source, tmp_path):
    out = tmp_path / "out"
    host = publishing.socket.gethostname()
    dead, alive, far = (
        out / f".preparing-brats-x-{name}"
        for name in (f"{host}-999999999-ab", f"{host}-{os.getpid()}-cd", "elsewhere-999999999-ef")
    )
    for folder in (dead, alive, far):
        folder.mkdir(parents=True)
        (folder / "half").write_text("x")
    assert prepare.main(["brats", f"--source={source}", f"--data_dir={out}", "--name=x"]) == 0
    assert sorted(out.glob(".preparing*")) == sorted([alive, far])


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_interrupt_leaves_what_was_there(source, tmp_path, monkeypatch, stop, overwrite):
    out, options = tmp_path / "out", ["brats", f"--source={source}", f"--data_dir={tmp_path}/out", "--name=x"]
    if overwrite:
        assert prepare.main(options) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def stopped(*arguments):
        raise stop

    monkeypatch.setattr(building, "make_canonical", stopped)
    with pytest.raises(stop):
        prepare.main([*options, *(["--overwrite"] if overwrite else [])])
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert overwrite or not out.exists()


def test_a_dataset_without_its_description_is_named(source, tmp_path):
    options = ["brats", f"--source={source}", f"--data_dir={tmp_path}/out", "--name=x"]
    assert prepare.main(options) == 0
    folder = tmp_path / "out" / "brats" / "x" / "1.0.0"
    (folder / "dataset_info.json").unlink()
    with pytest.raises(UserError, match="dataset_info.json: cannot be read .*--overwrite"):
        prepare.main(options)
    (folder / "metadata.json").write_text("[]")
    with pytest.raises(UserError, match="metadata.json cannot be read; prepare it again with --overwrite"):
        prepare.main(options)
    assert prepare.main([*options, "--overwrite"]) == 0


@pytest.mark.parametrize("foreign", ["notes.txt", "a folder", "a link"])
def test_overwriting_removes_a_prepared_dataset_and_nothing_else(source, tmp_path, foreign):
    asked = ["brats", f"--source={source}", f"--data_dir={tmp_path}/data", "--name=x"]
    assert prepare.main(asked) == 0 == prepare.main([*asked, "--overwrite"])
    final = tmp_path / "data" / "brats" / "x" / "1.0.0"
    if foreign == "notes.txt":
        (final / foreign).write_text("mine")
    elif foreign == "a folder":
        (final / foreign).mkdir()
    else:
        final.rename(tmp_path / "elsewhere")
        final.symlink_to(tmp_path / "elsewhere")
    before = sorted(os.listdir(final))
    with pytest.raises(UserError, match="holds more than a prepared dataset"):
        prepare.main([*asked, "--overwrite"])
    assert sorted(os.listdir(final)) == before


def test_a_dataset_that_holds_its_sources_is_not_replaced(source, tmp_path):
    final = tmp_path / "data" / "brats" / "x" / "1.0.0"
    final.parent.mkdir(parents=True)
    shutil.copytree(source, final)
    before = sorted(final.rglob("*"))
    with pytest.raises(UserError, match=f"holds the source {final}; nothing is removed there"):
        prepare.main(["brats", f"--source={final}", f"--data_dir={tmp_path}/data", "--name=x", "--overwrite"])
    assert sorted(final.rglob("*")) == before
