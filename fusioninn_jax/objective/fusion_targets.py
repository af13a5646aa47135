"""What the fused image is trained to look like: both sources at once, as in the paper, or a picture given by a rule.

Similarity to both sources is a compromise that the network strikes by itself, and it may lean on one source. A given
picture leaves the network only one freedom, to hide what the picture lacks in changes that nobody sees; so it makes
any fusion method invertible.

A setting `fusion_target` is one of
  sources                     similarity to every source (paper, eqs. 2-3),
  a training-free system      by its name: salient_mean, mean, max, laplacian_pyramid, wavelet, guided_filter, ...
  a blend of those            for example "0.75*mean+0.25*max"; the weights are divided by their sum,
  a folder                    of a trained system's checkpoints, or of images that any method fused; those are
                              computed or read once, before training (`scoring.target_pictures`).
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from fusioninn_jax import models
from fusioninn_jax.runtime.nearest import nearest

SOURCES = "sources"


def is_folder(setting: str) -> bool:
    """Whether the setting names a folder rather than a rule.

    Args:
      setting: `losses.fusion_target`.
    """
    return "/" in setting or setting.startswith(".")


def rule_names() -> list[str]:
    """The training-free systems, each of which can be a target."""
    return [name for name in models.names() if models.is_training_free(name)]


def parse(setting: str) -> Mapping[str, float]:
    """The rules of a blend and their weights, which sum to 1: "3*mean+max" -> {"mean": 0.75, "max": 0.25}.

    Args:
      setting: a rule, or several with weights: `mean`, `3*mean+max`.

    Raises:
      ValueError: an unknown rule, or a weight that is no positive number.
    """
    weights: dict[str, float] = {}
    for term in setting.split("+"):
        factor, star, name = term.rpartition("*")
        name = name.strip()
        if name not in rule_names():
            close = nearest(name, [SOURCES, *rule_names()])
            hint = f"did you mean {close!r}?" if close else f"known: {', '.join([SOURCES, *rule_names()])}"
            raise ValueError(f"losses.fusion_target is {setting!r}: no rule is called {name!r}; {hint}")
        try:
            weight = float(factor) if star else 1.0
        except ValueError:
            weight = 0.0
        if not 0 < weight < float("inf"):
            raise ValueError(f"losses.fusion_target is {setting!r}: the weight {factor.strip()!r} is not positive")
        weights[name] = weights.get(name, 0) + weight
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def of_rule(setting: str, sources: tuple[jax.Array, ...]) -> jax.Array:
    """The target picture that a rule or a blend gives; no gradient flows through it.

    Args:
      setting: see the module's top; neither `sources` nor a folder.
      sources: m images (B, H, W, 1) in [0, 1].

    Returns:
      (B, H, W, 1) in [0, 1].

    Raises:
      ValueError: a setting that cannot be parsed.
    """
    blend = [weight * models.get(name).fuse({}, *sources)[0] for name, weight in parse(setting).items()]
    return jax.lax.stop_gradient(jnp.stack(blend).sum(0))
