"""training.checkpoint_folders: which checkpoints there are, and what is told of those that are not."""

import pytest
from etils import epath

from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.training import checkpoint_folders as folders


@pytest.fixture(name="workdir")
def workdir_fixture(tmp_path):
    """A run with two checkpoints, one that is not finished, a damaged one and what others left."""
    for name in ("2", "10", "12.orbax-checkpoint-tmp", "11.damaged", "notes", "٣"):
        (tmp_path / folders.FOLDER / name).mkdir(parents=True)
    return tmp_path


def test_steps_are_those_of_complete_checkpoints_oldest_first(workdir):
    assert folders.steps(folders.of(workdir)) == [2, 10]
    assert folders.newest_step(workdir) == 10
    assert folders.steps(folders.of(workdir / "none")) == [] and folders.newest_step(workdir / "none") is None


def test_a_folder_is_absolute_and_a_url_stays_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(folders.of("run")) == f"{tmp_path}/run/checkpoints"
    assert str(folders.of("gs://bucket/run")) == "gs://bucket/run/checkpoints"
    with pytest.raises(UserError, match="--workdir=ftp://host/run: not a path"):
        folders.of("ftp://host/run")


def test_a_damaged_checkpoint_takes_the_place_of_an_older_one_of_its_step(workdir, capsys):
    folder = folders.of(workdir) / "10"
    for text in ("first", "second"):
        folder.mkdir(exist_ok=True)
        (folder / "state").write_text(text)
        folders.set_aside(folder, "a checksum", 2)
        assert not folder.exists() and (folder.parent / "10.damaged" / "state").read_text() == text
        told = f"warning: {folder}: damaged (a checksum), renamed to 10.damaged; going on from step 2\n"
        assert capsys.readouterr().err == told


def test_a_failed_save_frees_the_disk_and_tells_what_is_kept(workdir, capsys):
    folder = folders.of(workdir)
    folders.tell_failed_save(folder, OSError(28, "No space left on device"))
    told = capsys.readouterr().err
    assert told.startswith(f"warning: {folder}: a checkpoint could not be written (") and told.endswith("kept: 2, 10\n")
    assert "No space left on device" in told and not list(folder.glob("*tmp*"))
    folders.tell_failed_save(epath.Path(workdir / "none"), OSError("gone"))
    assert capsys.readouterr().err.endswith("kept: none\n")


def test_the_last_checkpoint_must_be_there(workdir):
    folders.check_written(workdir, 10)
    folders.check_written(workdir / "none", 0)  # nothing was trained
    with pytest.raises(UserError, match="the last checkpoint, of step 12, could not be written; .* from step 10"):
        folders.check_written(workdir, 12)
    with pytest.raises(UserError, match="of step 12, .* from step 0"):
        folders.check_written(workdir / "none", 12)


@pytest.mark.parametrize(
    "message, length, told",
    [("short.\nmore", 200, "short"), ("a" * 300 + "the cause", 12, "...aaathe cause"), ("a" * 12, 12, "a" * 12)],
)
def test_the_end_of_a_long_message_is_kept(message, length, told):
    assert folders.short(ValueError(message), length) == told
