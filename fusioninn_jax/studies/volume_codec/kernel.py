"""The loop over a slab's voxels: predict, code what the prediction lacks, learn. Integers alone, so decoding repeats
exactly what encoding did. (Where sums stand in float64, they are of integers and below 2⁵³.)

Each row: which voxels are background? Then each voxel that is not: (1) A linear prediction with coefficients that
travel, and two with weights that follow the voxels (normalised LMS on the decorrelated differences of neighbours),
blended by how well each did beside it; two more add a correction learned from the errors beside it; the blend of these
is moved by the mean errors of two contexts.
(2) Up or down, how many steps of a width that follows the errors beside it, and the rest within the step, decision by
decision. Where the picture is a known function of the sources, the last source must lie in an interval (`Rule`), and
decisions that it settles are not coded.

The parts are known from the literature: blends of predictors (Meyer and Tischer, TMW, 1997), cancelled biases (Wu and
Memon, CALIC, 1997), cascades of LMS as in lossless audio (MPEG-4 RLS-LMS), mixed contexts (Mahoney, 2005).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fusioninn_jax.studies.volume_codec import prediction
from fusioninn_jax.studies.volume_codec.coder import SPARE, Coder, code_learned, finish
from fusioninn_jax.studies.volume_codec.compiled import compiled
from fusioninn_jax.studies.volume_codec.layout import BEFORE, BEHIND, MARGIN, Neighbours, fill_voxel
from fusioninn_jax.studies.volume_codec.prediction import ERROR_TOP, EXPERTS, SHIFTS, SUB, Adaptive, Fit, clip
from fusioninn_jax.studies.volume_codec.residual import (
    COARSE,
    MASK_LIMIT,
    SCALES,
    Learned,
    Surroundings,
    code_level,
    logarithm,
    room,
    signed_part,
)
from fusioninn_jax.studies.volume_codec.signs import activity, texture, weigh_errors

FULL = -1  # returned where the room for the result is too small


class Slab(NamedTuple):
    """What is coded and what is known; flat arrays of one padded shape.

    Attributes:
      shape: int64 (3,), of the slab with its margins.
      own, content: int32 levels from 0 and uint8 flags; `own` is filled in on the way, both are written in decoding.
      standing: uint8 zeros; where `own` can be predicted from so far.
      known, known_content: planes one behind another, filled in; which of their voxels are content.
      bounds: int64 (4,): the largest level, whether there is a background; coefficient of the rule (0: none), shift.
      picture, partial: int32 and int64, see `rule.Rule`; empty without a rule.
      limits: int64 (2,): the picture's least and largest level under the rule; beyond them it was cut.
    """

    shape: np.ndarray
    own: np.ndarray
    content: np.ndarray
    standing: np.ndarray
    known: np.ndarray
    known_content: np.ndarray
    bounds: np.ndarray
    picture: np.ndarray
    partial: np.ndarray
    limits: np.ndarray


@compiled()
def code_content(slab: Slab, place, row, area, learned: Learned, coder: Coder):  # type: ignore[no-untyped-def]
    """Codes whether the voxel `place` is content; returns it.

    Args:
      slab: what is coded.
      place: flat index of the voxel in it.
      row, area: voxels of a row and of a slice.
      learned: so far; it learns.
      coder: writes or reads.
    """
    m, size = slab.content, len(slab.own)
    context = (
        m[place - 1]
        + 2 * m[place - row]
        + 4 * m[place - row - 1]
        + 8 * m[place - row + 1]
        + 16 * m[place - area]
        + 32 * m[place - area + row]
        + 64 * m[place - area + 1]
    )
    planes = len(slab.known) // size
    there = 0
    for k in range(planes):
        there += slab.known_content[k * size + place]
    agreed = 0 if there == 0 else (2 if there == planes else 1)
    first = slab.known_content[place] if planes > 0 else 0
    flag = code_learned(m[place], learned.mask, ((context * 3 + agreed) << 1) | first, MASK_LIMIT, coder)
    m[place] = flag
    return flag


@compiled()
def possible(slab: Slab, place):  # type: ignore[no-untyped-def]
    """The lowest and highest level that the picture of a `slab` allows at the voxel `place`."""
    lowest, highest, coefficient, shift = np.int64(0), slab.bounds[0], slab.bounds[2], slab.bounds[3]
    if coefficient > 0:
        grey, partial = np.int64(slab.picture[place]), slab.partial[place]
        if grey > slab.limits[0]:
            lowest = max(lowest, -((partial - (grey << shift)) // coefficient))
        if grey < slab.limits[1]:
            highest = min(highest, (((grey + 1) << shift) - 1 - partial) // coefficient)
        if lowest > highest:
            return np.int64(0), slab.bounds[0]
    return lowest, highest


@compiled(forceinline=True)
def predict(slab: Slab, fit: Fit, coefficients, a: Adaptive, place, x, here, below, row):  # type: ignore[no-untyped-def]
    """Fills `a.guesses`; returns the first blend, the last one, and the squares of both adapted stages' inputs.

    Args:
      slab, fit: what is coded, what travels.
      coefficients: of the voxel's slice.
      a: what predictions have learned.
      place, x: flat index of the voxel in the slab, and its number in the row prepared.
      here, below: its place, and that of the voxel in the slice before, among what is kept of two slices.
      row: voxels of a row.
    """
    top = slab.bounds[0] << SUB
    base = from_top(prediction.from_coefficients(slab.own, place, x, coefficients, a), top)
    squares = prediction.decorrelate(slab.own, place, x, base, fit.beside, a)
    prediction.weigh(a, here, below, row)
    a.guesses[0] = base
    for k in range(2):
        a.guesses[1 + k] = from_top(base + (prediction.weighted(a.weights[k], a.decorrelated) >> 10), top)
    first = prediction.blend(a, 0, 3, base)
    error_squares = prediction.gather_errors(a.raw, here, below, row, a.beside)
    for k in range(2):
        a.guesses[3 + k] = from_top(first + (prediction.weighted(a.feedback[k], a.beside) >> 13), top)
    return first, prediction.blend(a, 3, 5, first), squares, error_squares


@compiled(forceinline=True)
def from_top(value, top):  # type: ignore[no-untyped-def]
    """A prediction, `value`, brought into 0 ... `top`."""
    return min(top, max(0, value))


@compiled(forceinline=True)
def learn_from(level, a: Adaptive, first, last, squares, error_squares, scale, here, adapts):  # type: ignore[no-untyped-def]
    """Moves weights towards what would have been right; notes the errors.

    Args:
      level: of the voxel.
      a: what predictions have learned.
      first, last: both blends, in 1/64.
      squares, error_squares: of both adapted stages' inputs.
      scale: of errors beside the voxel, in 1/16.
      here: its place among what is kept of two slices.
      adapts: whether weights of differences learn; in a slab's first slice they do not.
    """
    exact, most = level << SUB, scale * 16
    for k in range(EXPERTS):
        a.misses[here, k] = min(ERROR_TOP, abs(exact - a.guesses[k]) >> 2)
    a.raw[here] = clip((exact - first) >> 3, ERROR_TOP)
    for k in range(2):
        prediction.follow(a.feedback[k], a.beside, clip(exact - a.guesses[3 + k], most), error_squares, SHIFTS[2 + k])
        if adapts:
            prediction.follow(a.weights[k], a.decorrelated, clip(exact - a.guesses[1 + k], most), squares, SHIFTS[k])


@compiled(forceinline=True)
def code_content_level(
    slab: Slab,
    fit: Fit,
    coefficients,
    a: Adaptive,
    learned: Learned,
    coder: Coder,
    place,
    x,
    adapts,
    here,
    below,
    row,
    area,
):  # type: ignore[no-untyped-def]
    """Codes the level of a voxel that is content.

    Args:
      slab, fit, coefficients: what is coded, what travels, and of that what is of this slice.
      a, learned, coder: learn; the coder writes or reads.
      place, x, here, below: where the voxel is, see `predict`.
      adapts: whether weights of differences learn.
      row, area: voxels of a row and of a slice.
    """
    first, last, squares, error_squares = predict(slab, fit, coefficients, a, place, x, here, below, row)
    contexts = learned.contexts
    scale, scale_here, scale_before = weigh_errors(a.errors, slab.content, place, here, below, row, area)
    level = min(SCALES - 1, logarithm(scale + 1))
    level_here, level_before = min(39, logarithm(scale_here + 1)) >> 1, min(39, logarithm(scale_before + 1)) >> 1
    pattern = texture(slab.own, place, row, area, last >> SUB)
    shift = a.guesses[1] - a.guesses[0]
    trend = a.errors[here - 1] + a.errors[here - row]
    lean = 1 if trend > scale // 4 else (2 if trend < -(scale // 4) else 0)
    one = pattern * 8 + min(7, level >> 3)
    two = ((min(7, logarithm(abs(shift) + 1) >> 2) * 2 + (1 if shift < 0 else 0)) * COARSE + level_here) * 3 + lean
    lowest, highest = possible(slab, place)
    middle = last + (prediction.bias(a.biases, 0, one) + prediction.bias(a.biases, 1, two)) // 2
    middle = min(highest << SUB, max(lowest << SUB, middle))
    left = min(11, logarithm(abs(a.errors[here - 1]) * 2 + 1) >> 2)
    up = min(11, logarithm(abs(a.errors[here - row]) * 2 + 1) >> 2)
    contexts[0], contexts[1] = level, level_here * COARSE + level_before
    contexts[2] = (level >> 2) * 15 + signed_part(a.guesses[4] - middle, scale, 7) + 7
    contexts[3] = (left * 12 + up) * COARSE + (level >> 2)
    contexts[4] = ((middle & 63) >> 3 if level < 28 else 0) * SCALES + level
    contexts[5] = pattern * COARSE + (level >> 2)
    contexts[6] = (signed_part(shift, scale, 9) + 9) * COARSE + activity(slab.own, slab.known, place, row)
    s = Surroundings(
        middle, lowest, highest, level, room((highest << SUB) - middle, scale), room(middle - (lowest << SUB), scale)
    )
    value = code_level(np.int64(slab.own[place]), s, contexts, learned, coder)
    slab.own[place] = value
    learn_from(value, a, first, last, squares, error_squares, scale, here, adapts)
    a.errors[here] = clip(((value << SUB) - middle) >> 3, ERROR_TOP)
    error = clip((value << SUB) - last, scale * 16)
    prediction.learn_bias(a.biases, 0, one, error)
    prediction.learn_bias(a.biases, 1, two, error)


@compiled()
def code_mask(slab: Slab, start, size, row, area, learned: Learned, coder: Coder):  # type: ignore[no-untyped-def]
    """Codes which voxels of a row are content; returns the first of them and the end, both 0 where there are none.

    Args:
      slab: what is coded.
      start, size: the first voxel of the row, and how many.
      row, area: voxels of a row with its margins, and of a slice.
      learned, coder: the one learns, the other writes or reads.
    """
    first, last = 0, 0
    for x in range(size):
        content = 1
        if slab.bounds[1]:
            content = code_content(slab, start + x, row, area, learned, coder)
        else:
            slab.content[start + x] = 1
        if content:
            first, last = first if last > 0 else x, x + 1
    return first, last


@compiled()
def code_row(slab: Slab, fit: Fit, near: Neighbours, a: Adaptive, learned: Learned, coder: Coder, z, start, size):  # type: ignore[no-untyped-def]
    """Codes the row of `size` voxels from `start` in the slice `z`.

    Args:
      slab, fit, near: what is coded, what travels, where neighbours lie.
      a, learned: so far; both learn.
      coder: writes or reads.
      z, start, size: margins count in z and start, not in size.
    """
    row, area = slab.shape[2], slab.shape[1] * slab.shape[2]
    first, last = code_mask(slab, start, size, row, area, learned, coder)
    coefficients, inside = fit.coefficients[fit.group[z]], start - z * area
    if last > 0:
        prediction.prepare_row(slab.own, slab.known, start + first, last - first, near, fit, coefficients, a)
    for x in range(size):
        place, here, below = start + x, (z & 1) * area + inside + x, ((z + 1) & 1) * area + inside + x
        if slab.content[place]:
            code_content_level(
                slab, fit, coefficients, a, learned, coder, place, x - first, z > BEFORE, here, below, row, area
            )
            slab.standing[place] = 1
        else:
            for k in range(EXPERTS):
                a.misses[here, k] = 0
            a.errors[here] = a.raw[here] = 0
            fill_voxel(slab.own, slab.standing, place, row, area)


@compiled()
def code_slab(slab: Slab, fit: Fit, near: Neighbours, a: Adaptive, learned: Learned, coder: Coder):  # type: ignore[no-untyped-def]
    """Encodes or decodes a slab; returns the bytes written or read, or FULL.

    Args:
      slab: what is coded; in decoding it is written.
      fit: what travels.
      near: where neighbours lie.
      a, learned: nothing learned yet.
      coder: writes or reads.
    """
    depth, height, row = slab.shape[0], slab.shape[1], slab.shape[2]
    for z in range(BEFORE, depth - BEHIND):
        for y in range(MARGIN, height - MARGIN):
            start = (z * height + y) * row + MARGIN
            code_row(slab, fit, near, a, learned, coder, z, start, row - 2 * MARGIN)
            if coder.state[5] == 0 and coder.state[3] > len(coder.data) - SPARE * row:
                return FULL
    return finish(coder) if coder.state[5] == 0 else coder.state[3]
