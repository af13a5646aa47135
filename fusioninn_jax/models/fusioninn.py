"""FusionINN: [fused, latent] = f(sources), and the sources back from f⁻¹(fused, fresh noise).

Three formulations. `official` is the authors' code: the flow acts on the intensities, fused = sigmoid(y_raw), the
inverse is fed the fused image itself and a sigmoid ends the decomposition, so it is not lossless. `logit` is a flow
from logits to logits, exactly invertible. With a zero-initialised last convolution it starts as a permutation.
`linear` is a flow of the intensities themselves, exactly invertible too, that starts as a picture of the sources, by
default their salient mean, and their differences: training only has to hide the differences in the picture.
Source: FusionINN (arXiv 2403.15769) section 2.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from fusioninn_jax import settings
from fusioninn_jax.bijections import (
    Bijection,
    actnorm,
    chain,
    coupling,
    haar,
    logit,
    mean_difference,
    permutation,
    rescale,
    squeeze,
    unhaar,
    unsqueeze,
)
from fusioninn_jax.bijections.base import BACKWARDS, Condition
from fusioninn_jax.models import salient
from fusioninn_jax.models.base import FusionModel, Gather, Variables, on_one_device
from fusioninn_jax.models.conditioners import conv_conditioner
from fusioninn_jax.models.source_flow import density_fields, source_flow

FORMULATIONS = ("linear", "logit", "official")
OPENINGS = ("salient_mean", "mean")
INTENSITY_SCALE = 4.0  # of `linear`: intensities enter the flow as 4 · (x - 1/2), of about unit variance
ACTNORM_STARTS = ("batch", "identity")
PERMUTATION_KINDS = ("", "rotate", "swap", "random")
ARCHITECTURE: dict[str, dict[str, Any]] = {
    "linear": {
        "blocks": 7,
        "levels": (1, 2),
        "widths": (32, 64, 64, 64, 64, 64, 32),
        "squeeze": "haar",
        "permutation": "rotate",
    },
    "logit": {"blocks": 3, "levels": (1, 2, 1), "widths": (64, 96, 64), "squeeze": "haar", "permutation": "swap"},
    "official": {"blocks": 3, "levels": (0, 1), "widths": (32, 64), "squeeze": "pixel", "permutation": "swap"},
}
SQUEEZES = {"haar": (haar, unhaar), "pixel": (squeeze, unsqueeze)}


def make_permutations(config: ml_collections.ConfigDict) -> tuple[tuple[int, ...], ...]:
    """The permutation after each block but the last, as `config` says: given, drawn from the seed, swaps of the halves,
    or rotations.

    A permutation of two channels is the swap whichever way it is made, since the identity would leave them apart.

    Raises:
      ValueError: given permutations whose number or lengths do not fit.
    """
    sizes, kind = [config.sources * 4**level for level in block_levels(config)[:-1]], setting(config, "permutation")
    if config.permutations:
        given = tuple(tuple(int(i) for i in order) for order in config.permutations)
        if [len(order) for order in given] != sizes:
            raise ValueError(
                f"model.permutations have lengths {[len(order) for order in given]}; "
                f"{block_count(config)} blocks with {config.sources} sources need {sizes}"
            )
        bad = next((order for order in given if sorted(order) != list(range(len(order)))), None)
        if bad:
            raise ValueError(f"model.permutations: {bad} does not name each of 0 to {len(bad) - 1} once")
        return given
    generator = np.random.default_rng(config.permutation_seed)

    def make(size: int) -> tuple[int, ...]:
        if kind == "random" and size > 2:
            return tuple(generator.permutation(size).tolist())
        step = size // config.sources if kind == "rotate" else size // 2
        return tuple(np.roll(np.arange(size), -step).tolist())

    return tuple(make(size) for size in sizes)


def clamp_of(config: ml_collections.ConfigDict) -> float:
    """The bound of |s| in each block of `config`.

    A channel that every block shrinks by exp(-clamp) keeps exp(-clamp · k) of its digits, and float32 cannot give the
    sources back. Deeper flows therefore share the bound of three blocks, `official` ones that of four, the deepest
    that the paper has.
    """
    published = {"linear": 3, "logit": 3, "official": 4}[config.formulation]
    return config.clamp * min(1.0, published / block_count(config))


def setting(config: ml_collections.ConfigDict, name: str) -> Any:
    """The setting `name` of the architecture: as `config` has it, or else the formulation's own."""
    return config[name] or ARCHITECTURE[config.formulation][name]


def block_count(config: ml_collections.ConfigDict) -> int:
    """k, the number of coupling blocks in the flow of `config`."""
    return int(setting(config, "blocks"))


def block_levels(config: ml_collections.ConfigDict) -> tuple[int, ...]:
    """How often the image is squeezed in each of the k blocks of `config`."""
    levels = setting(config, "levels")
    return tuple(levels[block % len(levels)] for block in range(block_count(config)))


def settled(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """A copy of `config` that says what empty settings stand for, so that later defaults change no old model."""
    result = ml_collections.ConfigDict(config.to_dict())
    result.update({name: setting(config, name) for name in ARCHITECTURE[config.formulation]})
    result.permutations = make_permutations(config)
    return result


def _change_level(start: int, end: int, kind: str) -> list[Bijection]:
    """The squeezes, or their inverses, that lead from one level to another."""
    down, up = SQUEEZES[kind]
    return [(down if end > start else up)() for _ in range(abs(end - start))]


def make_flow(config: ml_collections.ConfigDict) -> Bijection:
    """The flow of `config` on (B, H, W, m): ActNorm, then k coupling blocks with permutations between them.

    Each block works at its own level, its permutation too. Height and width must be multiples of 2^(highest level).
    """
    official = config.formulation == "official"
    dtype = None if config.dtype == "float32" else jnp.dtype(config.dtype)
    levels, permutations = block_levels(config), make_permutations(config)
    widths, kind = setting(config, "widths"), setting(config, "squeeze")
    members = [_actnorm(config.actnorm)]
    if config.formulation == "linear":  # the rotations after the blocks bring the mean to the first channel
        members.append(mean_difference(position=len(permutations)))
        if config.opening == "salient_mean":
            members.append(salient.opening(len(permutations), config.sources, INTENSITY_SCALE))
    for block, (before, level) in enumerate(zip((0, *levels[:-1]), levels, strict=True)):
        width = widths[block % len(widths)]
        conditioner, init = conv_conditioner(width, final_relu=official, zero_last=not official, dtype=dtype)
        members += [*_change_level(before, level, kind), coupling(conditioner, init, clamp=clamp_of(config))]
        if block < len(permutations):
            members.append(permutation(permutations[block]))
    return chain(*members, *_change_level(levels[-1], 0, kind), backward=config.backward)


def make_link(config: ml_collections.ConfigDict) -> Bijection | None:
    """What brings intensities to the flow of `config` and back; None for `official`, where the two ways differ."""
    if config.formulation == "official":
        return None
    return logit(shrinkage=config.shrinkage) if config.formulation == "logit" else rescale(INTENSITY_SCALE, 0.5)


def _actnorm(start: str) -> Bijection:
    return actnorm() if start == "batch" else actnorm()._replace(init=_identity_init)


def _identity_init(key: jax.Array, x: jax.Array, condition: Condition = None) -> dict[str, jax.Array]:
    return {"scale": jnp.zeros(x.shape[-1], x.dtype), "bias": jnp.zeros(x.shape[-1], x.dtype)}


def _check(config: ml_collections.ConfigDict) -> None:
    for name, allowed in (
        ("formulation", FORMULATIONS),
        ("actnorm", ACTNORM_STARTS),
        ("opening", OPENINGS),
        ("permutation", PERMUTATION_KINDS),
        ("squeeze", ("", *SQUEEZES)),
        ("backward", BACKWARDS),
    ):
        if config[name] not in allowed:
            raise ValueError(f"model.{name} is {config[name]!r}; it must be one of {', '.join(allowed)}")
    if config.blocks < 0 or config.sources < 2 or min(config.levels, default=0) < 0:
        raise ValueError(
            f"model needs blocks ≥ 0, sources ≥ 2 and levels ≥ 0; got {config.blocks}, {config.sources}, "
            f"{config.levels}"
        )


def fusioninn(config: ml_collections.ConfigDict | None = None) -> FusionModel:
    """FusionINN as a FusionModel.

    Args:
      config: `settings.FUSIONINN`; None takes the defaults.

    Raises:
      ValueError: a setting that is none of its allowed values.
    """
    config = config or settings.defaults("model.fusioninn")
    _check(config)
    system = _System(make_flow(config), config.sources, make_link(config))
    return FusionModel(
        functools.partial(_init, system),
        functools.partial(_fuse, system),
        functools.partial(_fuse_train, system),
        functools.partial(_decompose, system),
        sources=config.sources,
        multiple=2 ** max(block_levels(config)),
        decompose_unclipped=functools.partial(_decompose_unclipped, system),
        **density_fields(system.flow if system.link is None else source_flow(system.flow, system.link)),
    )


class _System(NamedTuple):
    """The flow, how many sources it takes, and what brings intensities to it; None: they enter it as they are, and a
    sigmoid brings them back."""

    flow: Bijection
    sources: int
    link: Bijection | None

    def to_flow(self, x: jax.Array) -> jax.Array:
        """Sources, or a fused image, as the flow takes them."""
        return x if self.link is None else self.link.forward({}, x)[0]

    def from_flow(self, y: jax.Array) -> jax.Array:
        """A fused image, or sources, from what the flow gives."""
        return jax.nn.sigmoid(y) if self.link is None else self.link.inverse({}, y)[0]


def _join(system: _System, sources: tuple[jax.Array, ...]) -> jax.Array:
    if len(sources) != system.sources:
        raise ValueError(f"the model was made for {system.sources} sources; got {len(sources)}")
    return system.to_flow(jnp.concatenate(sources, axis=-1))


def _init(system: _System, key: jax.Array, *sources: jax.Array) -> Variables:
    return {"params": system.flow.init(key, _join(system, sources))}


def _fuse(system: _System, variables: Variables, *sources: jax.Array) -> tuple[jax.Array, jax.Array]:
    y, _ = system.flow.forward(variables["params"], _join(system, sources))
    return system.from_flow(y[..., :1]), y[..., 1:]


def _fuse_train(
    system: _System, variables: Variables, *sources: jax.Array, gather: Gather = on_one_device
) -> tuple[jax.Array, jax.Array, Variables]:
    return (*_fuse(system, variables, *sources), {})


def _decomposed(system: _System, variables: Variables, fused: jax.Array, latent: jax.Array) -> jax.Array:
    x, _ = system.flow.inverse(variables["params"], jnp.concatenate([system.to_flow(fused), latent], axis=-1))
    return system.from_flow(x)


def _decompose(system: _System, variables: Variables, fused: jax.Array, latent: jax.Array) -> tuple[jax.Array, ...]:
    decomposed = clip_inward(_decomposed(system, variables, fused, latent))
    return tuple(jnp.split(decomposed, system.sources, axis=-1))


def _decompose_unclipped(
    system: _System, variables: Variables, fused: jax.Array, latent: jax.Array
) -> tuple[jax.Array, ...]:
    return tuple(jnp.split(_decomposed(system, variables, fused, latent), system.sources, axis=-1))


@jax.custom_vjp
def clip_inward(x: jax.Array) -> jax.Array:
    """`x` clipped to [0, 1], with a gradient outside wherever following it leads back in.

    It is no derivative of anything; `decompose_unclipped` has a true one. With the gradient of a plain clip a flow
    whose first steps throw a source out of the range never gets it back: every gradient is 0 then.
    """
    return jnp.clip(x, 0, 1)


def _clip_inward_bwd(x: jax.Array, g: jax.Array) -> tuple[jax.Array]:
    outward = ((x < 0) & (g > 0)) | ((x > 1) & (g < 0))  # a minimiser moves against g
    return (jnp.where(outward, 0, g),)


clip_inward.defvjp(lambda x: (clip_inward(x), x), _clip_inward_bwd)
