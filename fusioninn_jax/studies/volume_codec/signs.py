"""What a voxel's surroundings show: how large errors are beside it, how busy the planes, what lies above it (numba)."""

from __future__ import annotations

import numpy as np

from fusioninn_jax.studies.volume_codec.compiled import compiled
from fusioninn_jax.studies.volume_codec.residual import COARSE, logarithm


@compiled()
def weigh_errors(errors, content, place, here, below, row, area):  # type: ignore[no-untyped-def]
    """The usual error in 1/16: around the voxel, in its slice alone, in the slice before alone.

    Args:
      errors: of two slices, in 1/8; the voxel's own at `here`, that of the slice before at `below`.
      content: flags of the slab; the voxel's own at `place`.
      place, here, below: see there.
      row, area: voxels of a row and of a slice.
    """
    own = (
        3 * abs(errors[here - 1])
        + 3 * abs(errors[here - row])
        + 2 * abs(errors[here - row - 1])
        + 2 * abs(errors[here - row + 1])
        + abs(errors[here - 2])
        + abs(errors[here - 2 * row])
    )
    count = (
        3 * content[place - 1]
        + 3 * content[place - row]
        + 2 * content[place - row - 1]
        + 2 * content[place - row + 1]
        + content[place - 2]
        + content[place - 2 * row]
    )
    p = place - area
    before = (
        2 * abs(errors[below])
        + abs(errors[below + 1])
        + abs(errors[below - 1])
        + abs(errors[below + row])
        + abs(errors[below - row])
    )
    count_before = 2 * content[p] + content[p + 1] + content[p - 1] + content[p + row] + content[p - row]
    together = 4 * count + 3 * count_before
    scale = (8 * own + 6 * before) // together if together > 0 else np.int64(64)
    return (scale, 2 * own // count if count > 0 else scale, 2 * before // count_before if count_before > 0 else scale)


@compiled()
def activity(own, known, place, row):  # type: ignore[no-untyped-def]
    """How busy the planes `known` are at the voxel `place`, or without any the voxels of `own` before it; 0 to 19.

    `row`: voxels of a row.
    """
    size, busiest = len(own), np.int64(0)
    for k in range(len(known) // size):
        i = k * size + place
        v = known[i]
        busiest = max(
            busiest, abs(v - known[i - 1]) + abs(v - known[i + 1]) + abs(v - known[i - row]) + abs(v - known[i + row])
        )
    if len(known) == 0:
        corner = own[place - row - 1]
        busiest = (
            abs(own[place - 1] - corner) + abs(own[place - row] - corner) + abs(own[place - row] - own[place - row + 1])
        )
    return min(COARSE - 1, logarithm(busiest * 4) // 3)


@compiled()
def texture(own, place, row, area, level):  # type: ignore[no-untyped-def]
    """Which neighbours in `own` of the voxel `place` lie above a `level`, as 8 bits.

    `row`, `area`: voxels of a row and of a slice.
    """
    left, up = own[place - 1], own[place - row]
    return (
        (left > level)
        + 2 * (up > level)
        + 4 * (own[place - row - 1] > level)
        + 8 * (own[place - row + 1] > level)
        + 16 * (own[place - area] > level)
        + 32 * (own[place - 2] > level)
        + 64 * (own[place - 2 * row] > level)
        + 128 * (2 * left - own[place - 2] > level)
    )
