"""What data, folders and signals can do to a training: one line, exit codes that tell, nothing lost."""

import os
import shutil
import signal
import threading
import types
import warnings

import numpy as np
import pytest
from PIL import Image

from data import prepare
from fusioninn_jax import evaluate, input_pipeline, train
from fusioninn_jax.runtime.errors import UserError
from tests import training_case
from tests.chosen import chosen


def short(data_dir):
    """A model of one block and two steps: one configuration for the file, so that its runs compile once."""
    config = training_case.config(data_dir)
    config.model.fusioninn.blocks, config.train.steps, config.train.eval_every = 1, 2, 2
    return config


def _pairs(tmp_path, sizes, name="x"):
    """A prepared dataset of pairs of noise, one for each size."""
    rng = np.random.default_rng(0)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir(exist_ok=True)
        for i, size in enumerate(sizes):
            Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(tmp_path / folder / f"{i}.png")
    assert (
        prepare.main(
            [
                "image_pairs",
                f"--source={tmp_path}/a",
                f"--source={tmp_path}/b",
                f"--data_dir={tmp_path}/out",
                f"--name={name}",
            ]
        )
        == 0
    )
    config = short(tmp_path / "out")
    config.data.dataset, config.data.crop = f"image_pairs/{name}", ()
    return config


def test_images_of_unlike_size_ask_for_a_crop(tmp_path):
    config = _pairs(tmp_path, [(24 + 4 * (i % 2), 24) for i in range(12)])
    with pytest.raises(UserError, match=r"images differ in size; set --config.data.crop=HEIGHT,WIDTH"):
        train.train_and_evaluate(config, str(tmp_path / "run"))
    config.data.crop = (16, 16)
    assert int(train.train_and_evaluate(config, str(tmp_path / "run2")).step) == 2


def test_images_of_unlike_shape_and_as_many_pixels_ask_for_a_crop(tmp_path):
    config = _pairs(tmp_path, [(24, 48), (48, 24)] * 6)
    prepared = input_pipeline.open_dataset(config.data)
    with pytest.raises(UserError, match="images differ in size; set --config.data.crop="):
        next(input_pipeline.train_batches(prepared, config.data, batch_size=8, seed=0))


def test_images_smaller_than_the_window_are_named(tmp_path):
    config = _pairs(tmp_path, [(8, 12)] * 12)
    with pytest.raises(UserError, match="training images of 8x12 are smaller than the 11x11 window of SSIM"):
        train.train_and_evaluate(config, str(tmp_path / "run"))
    config.data.crop = (16, 16)  # padded in training, but validation is of whole images
    with pytest.raises(UserError, match="split validation of 8x12 are smaller"):
        train.train_and_evaluate(config, str(tmp_path / "run"))
    with pytest.raises(UserError, match="images of 8x12 are smaller than the metric's"):
        evaluate.main(["--model=mean", "--dataset=image_pairs/x", f"--data-dir={tmp_path}/out", f"--out={tmp_path}/o"])
    assert not (tmp_path / "o").exists()


@pytest.fixture(name="copy")
def copy_fixture(data_dir, tmp_path):
    """(folder of a copy of the tiny dataset, its configuration)."""
    shutil.copytree(data_dir / "tiny", tmp_path / "data" / "tiny")
    return tmp_path / "data" / "tiny" / "default" / "1.0.0", short(tmp_path / "data")


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


DAMAGE = {
    "flipped": ("train", _flip, "checksum"),
    "cut": ("train", lambda p: p.write_bytes(p.read_bytes()[:-20]), "bytes where"),
    "emptied": ("train", lambda p: p.write_bytes(b""), "bytes where"),
    "removed": ("train", lambda p: p.unlink(), "missing"),
    "longer": ("train", lambda p: p.write_bytes(p.read_bytes() * 2), "bytes where"),
    "other split": ("validation", _flip, "checksum"),
    "half a description": ("info", lambda p: p.write_text("{"), "cannot be read"),
    "a list": ("info", lambda p: p.write_text("[]"), "no description"),
    "other keys": ("info", lambda p: p.write_text('{"a": 1}'), "not understood"),
    "binary": ("info", lambda p: p.write_bytes(b"\xff\xfe\x00"), "cannot be read"),
    "no features": ("features", lambda p: p.unlink(), "cannot be read"),
    "bad features": ("features", lambda p: p.write_text('{"type": "x"}'), "not understood"),
    "bad metadata": ("metadata", lambda p: p.write_text("{"), "metadata.json: cannot be read"),
    "nested info": ("info", lambda p: p.write_text("[" * 100_000), "nested too deeply"),
    "nested features": ("features", lambda p: p.write_text('{"a":' * 100_000), "nested too deeply"),
    "a pipe": ("metadata", lambda p: (p.unlink(), os.mkfifo(p)), "is a pipe"),
    "a list of labels": (
        "metadata",
        lambda p: p.write_text('{"modalities": ["a", "b"], "has_mask": true, "label_names": [1]}'),
        "metadata.json: its label_names",
    ),
    "a text for white": ("metadata", lambda p: p.write_text('{"modalities": ["a", "b"], "white": "x"}'), "its white"),
    "few modalities": ("metadata", lambda p: p.write_text('{"modalities": ["a"]}'), "does not name 2"),
}


@pytest.mark.parametrize("what, spoil, message", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_dataset_is_named_with_the_command_that_makes_it_anew(copy, tmp_path, what, spoil, message, capfd):
    folder, config = copy
    files = {"info": "dataset_info.json", "features": "features.json", "metadata": "metadata.json"}
    spoil(folder / files[what] if what in files else next(folder.glob(f"*{what}*tfrecord*")))
    with pytest.raises(UserError, match=message) as caught:
        train.train_and_evaluate(config, str(tmp_path / "run"))
    line = str(caught.value)
    assert "\n" not in line and str(folder) in line
    assert ".cc:" not in capfd.readouterr().err  # TensorFlow's own words
    assert f"python -m data.prepare tiny --name=default --source=FOLDER --data_dir={tmp_path}/data --overwrite" in line


def test_the_command_that_makes_a_dataset_anew_makes_it(tmp_path):
    config = _pairs(tmp_path, [(24, 24)] * 12, name="y")
    _flip(next((tmp_path / "out").rglob("*train*tfrecord*")))
    prepared = input_pipeline.open_dataset(config.data)
    with pytest.raises(UserError) as caught:
        list(input_pipeline.evaluation_batches(prepared, config.data, "train", batch_size=8))
    words = str(caught.value).partition("python -m data.prepare ")[2].split()
    assert prepare.main(words) == 0
    assert len(list(input_pipeline.evaluation_batches(prepared, config.data, "train", batch_size=8))) == 2


def test_training_in_a_thread_works_and_warns(data_dir, tmp_path):
    config, said = short(data_dir), []

    def work():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            said.append(int(train.train_and_evaluate(config, str(tmp_path)).step))
            said.append([str(warning.message) for warning in caught if warning.category is RuntimeWarning])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert said[0] == 2 and any("signals do not save" in text for text in said[1])


BOTH = [(signal.SIGINT, "SIGINT"), (signal.SIGTERM, "SIGTERM")]


@pytest.mark.parametrize("number, name", chosen(BOTH, BOTH[1:]))  # one handler; exit codes are tried apart
def test_a_signal_saves_and_the_outcome_tells_which(data_dir, tmp_path, monkeypatch, capfd, number, name):
    step, handlers = train.TrainLog.step, [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]

    def stop_at_1(self, at, *rest):
        step(self, at, *rest)
        if at == 1:
            signal.raise_signal(number)

    monkeypatch.setattr(train.TrainLog, "step", stop_at_1)
    outcome = train.run(short(data_dir), str(tmp_path))
    assert outcome.stopped == number and int(outcome.state.step) == 1
    assert (tmp_path / "checkpoints" / "1").is_dir()
    assert f"stopped by {name} at step 1; the same command resumes there" in "".join(capfd.readouterr())
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    monkeypatch.setattr(train.TrainLog, "step", step)
    resumed = train.run(short(data_dir), str(tmp_path))
    assert resumed.stopped is None and int(resumed.state.step) == 2


@pytest.mark.parametrize(
    "number, excused, code", [(signal.SIGINT, False, 130), (signal.SIGTERM, False, 143), (signal.SIGTERM, True, 0)]
)
def test_the_exit_code_says_what_stopped_it(data_dir, tmp_path, monkeypatch, number, excused, code):
    monkeypatch.setattr(train.TrainLog, "step", lambda *_: signal.raise_signal(number))
    monkeypatch.setattr(train.flags, "FLAGS", types.SimpleNamespace(preempt_ok=excused))
    assert train._command(short(data_dir), str(tmp_path)) == code
    assert (tmp_path / "checkpoints" / "1").is_dir()


JUNK = {
    "a file for the folder": lambda run: run.write_text("x"),
    "a file for checkpoints": lambda run: (run.mkdir(), (run / "checkpoints").write_text("x")),
    "a folder for the log": lambda run: (run / "train_log.jsonl").mkdir(parents=True),
    "a folder for the metrics": lambda run: (run / "metrics.jsonl").mkdir(parents=True),
    "a folder for the lock": lambda run: (run / ".lock").mkdir(parents=True),
    "an empty checkpoint": lambda run: (run / "checkpoints" / "4").mkdir(parents=True),
    "a file for a checkpoint": lambda run: (
        (run / "checkpoints").mkdir(parents=True),
        (run / "checkpoints" / "4").write_text("x"),
    ),
    "a file for TensorBoard": lambda run: (run.mkdir(), (run / "tensorboard").write_text("x")),
    "a folder for the configuration": lambda run: (run / "config.json").mkdir(parents=True),
}
HARMLESS = {
    "notes": lambda run: (run.mkdir(), (run / "notes.txt").write_text("x")),
    "strange names among checkpoints": lambda run: (
        (run / "checkpoints" / "best").mkdir(parents=True),
        (run / "checkpoints" / "²").mkdir(),
        (run / "checkpoints" / "note.txt").write_text("x"),
    ),
    "lines of another kind": lambda run: (
        run.mkdir(),
        (run / "train_log.jsonl").write_text('1\n"a"\n{"step": "x"}\n{}\n'),
        (run / "metrics.jsonl").write_bytes(b"\xff\xfe\n[]\n"),
    ),
}


@pytest.mark.parametrize("make", JUNK.values(), ids=JUNK)
def test_junk_in_the_way_is_one_line(data_dir, tmp_path, make):
    run = tmp_path / "run"
    make(run)
    before = sorted(run.rglob("*")) if run.is_dir() else run.read_text()
    with pytest.raises(UserError) as caught:
        train.train_and_evaluate(short(data_dir), str(run))
    assert "\n" not in str(caught.value) and str(run) in str(caught.value)
    assert set(before) <= set(run.rglob("*")) if run.is_dir() else run.read_text() == before


@pytest.mark.parametrize("make", [HARMLESS[name] for name in chosen(HARMLESS, list(HARMLESS)[1:2])])
def test_junk_beside_a_run_stays(data_dir, tmp_path, make):
    run = tmp_path / "run"
    make(run)
    assert int(train.train_and_evaluate(short(data_dir), str(run)).step) == 2
