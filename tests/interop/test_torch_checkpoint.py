"""PyTorch checkpoints: the right weights in the right places, and every kind of file that must be refused."""

import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import models
from fusioninn_jax.interop import torch_checkpoint
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.training import checkpoint
from tests import tolerances
from tests.golden import baseline_weights, fusioninn_goldens

ROOT = pathlib.Path(__file__).parents[2]
UNSAFE = "holds more than weights"
BROKEN = "truncated, changed or not a file of torch.save"


@pytest.fixture(name="torch")
def torch_fixture():
    return pytest.importorskip("torch", reason="PyTorch alone reads its files, 3 GB on Linux: pip install .[torch]")


def narrow(torch, name="half_unet", width=4):
    return {
        key: torch.tensor(value, dtype=torch.float32)
        for key, value in baseline_weights.narrow_state_dict(name, width).items()
    }


@pytest.mark.parametrize("name", baseline_weights.FULL_WIDTH)
def test_width_and_sources_follow_from_the_weights(name):
    width = baseline_weights.FULL_WIDTH[name] // 4
    state = baseline_weights.narrow_state_dict(name, width)
    config, variables = torch_checkpoint.convert(name, {f"module.{key}": value for key, value in state.items()})
    assert config.width == width and config.get("sources", 2) == 2
    count = sum(value.size for key, value in state.items() if "running" not in key)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count
    assert len(jax.tree.leaves(variables["batch_stats"])) == sum("running" in key for key in state)


def change(state, name):
    key = "e2.conv.conv1.weight"
    if name == "missing":
        del state[key]
    elif name == "added":
        state["e9.weight"] = state[key]
    elif name == "transposed":
        state["b1.conv1.bias"] = state["b1.conv1.bias"][:2]
    elif name == "expanded":  # a few bytes in a file, and any size in memory
        state["b1.conv1.bias"] = np.broadcast_to(np.float32(1), (1 << 20, 1 << 20))
    elif name == "axes":
        state[key] = state[key][..., 0]
    return state


@pytest.mark.parametrize(
    "kind,message",
    [
        ("missing", "the key 'e2.conv.conv1.weight' is missing"),
        ("added", "it has no 'e9.weight'"),
        ("transposed", r"'bias'\] is \(2,\), where the model has \(4,\)"),
        ("axes", "has 4 axes"),
        ("expanded", "b1.conv1.bias repeats its values"),
    ],
)
def test_weights_of_something_else_are_named(kind, message):
    with pytest.raises(ValueError, match=message):
        torch_checkpoint.convert("half_unet", change(baseline_weights.narrow_state_dict("half_unet", 4), kind))


def test_another_system_s_weights_are_named():
    with pytest.raises(ValueError, match="not a state dict of unet: the key .* is missing"):
        torch_checkpoint.convert("unet", baseline_weights.narrow_state_dict("half_unet", 4))
    with pytest.raises(ValueError, match="no converter for 'mean'"):
        torch_checkpoint.convert("mean", {})


@pytest.mark.parametrize("wrapper", [None, "model_state_dict", "state_dict"])
def test_an_imported_checkpoint_is_the_model(torch, tmp_path, wrapper):
    state = narrow(torch)
    wrapped = {f"module.{key}": value for key, value in state.items()} if wrapper else state
    torch.save({wrapper: wrapped, "epoch": 3} if wrapper else wrapped, tmp_path / "w.pt")
    assert torch_checkpoint.main([str(tmp_path / "w.pt"), "--name=half_unet", f"--workdir={tmp_path}/run"]) == 0
    model, variables, config, step, *_ = checkpoint.load(tmp_path / "run")
    assert (config.model.name, config.model.half_unet.width, step) == ("half_unet", 4, 0)
    expected_config, expected = torch_checkpoint.convert(
        "half_unet", {key: value.numpy() for key, value in state.items()}
    )
    assert jax.tree.structure(variables) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, variables, expected)
    with pytest.raises(UserError, match="has checkpoints already"):
        torch_checkpoint.main([str(tmp_path / "w.pt"), "--name=half_unet", f"--workdir={tmp_path}/run"])


class Payload:
    """Unpickling this would run code."""

    def __reduce__(self):
        return print, ("run",)


def spoiled(kind, torch, path):
    state = narrow(torch)
    torch.save({"model_state_dict": state}, path)
    whole = bytearray(path.read_bytes())
    if kind == "unsafe":
        torch.save({"model_state_dict": state, "optimiser": Payload()}, path)
    elif kind == "whole model":
        torch.save(torch.nn.Conv2d(1, 1, 3), path)
    elif kind == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "tampered":
        place = whole.find(state["e2.conv.conv1.weight"].numpy().tobytes()) + 5
        whole[place] ^= 255
        path.write_bytes(whole)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("<html>Please log in</html>")
    elif kind == "not finite":
        state["output.bias"][0] = float("nan")
        torch.save(state, path)
    elif kind == "no weights":
        torch.save({"epoch": 3}, path)
    elif kind == "missing":
        path.unlink()


@pytest.mark.parametrize(
    "kind,message",
    [
        ("unsafe", UNSAFE),
        ("whole model", UNSAFE),
        ("truncated", BROKEN),
        ("tampered", BROKEN),
        ("empty", BROKEN),
        ("text", BROKEN),
        ("not finite", "output.bias holds values that are not finite"),
        ("no weights", "holds no state dict"),
        ("missing", "no such file"),
    ],
)
def test_a_bad_file_is_one_line_and_leaves_nothing(torch, tmp_path, capsys, kind, message):
    path = tmp_path / "w.pt"
    spoiled(kind, torch, path)
    with pytest.raises(UserError, match=message) as caught:
        torch_checkpoint.main([str(path), "--name=half_unet", f"--workdir={tmp_path}/run"])
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
    assert capsys.readouterr().out == "" and not (tmp_path / "run").exists()


def test_the_command_exits_with_2(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "fusioninn_jax.interop.torch_checkpoint",
            f"{tmp_path}/none.pt",
            "--name=unet",
            f"--workdir={tmp_path}/run",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1


def test_the_authors_checkpoint_gives_the_authors_outputs(torch, reference, tmp_path):
    assert torch_checkpoint.main([str(reference / "inn.pt"), "--name=fusioninn", f"--workdir={tmp_path}"]) == 0
    numbers = np.load(reference / "fusioninn.npz")
    _, variables, config, *_ = checkpoint.load(tmp_path)
    with jax.enable_x64(True):
        model = models.get("fusioninn", config.model.fusioninn)
        variables = jax.tree.map(lambda leaf: jnp.asarray(leaf, np.float64), variables)
        images = fusioninn_goldens.nhwc(numbers["input_nchw"], np.float64)
        fused, latent = jax.jit(model.fuse)(variables, images[..., :1], images[..., 1:])
        fresh = fusioninn_goldens.nhwc(numbers["latent_resampled"], np.float64)
        ours = {
            "fused": fused,
            "latent": latent,
            "decomposed": jnp.concatenate(jax.jit(model.decompose)(variables, fused, fresh), -1),
        }
    for name, value in ours.items():
        expected = numbers[f"inn_pt_out:{name}"].transpose(0, 2, 3, 1)
        np.testing.assert_allclose(value, expected, atol=tolerances.GOLDEN_F64, err_msg=name)
