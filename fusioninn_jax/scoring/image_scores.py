"""The scores of one batch, per image: fusion quality, decomposition after storage, and moments of the latent.

Images are (B, H, W, 1); sources in [0, 1], a raw fused image may leave it. Every score is (B,), over the whole slice
and inside the brain; `score_names` names them.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from fusioninn_jax import metrics, objective
from fusioninn_jax.anatomy.brain import brain_mask
from fusioninn_jax.metrics import cddfuse
from fusioninn_jax.models import FusionModel, Variables
from fusioninn_jax.models.padding import any_size
from fusioninn_jax.score_names import BRAIN, FAIRNESS, STORAGE_BITS, of_decomposed, of_fused
from fusioninn_jax.scoring.lesion_scores import count_levels
from fusioninn_jax.storage import store

TITLES = {"q_ssim": "Q SSIM", "q_fmi": "Q FMI", "q_ncie": "Q NCIE", "q_xy": "Q XY", "q_p": "Q P"}  # of Table 1
TABLE1 = tuple(TITLES)
PUBLISHED = {"q_xy_fusioninn": "q_xy", "q_p_fusioninn": "q_p"}  # variant='fusioninn': what the paper's table holds
FURTHER = ("q_abf", "mutual_information", "vif", "scd", "correlation", "ssim_sum", "psnr", "mse")
OF_FUSED = ("entropy", "standard_deviation", "spatial_frequency", "average_gradient")
EVALUATOR = "cddfuse"  # whose numbers `--metrics=evaluator` gives, metrics/cddfuse.py
METRIC_SETS = {
    "ssim": ("q_ssim",),
    "table1": (*TABLE1, *PUBLISHED),
    "evaluator": (EVALUATOR,),
    "all": (*TABLE1, *PUBLISHED, *FURTHER, *OF_FUSED),
}
Scores = dict[str, jax.Array]


def fusion_scores(sources: tuple[jax.Array, ...], fused: jax.Array, names: tuple[str, ...]) -> Scores:
    """Fusion metrics of two sources; SSIM with each source for any number of them.

    Args:
      sources: m images.
      fused: raw; Q_SSIM and SSIM score it as it is, the others clipped to [0, 1].
      names: metrics, out of METRIC_SETS["all"].

    Returns:
      the scores by name, SSIM with each source, `score_names.of_fused`, and the least of those, FAIRNESS.
    """
    clipped, brain = jnp.clip(fused, 0, 1), brain_mask(sources)
    scores = {}
    for ending, mask in (("", None), (BRAIN, brain)):
        for i, source in enumerate(sources):
            scores[of_fused(i + 1) + ending] = metrics.decomposition_ssim(source, fused, mask=mask)
        each = [scores[of_fused(i + 1) + ending] for i in range(len(sources))]
        scores[FAIRNESS + ending] = jnp.stack(each).min(0)
        for name in names if len(sources) == 2 and names != (EVALUATOR,) else ():
            scores[name + ending] = _metric(name, sources, fused if name == "q_ssim" else clipped, mask)
    if names == (EVALUATOR,) and len(sources) == 2:
        scores |= {f"{EVALUATOR}_{name}": value for name, value in cddfuse.cddfuse(*sources, clipped).items()}
    # the published cut-outs lie in the image's centre, whatever the mask
    return {
        name: value
        for name, value in scores.items()
        if name.removesuffix(BRAIN) not in PUBLISHED or not name.endswith(BRAIN)
    }


def _metric(name: str, sources: tuple[jax.Array, ...], fused: jax.Array, mask: jax.Array | None) -> jax.Array:
    if name in OF_FUSED:
        return getattr(metrics, name)(fused, mask=mask)
    if name in PUBLISHED:
        return getattr(metrics, PUBLISHED[name])(*sources, fused, variant="fusioninn")
    return getattr(metrics, name)(*sources, fused, mask=mask)


def decomposition_scores(sources: tuple[jax.Array, ...], decomposed: tuple[jax.Array, ...], storage: str) -> Scores:
    """SSIM, PSNR and mean absolute error of each decomposed source.

    Args:
      sources: m images.
      decomposed: m images, which came back from the fused one.
      storage: how the fused image was kept, for the scores' names.
    """
    brain, scores = brain_mask(sources), {}
    for ending, mask in (("", None), (BRAIN, brain)):
        for i, (source, image) in enumerate(zip(sources, decomposed, strict=True), 1):
            for measure in ("ssim", "psnr", "mae"):
                function: Callable[..., jax.Array] = getattr(metrics, f"decomposition_{measure}")
                scores[of_decomposed(measure, i, storage) + ending] = function(source, image, mask=mask)
    return scores


def make_score(model: FusionModel, names: tuple[str, ...], prior: str) -> Callable[..., dict[str, jax.Array]]:
    """The scoring of one batch, `((variables, key), stack, numbers, labels) -> scores, fused, levels and latent`.

    `labels` (B, H, W, 1) are the annotation's; `levels` are the grey levels of its parts, see
    `lesion_scores.count_levels`.

    The latents that decomposition starts from are drawn anew for each image, from the key and the image's number.
    The model sees slices padded as `fuse` and `decompose` pad them; what it gives is cut back before it is scored.

    Args:
      model: of two sources or more.
      names: metrics, see `fusion_scores`.
      prior: of the latents, see `objective.draw_latents`.
    """
    model = any_size(model)

    def score(
        constant: tuple[Variables, jax.Array], stack: jax.Array, numbers: jax.Array, labels: jax.Array
    ) -> dict[str, jax.Array]:
        variables, key = constant
        sources, (height, width) = objective.split_sources(stack), stack.shape[1:3]

        fused, latent = model.fuse(variables, *sources)
        result = {
            "fused": fused,
            "levels": count_levels(sources, fused, labels),
            **fusion_scores(sources, fused, names),
        }
        if latent is None or model.decompose is None:
            return result
        keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)
        fresh = objective.draw_latents(keys, prior, latent)
        for storage, bits in STORAGE_BITS.items():
            decomposed = model.decompose(variables, store(fused, bits), fresh)
            result |= decomposition_scores(sources, decomposed, storage)
        return result | {"latent": latent[:, :height, :width]}

    return score


class LatentMoments:
    """Moments of a latent over a whole split, added up batch by batch in float64."""

    def __init__(self) -> None:
        self._powers = np.zeros(5)
        self._pairs = np.zeros(6)  # n, Σa, Σb, Σa², Σb², Σab over neighbours a, b

    def add(self, latent: np.ndarray, inside: np.ndarray) -> None:
        """Adds the pixels of `latent` (B, H, W, C) where `inside` (B, H, W, 1) is true."""
        latent = latent.astype(np.float64)
        inside = np.broadcast_to(inside, latent.shape)
        values = latent[inside]
        self._powers += [np.sum(values**power) for power in range(5)]
        for axis in (1, 2):
            length = latent.shape[axis]
            first, second = range(length - 1), range(1, length)
            both = inside.take(first, axis) & inside.take(second, axis)
            a, b = latent.take(first, axis)[both], latent.take(second, axis)[both]
            self._pairs += [a.size, a.sum(), b.sum(), (a * a).sum(), (b * b).sum(), (a * b).sum()]

    def sums(self) -> list[list[float]]:
        """What was added up so far, to be sent to another process."""
        return [self._powers.tolist(), self._pairs.tolist()]

    def add_sums(self, sums: list[list[float]]) -> None:
        """Adds `sums`, what another process added up."""
        self._powers += sums[0]
        self._pairs += sums[1]

    def summary(self) -> dict[str, float]:
        """Mean, standard deviation, skewness, excess kurtosis and correlation of neighbours; {} without pixels."""
        if not self._powers[0]:
            return {}
        m1, m2, m3, m4 = self._powers[1:] / self._powers[0]
        variance = max(m2 - m1**2, 0.0)
        third = m3 - 3 * m1 * m2 + 2 * m1**3
        fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
        flat = variance <= 1e-12 * m2 or variance == 0
        count = max(self._pairs[0], 1)
        a, b, aa, bb, ab = self._pairs[1:] / count
        spread = np.sqrt(max(aa - a * a, 0.0) * max(bb - b * b, 0.0))
        return {
            "mean": float(m1),
            "std": float(np.sqrt(variance)),
            "skewness": 0.0 if flat else float(third / variance**1.5),
            "excess_kurtosis": 0.0 if flat else float(fourth / variance**2 - 3),
            "autocorrelation": 0.0 if flat or spread == 0 else float((ab - a * b) / spread),
        }
