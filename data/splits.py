"""Who goes to train, validation and test: from a seed and the names alone, never from the order of a listing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.runtime.nearest import nearest

SPLITS = ("train", "validation", "test")


def assign(
    names: Collection[str], *, seed: int, val_fraction: float, test_fraction: float, what: str = "images"
) -> dict[str, str]:
    """Draws the split of each name by a seeded permutation of the sorted names.

    A fraction above 0 yields at least one name.

    Args:
      names: the units that are drawn; none is ever on two sides.
      seed: of the permutation.
      val_fraction: in [0, 1), of the names.
      test_fraction: likewise.
      what: the units, for the message.

    Returns:
      name -> 'train', 'validation' or 'test'.

    Raises:
      UserError: fractions outside [0, 1), or nothing would be left to train on.
    """
    for option, fraction in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not 0 <= fraction < 1:
            raise UserError(f"{option}={fraction:g}: not in [0, 1); give a fraction such as 0.1")
    order = np.random.default_rng(seed).permutation(sorted(names)).tolist()
    validation, test = (max(1, round(f * len(order))) if f > 0 else 0 for f in (val_fraction, test_fraction))
    if validation + test >= len(order):
        raise UserError(
            f"split of the {what}: of {len(order)}, {validation} would go to validation and {test} to "
            "test, which leaves 'train' empty; lower val_fraction and test_fraction, or add data"
        )
    return {
        name: SPLITS[1] if i < validation else SPLITS[2] if i < validation + test else SPLITS[0]
        for i, name in enumerate(order)
    }


def joined(digests: Mapping[str, Collection[str]]) -> tuple[dict[str, str], list[str]]:
    """Names that share a digest become one unit.

    Args:
      digests: name -> those of its images.

    Returns:
      name -> the first name of its unit, and a line for each such group.
    """
    unit_of = {name: name for name in digests}
    holders: dict[str, list[str]] = {}
    for name in sorted(digests):
        for digest in digests[name]:
            holders.setdefault(digest, []).append(name)
    groups = sorted({tuple(names) for names in holders.values() if len(names) > 1})
    for group in groups:
        units = {unit_of[name] for name in group}
        unit_of |= {name: min(units) for name, unit in unit_of.items() if unit in units}
    return unit_of, [f"{', '.join(group)}: identical images, kept on one side of every split" for group in groups]


def check_named(option: str, wanted: Sequence[str], known: Collection[str]) -> None:
    """Raises `UserError` if a name in `wanted` is not `known` or stands twice; the message names the `option`."""
    for name in wanted:
        if name not in known:
            close = nearest(name, known)
            raise UserError(
                f"{option}: no subject named '{name}'; "
                + (f"did you mean '{close}'?" if close else f"there are {len(known)}: {preview(known)}")
            )
    if len(set(wanted)) != len(wanted):
        raise UserError(f"{option}: a subject is named twice in {', '.join(wanted)}; name it once")


def preview(names: Collection[str], most: int = 8) -> str:
    """The first few of `names`, `most` at most, for a one-line message."""
    shown = sorted(names)
    return ", ".join(shown[:most]) + (f", ... ({len(shown) - most} more)" if len(shown) > most else "")
