"""The series of a study that are fused as negatives: asked for by number, noted in the record, turned back."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

import numpy as np

from fusioninn_jax.formats import negative
from fusioninn_jax.formats.negative import Negative
from fusioninn_jax.formats.provenance import Provenance
from fusioninn_jax.formats.series import Series, uniform
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.runtime.guarded import Damaged

KEY = "negative"  # of a source in the record


def numbers(text: str) -> tuple[int, ...]:
    """The argument of --invert, given as `text`: "2" or "1,3", counted from 1.

    Raises:
      ArgumentTypeError: anything else.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and part.isascii() and 0 < int(part[:9]) for part in parts):
        raise argparse.ArgumentTypeError("numbers of series with commas between, the first is 1")
    return tuple(sorted({int(part[:9]) for part in parts}))


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Gives a `parser` the option that asks for negatives."""
    parser.add_argument(
        negative.OPTION,
        type=numbers,
        default=(),
        metavar="NUMBER",
        help="series that show the lesion dark, as ADC does, 1 for the first (several: 1,3): fused as negatives, "
        "in which it is bright; they come back as they were",
    )


def check(asked: Sequence[int], count: int) -> None:
    """Raises UserError where a number is `asked` for, from 1, that none of `count` series has."""
    if asked and max(asked) > count:
        raise UserError(f"{negative.OPTION} {max(asked)}: there are {count} series; give 1 to {count}")


def find_all(volumes: Sequence[np.ndarray], asked: Sequence[int], names: Sequence[str]) -> dict[int, Negative]:
    """How the negatives are made, by place.

    Args:
      volumes: (Z, H, W) of each series.
      asked: numbers of series, from 1.
      names: of the series, for messages.

    Raises:
      UserError: a number that no series has, or one without a background.
    """
    check(asked, len(volumes))
    return {number - 1: negative.find(volumes[number - 1], names[number - 1]) for number in asked}


def negated(volumes: Sequence[np.ndarray], found: Mapping[int, Negative]) -> list[np.ndarray]:
    """The volumes as they are fused.

    Args:
      volumes: (Z, H, W) of each series.
      found: from `find_all`.
    """
    return [negative.negated(of, found[i]) if i in found else of for i, of in enumerate(volumes)]


def as_negatives(sources: Sequence[Series], asked: Sequence[int], names: Sequence[str]) -> list[Series]:
    """The series, those asked for as float32 negatives.

    Args:
      sources: of the study.
      asked: numbers of series, from 1.
      names: of the series, for messages.

    Raises:
      UserError: see `find_all`.
    """
    check(asked, len(sources))
    named = zip(sources, names, strict=True)
    return [_as_negative(source, name) if i in asked else source for i, (source, name) in enumerate(named, 1)]


def _as_negative(source: Series, name: str) -> Series:
    values = source.values
    return uniform(negative.negated(values, negative.find(values, name)), source.affine, source.origin)


def note(record: Provenance, found: Mapping[int, Negative]) -> None:
    """Writes into a `record` how the negatives `found`, by place, were made."""
    for i, of_source in found.items():
        record["sources"][i][KEY] = negative.note(of_source)


def restored(record: Provenance, values: np.ndarray) -> np.ndarray:
    """Decomposed series (m, Z, H, W), those that were fused as negatives turned back.

    Args:
      record: of the fused image.
      values: what decomposing gave.

    Raises:
      UserError: a damaged record.
    """
    try:
        pairs = zip(record["sources"], values, strict=True)
        return np.stack([_restored(source.get(KEY), of_source) for source, of_source in pairs])
    except Damaged as error:
        raise UserError(f"the record of the fusion is damaged: {error}; fuse anew") from error


def _restored(noted: object, values: np.ndarray) -> np.ndarray:
    return values if noted is None else negative.restored(values, negative.from_note(noted, values.shape))


def restored_deviations(record: Provenance, deviations: np.ndarray) -> np.ndarray:
    """Deviations of decomposed series, (m, Z, H, W), in the units of the sources rather than of their negatives.

    Args:
      record: of the fused image.
      deviations: what sampling gave.
    """
    scales = [1 / (1 - negative.GAP) if KEY in source else 1.0 for source in record["sources"]]
    return deviations * np.array(scales, deviations.dtype)[:, None, None, None]
