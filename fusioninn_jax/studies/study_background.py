"""The backgrounds of a study's series: found before fusing, noted in the record, put back after decomposing."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from fusioninn_jax.formats import background, images
from fusioninn_jax.formats.background import Background
from fusioninn_jax.formats.provenance import Provenance
from fusioninn_jax.formats.series import Series
from fusioninn_jax.runtime.errors import UserError

KEY = "background"  # of a source in the record


def parse_all(text: str) -> list[str | float]:
    """One background for all series, or one for each with commas between, from the `text` that the option gives.

    Raises:
      UserError: see `background.parse`.
    """
    return [background.parse(part.strip()) for part in text.split(",")]


def find_all(sources: Sequence[Series], asked: Sequence[str | float], names: Sequence[str]) -> list[Background | None]:
    """The background of each series where parts of the brain lie below it, which is told; None for the others.

    Args:
      sources: of a study.
      asked: one for all or one for each, see `formats.background.find`.
      names: of the series, for messages.

    Raises:
      UserError: another number of them than series, or one that cannot be told.
    """
    if len(asked) not in (1, len(sources)):
        raise UserError(
            f"{background.OPTION}: {len(asked)} values for {len(sources)} series; give one for all, or one for each"
        )
    each = list(asked) * (len(sources) if len(asked) == 1 else 1)
    return [_find(source, of_one, name) for source, of_one, name in zip(sources, each, names, strict=True)]


def darkened(sources: Sequence[Series], names: Sequence[str]) -> tuple[list[Series], np.ndarray]:
    """The series with their backgrounds as the darkest values, and the value of each background, (m,).

    Args:
      sources: of a study.
      names: of the series, for messages.

    Raises:
      UserError: a background that cannot be told.
    """
    found = find_all(sources, (background.AUTO,), names)
    dark = [source if of is None else _darkened(source, of) for source, of in zip(sources, found, strict=True)]
    return dark, np.array([0.0 if of is None else of.moved_to for of in found], np.float32)


def _darkened(source: Series, found: Background) -> Series:
    count = len(source.stored)
    values = background.darkened(source.values, found)
    return source._replace(stored=values, slope=np.ones(count), intercept=np.zeros(count))


def _find(source: Series, asked: str | float, name: str) -> Background | None:
    values = source.values
    if asked == background.AUTO and source.origin.get("kind") == images.KIND and values.min() >= 0:
        return None  # a photograph with a bright border is no normalised scan
    found = background.find(values, asked, name)
    if found is None or not found.is_moved:
        return None
    print(
        f"{name}: normalised already: its background is {found.value:.6g}, with darker voxels inside; it is fused as "
        "the darkest value, and comes back",
        file=sys.stderr,
    )
    return found


def note(record: Provenance, found: Sequence[Background | None]) -> None:
    """Writes the backgrounds `found` that were moved, one a source, into a `record`."""
    for source, of_source in zip(record["sources"], found, strict=True):
        if of_source:
            source[KEY] = list(of_source)


def restored(record: Provenance, values: np.ndarray) -> list[np.ndarray]:
    """Decomposed series, `values` (m, Z, H, W), with their backgrounds as the `record` says that they were.

    Raises:
      UserError: a record whose backgrounds are none.
    """
    return [
        background.restored(of_source, _noted(source))
        for source, of_source in zip(record["sources"], values, strict=True)
    ]


def _noted(source: dict[str, object]) -> Background | None:
    noted = source.get(KEY)
    if noted is None:
        return None
    if not (
        isinstance(noted, list)
        and len(noted) == len(Background._fields)
        and all(isinstance(value, int | float) and np.isfinite(value) for value in noted)
    ):
        raise UserError("the record of the fusion is damaged: its `background` is not as it is written; fuse anew")
    return Background(*map(float, noted))
