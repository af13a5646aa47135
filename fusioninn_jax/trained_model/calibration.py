"""How wrong a decomposed pixel may be, from the spread of its draws: a monotone map learnt on validation slices.

Training asks for sources that do not depend on the noise, so draws lie closer together than they lie to the truth; but
where they spread more the error is larger. The map from spread to error is learnt once, on slices that the model was
not trained on, and kept with the model. It holds for patients like those.
Source: Kuleshov, Fenner, Ermon 2018, "Accurate uncertainties for deep learning using calibrated regression", by
quantiles of the error in place of the model's own distribution.

Spreads and errors are in units of a slice's range, [0, 1]; the last axis is that of the m sources.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from etils import epath

from fusioninn_jax.runtime import guarded, outputs

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # of the intervals
KNOTS = 24
FILE = "calibration.json"


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The map, a row for each of the m sources; between knots linear, below the first through 0, above the last flat.

    Attributes:
      spreads: (m, KNOTS), of the draws, ascending.
      deviations: (m, KNOTS), the root of the mean squared error of the draws' mean there, not descending.
      half_widths: (len(LEVELS), m, KNOTS), what the error's size stays below with each probability of LEVELS.
    """

    spreads: np.ndarray
    deviations: np.ndarray
    half_widths: np.ndarray

    def deviation(self, spread: np.ndarray) -> np.ndarray:
        """The error's standard deviation for spreads.

        Args:
          spread: (..., m).

        Raises:
          ValueError: another m than that of the fit.
        """
        return _mapped(spread, self.spreads, self.deviations)

    def half_width(self, spread: np.ndarray, level: float) -> np.ndarray:
        """Half the length of the interval about the draws' mean that holds the truth with probability `level`.

        Args:
          spread: (..., m).
          level: one of LEVELS.

        Returns:
          (..., m).

        Raises:
          ValueError: another level, or another m than that of the fit.
        """
        if level not in LEVELS:
            raise ValueError(f"level is {level}; calibrated are {', '.join(map(str, LEVELS))}")
        return _mapped(spread, self.spreads, self.half_widths[LEVELS.index(level)])

    def to_json(self) -> dict[str, Any]:
        """Lists, for a JSON file."""
        return {"levels": list(LEVELS)} | {
            field.name: getattr(self, field.name).tolist() for field in dataclasses.fields(self)
        }


def from_json(content: dict[str, Any]) -> Calibration:
    """Undoes `Calibration.to_json`.

    Args:
      content: what it gave; more keys do no harm.

    Raises:
      ValueError: not what it wrote.
    """
    try:
        arrays = [np.asarray(content[field.name], np.float64) for field in dataclasses.fields(Calibration)]
        levels = tuple(content["levels"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a calibration: {error}") from error
    spreads, deviations, half_widths = arrays
    if levels != LEVELS or deviations.shape != spreads.shape or half_widths.shape != (len(LEVELS), *spreads.shape):
        raise ValueError(f"not a calibration: shapes {[array.shape for array in arrays]}, levels {levels}")
    if not all(np.isfinite(array).all() and (np.diff(array) >= 0).all() for array in arrays):
        raise ValueError("not a calibration: a row of it descends or is not finite")
    return Calibration(*arrays)


def save(folder: str | os.PathLike[str], calibration: Calibration, model: str) -> epath.Path:
    """Writes FILE into a model's folder, whole or not at all.

    Args:
      folder: of a training, or of a model's two files, on a disk or in a bucket.
      calibration: what to keep.
      model: the fingerprint of the model it was learnt with, `pretrained.fingerprint`.

    Returns:
      the path of the file.

    Raises:
      UserError: the folder cannot be written to.
    """
    path = epath.Path(folder) / FILE
    with outputs.new_files(path) as (temporary,):
        temporary.write_text(json.dumps({"model": model} | calibration.to_json()) + "\n")
    return path


def load(folder: str | os.PathLike[str], model: str) -> Calibration | None:
    """The calibration in a model's folder; None where there is none, or one of another model (trained on since).

    Args:
      folder: of a training, or of a model's two files, on a disk or in a bucket.
      model: the model's fingerprint.

    Raises:
      UserError: the file is damaged.
    """
    path = epath.Path(folder) / FILE
    if not path.exists():
        return None
    with guarded.reading(path, "is no calibration", "make it anew: `python -m fusioninn_jax.scoring.uncertainty`"):
        content = guarded.read_json(path)
        calibration = from_json(content)
    return calibration if content.get("model") == model else None


def expected_error(calibration: Calibration | None, deviation: np.ndarray, samples: int) -> np.ndarray:
    """The standard deviation of the error of the draws' mean; without a calibration the draws' own, which is smaller.

    Args:
      calibration: of the model, if it has one.
      deviation: (..., m) of the draws, divided by their number.
      samples: how many were drawn; one tells nothing, and has deviation 0.
    """
    if calibration is None or samples < 2:
        return deviation
    return calibration.deviation(deviation * np.float32(np.sqrt(samples / (samples - 1))))


def _mapped(spread: np.ndarray, knots: np.ndarray, values: np.ndarray) -> np.ndarray:
    spread = np.asarray(spread)
    if spread.shape[-1:] != (len(knots),):
        raise ValueError(f"spreads are (..., {len(knots)}), as of the fit; got {spread.shape}")
    of_sources = [
        np.interp(spread[..., m], np.concatenate([[0], knots[m]]), np.concatenate([[0], values[m]]))
        for m in range(len(knots))
    ]
    return np.stack(of_sources, -1).astype(spread.dtype if spread.dtype.kind == "f" else np.float64)


def fit(spread: np.ndarray, error: np.ndarray) -> Calibration:
    """The map from pixels whose error is known.

    Pixels are sorted by spread into KNOTS parts of equal number; what holds in a part stands at its median spread.

    Args:
      spread: (N, m), of the draws.
      error: (N, m), of the draws' mean.

    Raises:
      ValueError: fewer than 20 pixels a part, arrays of other shapes, values that are not finite.
    """
    if np.ndim(spread) != 2 or np.shape(error) != np.shape(spread):
        raise ValueError(f"fit takes spreads and errors (N, m); got {np.shape(spread)} and {np.shape(error)}")
    if not (np.isfinite(spread).all() and np.isfinite(error).all()):
        raise ValueError("fit takes finite spreads and errors; got NaN or infinite ones")
    if len(spread) < 20 * KNOTS:
        raise ValueError(f"a calibration needs {20 * KNOTS} pixels; got {len(spread)}")
    of_sources = [
        _fit_source(spread[:, m].astype(np.float64), np.abs(error[:, m].astype(np.float64)))
        for m in range(spread.shape[1])
    ]
    spreads, deviations, half_widths = (np.stack(rows) for rows in zip(*of_sources, strict=True))
    return Calibration(spreads, deviations, np.moveaxis(half_widths, 1, 0))


def _quantile(sizes: np.ndarray, *, level: float) -> float:
    return float(np.quantile(sizes, level))


def _fit_source(spread: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    parts = np.array_split(np.argsort(spread, kind="stable"), KNOTS)
    knots = np.array([np.median(spread[part]) for part in parts])
    errors = [error[part] for part in parts]
    half_widths = [_ascending(errors, functools.partial(_quantile, level=level)) for level in LEVELS]
    return knots, _ascending(errors, lambda sizes: float(np.sqrt((sizes**2).mean()))), np.stack(half_widths)


def _ascending(parts: Sequence[np.ndarray], statistic: Callable[[np.ndarray], float]) -> np.ndarray:
    """The statistic of each part, where it descends that of neighbouring parts together (isotonic regression by pooling
    adjacent violators; a quantile of what is pooled, not a mean of quantiles, so that the share below it stays)."""
    blocks: list[tuple[float, list[np.ndarray]]] = []
    for part in parts:
        value, members = statistic(part), [part]
        while blocks and blocks[-1][0] > value:
            members = blocks.pop()[1] + members
            value = statistic(np.concatenate(members))
        blocks.append((value, members))
    return np.repeat([value for value, _ in blocks], [len(members) for _, members in blocks])


def coverage(calibration: Calibration, spread: np.ndarray, error: np.ndarray) -> np.ndarray:
    """The share of pixels whose truth lies in the interval about the draws' mean.

    Args:
      calibration: to be tried.
      spread: (N, m), of the draws.
      error: (N, m), of their mean.

    Returns:
      (len(LEVELS), m).
    """
    return np.stack([(np.abs(error) <= calibration.half_width(spread, level)).mean(0) for level in LEVELS])
