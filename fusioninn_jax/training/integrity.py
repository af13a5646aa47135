"""What a checkpoint must be before it is used: undamaged, and of the run that asks for it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.runtime.guarded import Damaged

SEAL = "crc32"  # of a record, over the rest of it
Arrays = dict[str, list[Any]]


def _name(path: tuple[object, ...]) -> str:
    """A leaf's place, the same whether its containers are dataclasses, tuples, lists or dictionaries."""

    def part(key: object) -> str | int:
        return next(getattr(key, kind) for kind in ("name", "key", "idx") if hasattr(key, kind))

    return ".".join(str(part(key)) for key in path)


def describe(tree: object) -> Arrays:
    """{place: [shape, type, crc32 of the bytes]} of every array of `tree`."""
    return {
        _name(path): [
            list(np.shape(leaf)),
            str(np.asarray(leaf).dtype),
            zlib.crc32(np.ascontiguousarray(leaf).tobytes()),
        ]
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }


def checksum(tree: object) -> int:
    """One number of all arrays of `tree`, their places, shapes and types."""
    return _crc(describe(tree))


def check(tree: object, arrays: Arrays) -> None:
    """Raises Damaged at the first array of `tree` that differs from its description in `arrays`, see `describe`."""
    found = describe(tree)
    if found.keys() != arrays.keys():
        raise Damaged(f"{sorted(found.keys() ^ arrays.keys())[0]} is missing or unknown")
    for name, of_array in arrays.items():
        if found[name] != of_array:
            raise Damaged(f"the values of {name} are not those that were saved")


def seal(record: Mapping[str, Any]) -> dict[str, Any]:
    """`record` with a checksum of itself."""
    return {**record, SEAL: _crc(record)}


def check_seal(record: Mapping[str, Any]) -> None:
    """Raises Damaged where `record` is not as `seal` left it."""
    if record.get(SEAL) != _crc({name: value for name, value in record.items() if name != SEAL}):
        raise Damaged("its record is not the one that was saved")


def _crc(record: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(record, sort_keys=True).encode())


def check_same_model(saved: Mapping[str, Any], wanted: Mapping[str, Any], where: object) -> None:
    """Compares two `config.model`, but for how gradients are computed.

    Args:
      saved: of the checkpoint.
      wanted: of the run that resumes.
      where: the checkpoint lies, for the message.

    Raises:
      UserError: names the first setting that differs.
    """
    settings = {"name": (saved["name"], wanted["name"])}
    if saved["name"] == wanted["name"]:
        of_saved, of_wanted = saved.get(saved["name"], {}), wanted.get(wanted["name"], {})
        settings |= {key: (of_saved.get(key), of_wanted.get(key)) for key in of_wanted if key != "backward"}
    for key, (theirs, ours) in settings.items():
        if theirs != ours:
            raise UserError(
                f"{where}: the checkpoint there is of another architecture ({key} is {theirs!r}, this run "
                f"asks for {ours!r}); use another --workdir or that setting"
            )


def check_same_shapes(arrays: Arrays, state: object, where: object) -> None:
    """Compares what a checkpoint holds with what is to be restored.

    Args:
      arrays: of the checkpoint, see `describe`.
      state: tree of the run that resumes.
      where: the checkpoint lies, for the message.

    Raises:
      UserError: names the first array that differs in shape or type, or is there on one side only.
    """
    saved, wanted = (
        {name: f"{dtype} {tuple(shape)}" for name, (shape, dtype, _) in of.items()} for of in (arrays, describe(state))
    )
    for name in sorted(saved.keys() | wanted.keys()):
        if saved.get(name) != wanted.get(name):
            raise UserError(
                f"{where}: the checkpoint there is of other --config.optimizer settings or data ({name} is "
                f"{saved.get(name, 'missing')}, this run needs {wanted.get(name, 'none')}); use another "
                "--workdir or those settings"
            )
