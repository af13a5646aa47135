"""The one interface of every fusion system; trainer, evaluator and tools see only this."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from fusioninn_jax.bijections import Bijection

RANGE_SLACK = 1e-5  # float32 arithmetic may leave [0, 1] by rounding
Variables = Mapping[str, Any]  # "params", and "batch_stats" where a system keeps them
Gather = Callable[[jax.Array], jax.Array]  # an array of all devices together, (n, ...) -> (global n, ...)
Given = TypeVar("Given")  # what a function gives


def on_one_device(x: jax.Array) -> jax.Array:
    """The `gather` of a batch `x` that one device holds as a whole: `x` itself."""
    return x


def checked_fuse(fuse: Callable[..., Given], variables: Variables, *sources: jax.Array) -> Given:
    """`fuse` of sources whose values are looked at first, where they are at hand: not under a tracer.

    Args:
      fuse: of a model.
      variables: of the model.
      *sources: (B, H, W, 1) images in [0, 1].

    Raises:
      ValueError: a source leaves [0, 1], or holds NaN.
    """
    for i, source in enumerate(sources, 1):
        if not isinstance(source, jax.core.Tracer) and source.size:
            values = np.asarray(source)  # of a constant too, inside somebody's jit
            low, high = float(values.min()), float(values.max())
            if not (-RANGE_SLACK <= low and high <= 1 + RANGE_SLACK):
                raise ValueError(f"source {i} has values in [{low:.4g}, {high:.4g}]; scale it to [0, 1] first")
    return fuse(variables, *sources)


class FusionModel(NamedTuple):
    """A fusion system as pure functions. Sources and fused images are (B, H, W, 1), sources in [0, 1].

    Attributes:
      init: `(key, *sources) -> variables`; a system that adapts to data adapts to this batch.
      fuse: `(variables, *sources) -> (fused, latent)`; `latent` is (B, H, W, m - 1) for m sources, or None. Raises
        ValueError for sources that leave [0, 1], outside of jit.
      fuse_train: `(variables, *sources, gather=on_one_device) -> (fused, latent, batch_stats)`, as `fuse` with batch
        statistics in use; `batch_stats` are the updated running ones, `{}` where a system keeps none. `gather` brings
        an array of all devices together, (n, ...) -> (global n, ...), since batch statistics are of the global
        batch. Under deep supervision the side outputs follow as further channels of `fused`.
      decompose: `(variables, fused, latent) -> sources`, or None where the system cannot. Sources are clipped to
        [0, 1] and the gradient is made for training: beyond the range it is not the derivative, and there is no forward
        mode.
      sources: how many source images the system takes, None for any number.
      multiple: height and width must be divisible by this.
      training_free: has no parameters; `fuse` takes any variables.
      train_loss: `(variables, sources, keys) -> (B,)`, what training minimises for a system that is not trained by
        fusing, with a key for each example; None for all others.
      flow: the bijection inside, `(variables["params"], (B, H, W, m) sources) -> (y, log_det)`, y the fused image, then
        the latent; None where there is none. Of a model in the authors' formulation y's first channel is the fused
        image before its sigmoid.
      log_det: `(variables, *sources) -> (B,)`, log |det ∂y/∂sources| of `flow`.
      log_prob: `(variables, *sources) -> (B,)`, the sources' log-density, where the latent is standard normal and any
        fused image equally likely.
      decompose_unclipped: as `decompose`, without the clip: what the inverse really gives, with its true derivative in
        either mode.
    """

    init: Callable[..., Variables]
    fuse: Callable[..., tuple[jax.Array, jax.Array | None]]
    fuse_train: Callable[..., tuple[jax.Array, jax.Array | None, Variables]]
    decompose: Callable[[Variables, jax.Array, jax.Array], tuple[jax.Array, ...]] | None
    sources: int | None = 2
    multiple: int = 1
    training_free: bool = False
    train_loss: Callable[[Variables, tuple[jax.Array, ...], jax.Array], jax.Array] | None = None
    flow: Bijection | None = None
    log_det: Callable[..., jax.Array] | None = None
    log_prob: Callable[..., jax.Array] | None = None
    decompose_unclipped: Callable[[Variables, jax.Array, jax.Array], tuple[jax.Array, ...]] | None = None
