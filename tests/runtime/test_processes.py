"""Many processes: the same curve whatever their number, an end for all when one dies, an agreed end on SIGTERM."""

import os
import signal
import time

import numpy as np
import pytest

from fusioninn_jax import train
from fusioninn_jax.runtime import processes
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import batch
from fusioninn_jax.training import checkpoint_folders
from tests import many_processes, tiny_config, tolerances
from tests.chosen import chosen

BOUND = 180  # seconds from the death of one process to the end of the others; JAX misses its heartbeat after 100
STOPPED = (
    "stops: another process ended or cannot be reached",
    "Terminating process because the JAX distributed service",
)


def training(data_dir, workdir, steps):
    """Trains on this process; returns the settings that make other processes train the same."""
    # dither, since rounding is discontinuous, and a gentle rate: else differences of float32 grow
    changed = {
        "model.fusioninn.blocks": 1,
        "model.fusioninn.actnorm": "batch",
        "losses.latent": "characteristic",
        "losses.storage.kind": "dither",
        "train.steps": steps,
        "optimizer.learning_rate": 1e-3,
    }
    config = tiny_config.get_config(str(data_dir))
    config.update_from_flattened_dict(changed)
    train.train_and_evaluate(config, str(workdir))
    return [f"--config.{name}={value}" for name, value in changed.items()]


def check_same_curve(found, expected):
    """The training losses of two workdirs, step by step."""
    steps, values = zip(*many_processes.losses(expected), strict=True)
    other_steps, other_values = zip(*many_processes.losses(found), strict=True)
    assert other_steps == steps
    np.testing.assert_allclose(other_values, values, rtol=tolerances.DEVICES)


@pytest.fixture(scope="module", name="alone")
def alone_fixture(data_dir, tmp_path_factory):
    """(workdir, settings) of a short training by one process on all devices."""
    workdir = tmp_path_factory.mktemp("alone")
    return workdir, training(data_dir, workdir, steps=24)


@pytest.mark.slow
@pytest.mark.parametrize("processes,devices", chosen([(2, 2), (4, 1)], [(2, 2)]))  # each is a start of TensorFlow
def test_the_curve_is_that_of_one_process(data_dir, alone, tmp_path, processes, devices):
    whole, settings = alone
    ended = many_processes.end(many_processes.train(tmp_path, data_dir, processes, devices, *settings))
    assert [code for code, _ in ended] == [0] * processes, ended
    assert not any("training" in said for _, said in ended[1:])  # process 0 alone has a bar
    check_same_curve(tmp_path, whole)


@pytest.mark.slow
@pytest.mark.skipif("FUSIONINN_DRILL" not in os.environ, reason="minutes, most of them waiting: set FUSIONINN_DRILL=1")
def test_processes_share_one_training_through_every_end(data_dir, tmp_path):
    """2 processes x 2 devices, one killed; 4 x 1, one terminated; 1 x 8 to the end: the curve of 1 x 8 alone."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    settings = training(data_dir, whole, steps=60)

    running = many_processes.train(broken, data_dir, 2, 2, *settings)
    many_processes.wait_for_step(running, broken, 20)  # by then the checkpoint of step 12 is whole
    running[1].send_signal(signal.SIGKILL)
    died = time.monotonic()
    (code, said), _ = many_processes.end(running)
    assert time.monotonic() - died < BOUND
    assert code and any(message in said for message in STOPPED), (code, said)
    assert checkpoint_folders.newest_step(broken) >= 12

    running = many_processes.train(broken, data_dir, 4, 1, *settings)
    many_processes.wait_for_step(running, broken, 30)
    running[2].send_signal(signal.SIGTERM)
    ended = many_processes.end(running)
    assert [code for code, _ in ended] == [143] * 4, ended
    assert "stopped by SIGTERM at step" in ended[0][1] and not any("training" in said for _, said in ended[1:])
    assert checkpoint_folders.newest_step(broken) == many_processes.losses(broken)[-1][0] < 60

    assert training(data_dir, broken, steps=60) == settings
    check_same_curve(broken, whole)


def test_one_process_broadcasts_and_gathers_to_itself():
    tree = {"a": np.float32(-0.0), "b": [np.arange(3, dtype=np.int8)]}
    same = processes.broadcast(tree)
    assert np.signbit(same["a"]) and same["b"][0].dtype == np.int8
    assert processes.gather({"x": 1}) == [{"x": 1}]


@pytest.mark.parametrize(
    "arguments,message",
    [
        (("localhost:1", None, None), "belong together"),
        ((None, 2, 0), "belong together"),
        (("localhost:1", 2, 2), "--process_id=2: with --num_processes=2 it is 0 to 1"),
    ],
)
def test_incomplete_flags_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        processes.start(*arguments)


def test_the_flags_are_taken_out_of_the_command_line(monkeypatch):
    started = {}
    monkeypatch.setattr(processes, "start", lambda **options: started.update(options))
    rest = processes._join(["--workdir=x", "--num_processes=2", "--process_id=1", "--coordinator_address=a:1", "y"])
    assert rest == ["--workdir=x", "y"]
    assert started == {"coordinator_address": "a:1", "num_processes": 2, "process_id": 1}


@pytest.mark.parametrize("index,own", [(0, ["a", "c"]), (1, ["b"])])
def test_studies_are_dealt_out(monkeypatch, capsys, index, own):
    monkeypatch.setattr(batch.jax, "process_index", lambda: index)
    monkeypatch.setattr(batch.jax, "process_count", lambda: 2)
    monkeypatch.setattr(processes, "gather", lambda counts: [counts, [4, 2, 1]])
    done = []
    assert (
        batch.run(
            [batch.Study(name, []) for name in "abc"], lambda study: False, lambda study: done.append(study.folder)
        )
        == 1
    )  # the other process says that one failed
    assert done == own
    said = capsys.readouterr().out
    assert said == ("6 studies fused, 2 were there already, 1 failed\n" if index == 0 else "")
