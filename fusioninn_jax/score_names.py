"""The names of scores: one name for one quantity, wherever it is measured, logged, tabled or drawn.

    q_fmi                     a fusion metric of the whole slice
    ssim_fused_1              similarity of the fused image to the first source
    ssim_decomposed_1_8bit    similarity of the first source to what comes back from a fused image kept in 8 bits
    fairness                  the least of the fused image's similarities to its sources
    auc_oedema, cnr_oedema    how conspicuous a part of the tumour is in the fused image (`scoring.lesion_scores`); with
                              _2, _mean at the end in the second source, in the sources' plain mean; with _over_best,
                              _over_mean how much more than in the best source, in the plain mean

With `_brain` at its end a score is of the inside of the brain alone. Sources are counted from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

BRAIN = "_brain"
FAIRNESS = "fairness"
CONSPICUITY = {"auc": "AUC", "cnr": "contrast-to-noise"}  # measure -> what readers call it
MEAN, OVER_BEST, OVER_MEAN = "_mean", "_over_best", "_over_mean"
STORAGE_BITS = {"float": 0, "16bit": 16, "8bit": 8}  # how evaluation keeps the fused image before it decomposes it
_OF_FUSED = re.compile(rf"ssim_fused_(\d+)({BRAIN})?")
_OF_DECOMPOSED = re.compile(rf"([a-z]+)_decomposed_(\d+)_([a-z0-9]+)({BRAIN})?")


def of_fused(source: int) -> str:
    """SSIM of the fused image with the source of that number.

    Args:
      source: its number, from 1.
    """
    return f"ssim_fused_{source}"


def of_decomposed(measure: str, source: int, storage: str) -> str:
    """A decomposed source beside the true one.

    Args:
      measure: `ssim`, `psnr` or `mae`.
      source: its number.
      storage: how the fused image was kept, one of STORAGE_BITS or `storage_name`.
    """
    return f"{measure}_decomposed_{source}_{storage}"


def storage_name(kind: str, bits: int, quality: int) -> str:
    """How training keeps the fused image, as names of scores say it: float, 8bit, dither8, jpeg95.

    Args:
      kind, bits, quality: as in `settings.STORAGE`.
    """
    return {"float": "float", "round": f"{bits}bit", "dither": f"dither{bits}", "jpeg": f"jpeg{quality}"}[kind]


def of_part(measure: str, part: str, of: int | str = "") -> str:
    """How conspicuous a part of the tumour is.

    Args:
      measure: one of CONSPICUITY.
      part: one of `regions.SCORED`.
      of: "" the fused image, a source's number, MEAN, OVER_BEST or OVER_MEAN.
    """
    return f"{measure}_{part}" + (f"_{of}" if isinstance(of, int) else of)


def parts_in(names: Iterable[str]) -> list[str]:
    """The parts of the tumour that some `of_part` among these names is of, in their order.

    Args:
      names: of scores.
    """
    measures = tuple(f"{measure}_" for measure in CONSPICUITY)
    return list(dict.fromkeys(name.split("_")[1] for name in names if name.startswith(measures)))


def source_of_fused(name: str) -> int | None:
    """The source of an `of_fused`; None for any other score.

    Args:
      name: of a score.
    """
    found = _OF_FUSED.fullmatch(name)
    return int(found[1]) if found else None


def is_of_decomposed(name: str) -> bool:
    """Whether a score is an `of_decomposed`, inside the brain or not.

    Args:
      name: of a score.
    """
    return _OF_DECOMPOSED.fullmatch(name) is not None
