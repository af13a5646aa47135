"""The authors' PyTorch weights, as variables or as a checkpoint that `evaluate --workdir` reads.

    python -m fusioninn_jax.interop.torch_checkpoint inn.pt --name=fusioninn --workdir=runs/official

`convert` needs NumPy arrays only; the command needs PyTorch (`pip install fusioninn_jax[torch]`). Weights alone are
read: a file whose pickle would run code is refused.
"""

from __future__ import annotations

import functools
import pathlib
import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from fusioninn_jax import models, settings
from fusioninn_jax.interop.baselines import BASELINES, StateDict, conv, convert_baseline
from fusioninn_jax.interop.ddfm_checkpoint import convert_ddfm
from fusioninn_jax.runtime.errors import Parser, UserError, cli, first_line

WHOLE = ("perm", "perm_inv", "num_batches_tracked")  # buffers of whole numbers
WRAPPERS = ("model_state_dict", "state_dict")
UNUSED = ("num_batches_tracked", "perm_inv", "downsample_kernel")  # buffers that say nothing of their own

EXAMPLES = """
python -m fusioninn_jax.interop.torch_checkpoint model.pth --name=fusioninn --workdir=runs/authors
"""


class _Noted(dict):
    """A state dict that notes which keys were read."""

    def __init__(self, state: StateDict) -> None:
        super().__init__(state)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> np.ndarray:
        self.read.add(key)
        return super().__getitem__(key)


def convert(name: str, state_dict: StateDict) -> tuple[ml_collections.ConfigDict, dict[str, Any]]:
    """A state dict of the authors' code as a config and variables for `models.get(name, config)`.

    Args:
      name: the system, as in `models.get`.
      state_dict: the authors' keys -> NumPy arrays, any float dtype, which is kept; a leading `module.`
        (DataParallel) is dropped.

    Returns:
      (config, variables); the number of sources and the widths are those of the weights.

    Raises:
      ValueError: a system without converter, or keys or shapes that are not that system's.
    """
    if name not in _CONVERTERS:
        raise ValueError(f"no converter for {name!r}; there is one for {', '.join(sorted(_CONVERTERS))}")
    state = _Noted(_arrays(state_dict))
    try:
        config, variables = _CONVERTERS[name](state)
    except KeyError as missing:
        raise ValueError(f"not a state dict of {name}: the key {missing} is missing") from missing
    except (IndexError, TypeError, ZeroDivisionError, AttributeError) as error:  # a tensor of other axes than it has
        raise ValueError(
            f"not a state dict of {name}: a tensor has another shape than its key says ({first_line(error)})"
        ) from error
    more = [key for key in state if key not in state.read and key.rpartition(".")[2] not in UNUSED]
    if more:
        raise ValueError(f"not a state dict of {name}: it has no {more[0]!r}")
    _check_shapes(name, config, variables)
    return config, variables


def _arrays(state_dict: StateDict) -> dict[str, np.ndarray]:
    """The weights as finite floating-point arrays; whole numbers stand for permutations and counters alone.

    Raises:
      ValueError: names the first that is something else.
    """
    if not isinstance(state_dict, Mapping):
        raise ValueError(f"a state dict maps keys to arrays; got {type(state_dict).__name__}")
    arrays = {}
    for key, value in state_dict.items():
        array = np.asarray(value)
        if any(step == 0 < length - 1 for step, length in zip(array.strides, array.shape, strict=True)):
            raise ValueError(f"{key} repeats its values along an axis, as an expanded tensor; save plain weights")
        if array.dtype.kind == "V" and array.dtype.name.startswith(("bfloat16", "float8")):
            array = array.astype(np.float32)
        whole = array.dtype.kind in "iu" and str(key).rpartition(".")[2] in WHOLE
        if array.dtype.kind != "f" and not whole:
            raise ValueError(f"{key} holds {array.dtype}; weights are floating-point numbers")
        if not np.isfinite(array).all():
            raise ValueError(
                f"{key} holds values that are not finite; the training had diverged, or the file was changed"
            )
        if str(key).endswith("running_var") and (array < 0).any():
            raise ValueError(f"{key} holds negative variances; the file was changed")
        arrays[str(key).removeprefix("module.")] = array
    return arrays


def _check_shapes(name: str, config: ml_collections.ConfigDict, variables: dict[str, Any]) -> None:
    """Raises ValueError unless the variables are shaped as the model's own."""
    model = models.get(name, config)
    image = jax.ShapeDtypeStruct((1, model.multiple, model.multiple, 1), jnp.float32)
    expected = jax.eval_shape(model.init, jax.random.key(0), *[image] * (model.sources or 2))
    ours = dict(jax.tree_util.tree_leaves_with_path(variables))
    for path, leaf in jax.tree_util.tree_leaves_with_path(expected):
        shape = ours[path].shape if path in ours else None
        if shape != leaf.shape:
            raise ValueError(
                f"not a state dict of {name}: {jax.tree_util.keystr(path)} is {shape}, where the model has {leaf.shape}"
            )


def _subnet(state: StateDict, prefix: str) -> dict[str, dict[str, np.ndarray]]:
    """nn.Sequential(conv, ReLU, conv, ReLU) -> the params of a ConvConditioner."""
    return {ours: conv(state, f"{prefix}.{theirs}") for ours, theirs in (("conv1", 0), ("conv2", 2))}


def _fusioninn(state: StateDict) -> tuple[ml_collections.ConfigDict, dict[str, Any]]:
    """The k = 3 model: module_list 0 ActNorm, 1 block, 2 permutation, 3 squeeze, 4 block, 5 permutation, 6, 7 block."""
    config = settings.official_fusioninn()
    config.permutations = tuple(tuple(int(i) for i in state[f"module_list.{index}.perm"]) for index in (2, 5))
    blocks = {
        index: {net: _subnet(state, f"module_list.{index}.{net}") for net in ("subnet1", "subnet2")}
        for index in (1, 4, 7)
    }
    config.widths = tuple(block["subnet1"]["conv1"]["kernel"].shape[-1] for block in blocks.values())
    actnorm = {key: state[f"module_list.0.{key}"].reshape(-1) for key in ("scale", "bias")}
    return config, {"params": [actnorm, blocks[1], {}, {}, blocks[4], {}, {}, blocks[7]]}


_CONVERTERS: dict[str, Callable[[StateDict], tuple[ml_collections.ConfigDict, dict[str, Any]]]] = {
    "ddfm": convert_ddfm,
    "fusioninn": _fusioninn,
    **{name: functools.partial(convert_baseline, name) for name in BASELINES},
}


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The state dict in a file of `torch.save`: bare, or under `model_state_dict` or `state_dict`.

    Args:
      path: a .pt or .pth file.

    Returns:
      key -> array, in the file's types.

    Raises:
      UserError: PyTorch is not installed, or the file is missing, broken, unsafe, or holds no finite weights.
    """
    try:
        import torch
    except ImportError as error:
        raise UserError("PyTorch is not installed; run `pip install 'fusioninn_jax[torch]'`") from error
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the .pt or .pth that torch.save wrote")
    broken = f"{path}: truncated, changed or not a file of torch.save; get it again"
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if archive.testzip():
                    raise UserError(broken)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Weights only" not in str(error) or "Unsupported operand" in str(error):  # no pickle at all
            raise UserError(broken) from error
        raise UserError(
            f"{path}: holds more than weights, and unpickling it could run any code, so it is refused; "
            "save model.state_dict() alone"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(broken) from error
    content = next((content[key] for key in WRAPPERS if isinstance(content, Mapping) and key in content), content)
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise UserError(f"{path}: holds no state dict; save model.state_dict(), or a dict with `model_state_dict`")
    return {str(key): _as_array(path, str(key), value) for key, value in content.items()}


def _as_array(path: pathlib.Path, key: str, tensor: Any) -> np.ndarray:
    """A tensor of any kind as a dense array; half precision that NumPy does not have becomes float32."""
    import torch

    try:
        tensor = tensor.detach()
        tensor = tensor.dequantize() if tensor.is_quantized else tensor
        tensor = tensor.to_dense() if tensor.layout != torch.strided else tensor
        small = tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64)
        return (tensor.float() if small else tensor).cpu().numpy()
    except Exception as error:  # tensors of many kinds hold nothing that can be read, each says so in its own way
        raise UserError(
            f"{path}: {key} is a tensor that cannot be read ({first_line(error)[:100]}); save plain "
            "weights by model.state_dict()"
        ) from error


def import_checkpoint(path: pathlib.Path, name: str, workdir: str) -> None:
    """Writes the file's weights as the checkpoint of step 0 in `workdir`.

    Args:
      path: a .pt or .pth file.
      name: the system, as in `models.get`.
      workdir: has no checkpoints yet.

    Raises:
      UserError: as `read`; weights of another system; a workdir that has checkpoints already.
    """
    from fusioninn_jax.training import checkpoint, checkpoint_folders, train_state

    state_dict = read(path)
    if pathlib.Path(workdir).exists() and not pathlib.Path(workdir).is_dir():
        raise UserError(f"{workdir}: is a file; give a new folder as --workdir")
    try:
        model_config, variables = convert(name, state_dict)
    except ValueError as error:
        raise UserError(f"{path}: {error}; look at --name") from error
    config = settings.defaults()
    config.model.name, config.model[name] = name, model_config
    optimizer = train_state.make_optimizer(config.optimizer, config.train.steps)
    state = train_state.create(jax.tree.map(jnp.asarray, variables), optimizer, config.optimizer)
    with checkpoint.managed(workdir, config.checkpoint) as manager:
        if manager.all_steps():
            raise UserError(f"{workdir}: has checkpoints already; give a new --workdir")
        checkpoint.save(manager, state, config)
    if checkpoint_folders.newest_step(workdir) != 0:  # a save that fails is told, but is no error while training
        raise UserError(f"{workdir}: the checkpoint could not be written; make room there, or choose another --workdir")


def main(argv: Sequence[str] | None = None) -> int:
    """Parses `argv` (None: the command line) and imports; returns the exit code."""
    parser = Parser(prog="python -m fusioninn_jax.interop.torch_checkpoint", description=__doc__, examples=EXAMPLES)
    parser.add_argument("file", help="what torch.save wrote")
    parser.add_argument("--name", required=True, choices=sorted(_CONVERTERS), help="the system")
    parser.add_argument("--workdir", required=True, help="new folder for the checkpoint")
    args = parser.parse_args(argv)
    import_checkpoint(pathlib.Path(args.file), args.name, args.workdir)
    print(
        f"written: {args.workdir}; score it with `python -m fusioninn_jax.evaluate --workdir={args.workdir} "
        "--dataset=... --split=...`"
    )
    return 0


if __name__ == "__main__":
    cli(main)
