"""FusionINN: [fused, latent] = f(sources), and the sources back from f⁻¹(fused, fresh noise).

Two formulations. `official` is the authors' code: the flow acts on the intensities, fused = sigmoid(y_raw), the
inverse is fed the fused image itself and a sigmoid ends the decomposition, so it is not lossless. `logit` is a flow
from logits to logits, exactly invertible. With a zero-initialised last convolution it starts as a permutation.
Source: FusionINN (arXiv 2403.15769) section 2.
"""
from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from fusioninn_jax import settings
from fusioninn_jax.bijections import Bijection, actnorm, chain, coupling, haar, permutation, squeeze, unhaar, unsqueeze
from fusioninn_jax.bijections.chain import BACKWARDS
from fusioninn_jax.bijections.logit import logit_forward, logit_inverse
from fusioninn_jax.models.base import FusionModel, Variables, on_one_device
from fusioninn_jax.models.conditioners import conv_conditioner

FORMULATIONS = ("logit", "official")
ACTNORM_STARTS = ("batch", "identity")
PERMUTATION_KINDS = ("swap", "random")
ARCHITECTURE: dict[str, dict[str, Any]] = {
    "logit": {"levels": (1, 2, 1), "widths": (64, 96, 64), "squeeze": "haar"},
    "official": {"levels": (0, 1), "widths": (32, 64), "squeeze": "pixel"},
}
SQUEEZES = {"haar": (haar, unhaar), "pixel": (squeeze, unsqueeze)}


def make_permutations(config: ml_collections.ConfigDict) -> tuple[tuple[int, ...], ...]:
    """The permutation after each block but the last, as `config` asks: given, drawn from the seed, or swaps.

    A permutation of two channels is the swap whichever way it is made, since the identity would leave them apart.

    Raises:
      ValueError: given permutations whose number or lengths do not fit.
    """
    sizes = [config.sources * 4**level for level in block_levels(config)[:-1]]
    if config.permutations:
        given = tuple(tuple(int(i) for i in order) for order in config.permutations)
        if [len(order) for order in given] != sizes:
            raise ValueError(f"model.permutations have lengths {[len(order) for order in given]}; {config.blocks} "
                             f"blocks with {config.sources} sources need {sizes}")
        return given
    generator = np.random.default_rng(config.permutation_seed)
    def make(size: int) -> tuple[int, ...]:
        if config.permutation == "random" and size > 2:
            return tuple(generator.permutation(size).tolist())
        return tuple(np.roll(np.arange(size), -(size // 2)).tolist())
    return tuple(make(size) for size in sizes)


def clamp_of(config: ml_collections.ConfigDict) -> float:
    """The bound of |s| in each block.

    A channel that every block shrinks by exp(-clamp) keeps exp(-clamp · k) of its digits, and float32 cannot give the
    sources back. Deeper flows therefore share the bound of three blocks, `official` ones that of four, the deepest
    that the paper has.
    """
    published = {"logit": 3, "official": 4}[config.formulation]
    return config.clamp * min(1.0, published / config.blocks)


def setting(config: ml_collections.ConfigDict, name: str) -> Any:
    """`levels`, `widths` or `squeeze`: as given, or else the formulation's own."""
    return config[name] or ARCHITECTURE[config.formulation][name]


def block_levels(config: ml_collections.ConfigDict) -> tuple[int, ...]:
    """How often the image is squeezed in each of the k blocks."""
    levels = setting(config, "levels")
    return tuple(levels[block % len(levels)] for block in range(config.blocks))


def settled(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """A copy that says what empty settings stand for, so that later defaults change nothing about the model."""
    result = ml_collections.ConfigDict(config.to_dict())
    result.update({name: setting(config, name) for name in ARCHITECTURE[config.formulation]})
    result.permutations = make_permutations(config)
    return result


def _change_level(start: int, end: int, kind: str) -> list[Bijection]:
    """The squeezes, or their inverses, that lead from one level to another."""
    down, up = SQUEEZES[kind]
    return [(down if end > start else up)() for _ in range(abs(end - start))]


def make_flow(config: ml_collections.ConfigDict) -> Bijection:
    """The flow on (B, H, W, m): ActNorm, then k coupling blocks with a permutation after every block but the last.

    Each block works at its own level, its permutation too. Height and width must be multiples of 2^(highest level).
    """
    official = config.formulation == "official"
    dtype = None if config.dtype == "float32" else jnp.dtype(config.dtype)
    levels, permutations = block_levels(config), make_permutations(config)
    widths, kind = setting(config, "widths"), setting(config, "squeeze")
    members = [_actnorm(config.actnorm)]
    for block, (before, level) in enumerate(zip((0, *levels[:-1]), levels, strict=True)):
        width = widths[block % len(widths)]
        conditioner, init = conv_conditioner(width, final_relu=official, zero_last=not official, dtype=dtype)
        members += [*_change_level(before, level, kind), coupling(conditioner, init, clamp=clamp_of(config))]
        if block < config.blocks - 1:
            members.append(permutation(permutations[block]))
    return chain(*members, *_change_level(levels[-1], 0, kind), backward=config.backward)


def _actnorm(start: str) -> Bijection:
    if start == "batch":
        return actnorm()
    def identity_init(key: jax.Array, x: jax.Array) -> dict[str, jax.Array]:
        return {"scale": jnp.zeros(x.shape[-1], x.dtype), "bias": jnp.zeros(x.shape[-1], x.dtype)}
    return actnorm()._replace(init=identity_init)


def _check(config: ml_collections.ConfigDict) -> None:
    for name, allowed in (("formulation", FORMULATIONS), ("actnorm", ACTNORM_STARTS),
                          ("permutation", PERMUTATION_KINDS), ("squeeze", ("", *SQUEEZES)),
                          ("backward", BACKWARDS)):
        if config[name] not in allowed:
            raise ValueError(f"model.{name} is {config[name]!r}; it must be one of {', '.join(allowed)}")
    if config.blocks < 1 or config.sources < 2 or min(config.levels, default=0) < 0:
        raise ValueError(f"model needs blocks ≥ 1, sources ≥ 2 and levels ≥ 0; got {config.blocks}, {config.sources}, "
                         f"{config.levels}")


def fusioninn(config: ml_collections.ConfigDict | None = None) -> FusionModel:
    """FusionINN as a FusionModel.

    Args:
      config: `settings.FUSIONINN`; None takes the defaults.

    Raises:
      ValueError: a setting that is none of its allowed values.
    """
    config = config or settings.defaults("model.fusioninn")
    _check(config)
    flow = make_flow(config)
    to_flow, from_flow, fused_to_flow = _links(config)

    def join(sources: tuple[jax.Array, ...]) -> jax.Array:
        if len(sources) != config.sources:
            raise ValueError(f"the model was made for {config.sources} sources; got {len(sources)}")
        return to_flow(jnp.concatenate(sources, axis=-1))

    def init(key: jax.Array, *sources: jax.Array) -> Variables:
        return {"params": flow.init(key, join(sources))}

    def fuse(variables: Variables, *sources: jax.Array) -> tuple[jax.Array, jax.Array]:
        y, _ = flow.forward(variables["params"], join(sources))
        return from_flow(y[..., :1]), y[..., 1:]

    def fuse_train(variables: Variables, *sources: jax.Array,
                   gather: Any = on_one_device) -> tuple[jax.Array, jax.Array, Any]:
        return (*fuse(variables, *sources), {})

    def decompose(variables: Variables, fused: jax.Array, latent: jax.Array) -> tuple[jax.Array, ...]:
        x, _ = flow.inverse(variables["params"], jnp.concatenate([fused_to_flow(fused), latent], axis=-1))
        decomposed = clip_inward(from_flow(x))
        return tuple(jnp.split(decomposed, config.sources, axis=-1))

    multiple = 2 ** max(block_levels(config))
    return FusionModel(init, fuse, fuse_train, decompose, sources=config.sources, multiple=multiple)


@jax.custom_vjp
def clip_inward(x: jax.Array) -> jax.Array:
    """x clipped to [0, 1], with a gradient outside wherever following it leads back in.

    With the gradient of a plain clip a flow whose first steps throw a source out of the range never gets it back: every
    gradient is 0 then.
    """
    return jnp.clip(x, 0, 1)


def _clip_inward_bwd(x: jax.Array, g: jax.Array) -> tuple[jax.Array]:
    outward = ((x < 0) & (g > 0)) | ((x > 1) & (g < 0))  # a minimiser moves against g
    return (jnp.where(outward, 0, g),)


clip_inward.defvjp(lambda x: (clip_inward(x), x), _clip_inward_bwd)


def _links(config: ml_collections.ConfigDict) -> tuple[Any, Any, Any]:
    """How intensities enter the flow, how they leave it, and how a fused image enters its inverse."""
    if config.formulation == "official":
        return (lambda x: x), jax.nn.sigmoid, (lambda fused: fused)
    def to_flow(x: jax.Array) -> jax.Array:
        return logit_forward(x, shrinkage=config.shrinkage)[0]
    def from_flow(y: jax.Array) -> jax.Array:
        return logit_inverse(y, shrinkage=config.shrinkage)[0]
    return to_flow, from_flow, to_flow
