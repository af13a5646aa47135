"""DDFM: fusion by an unconditional diffusion model whose estimate is drawn to both sources at every step.

Nothing is trained on pairs: the network only knows what single images look like. Sampling starts from one noise, the
same for every image; `em.em_step` corrects each step's estimate of the clean image. A colour network (3 channels) has
its estimate's luma corrected and its chroma kept; a grey one (1 channel) the estimate itself.
Source: Zhao et al. 2023, "DDFM" (arXiv 2303.06840), as the authors of FusionINN ran it.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from fusioninn_jax import settings
from fusioninn_jax.models.base import FusionModel, Gather, Variables
from fusioninn_jax.models.ddfm import diffusion, em
from fusioninn_jax.models.ddfm.unet import make_unet, unet_multiple

# Luma of ITU-R BT.601. Studio swing gives 16 … 235 for R, G, B in [0, 1]; the sampler divides it by 255.
STUDIO_LUMA = (65.481, 128.553, 24.966)
STUDIO_BLACK, STUDIO_SPAN = 16.0, 219.0
FULL_LUMA = (0.299, 0.587, 0.114)
LEVELS = 255

# Where its weights come from, for whoever asks for them.
HOW_TO_GET = (
    "train a small one with `python -m fusioninn_jax.train --config=configs/ddpm.py --workdir=runs/ddpm`, or "
    "import OpenAI's with `python -m fusioninn_jax.interop.torch_checkpoint 256x256_diffusion_uncond.pt "
    "--name=ddfm --workdir=runs/ddpm`; then give --workdir=runs/ddpm"
)


def luma(image: jax.Array) -> jax.Array:
    """What the EM works on: `image`, (B, H, W, 3), to its studio-swing luma over 255; (B, H, W, 1) as it is.

    (16 + 65.481 R + 128.553 G + 24.966 B) / 255, as scikit-image has it for [0, 1], on values in [-1, 1]: so black,
    -1, comes out as -0.796. The authors' code does so.
    """
    if image.shape[-1] == 1:
        return image
    weighted = (image * jnp.asarray(STUDIO_LUMA, image.dtype)).sum(-1, keepdims=True)
    return (STUDIO_BLACK + weighted) / LEVELS


def with_luma(image: jax.Array, new: jax.Array) -> jax.Array:
    """`image`, (B, H, W, C), with the luma `new`, (B, H, W, 1), and its own chroma.

    Equal luma of equal chroma means equal differences between R, G and B, so all three move alike.
    """
    if image.shape[-1] == 1:
        return new
    return image + (new - luma(image)) * (LEVELS / STUDIO_SPAN)


def sample_fused(
    denoise: diffusion.Denoiser,
    noise: jax.Array,
    first: jax.Array,
    second: jax.Array,
    config: ml_collections.ConfigDict,
) -> jax.Array:
    """DDFM's sampling, before anything is done to its result.

    Args:
      denoise: the network, `(x_t (B, H, W, C), times (B,)) -> (B, H, W, C or 2C)`.
      noise: (B, H, W, C), where it starts; C is 1 or 3.
      first: (B, H, W, 1) in [-1, 1], I: T1-Gd.
      second: (B, H, W, 1) in [-1, 1], V: T2-FLAIR.
      config: `settings.DDFM`.

    Returns:
      (B, H, W, C), nominally in [-1, 1].
    """

    def correct(start: jax.Array, state: em.EMState) -> tuple[jax.Array, em.EMState]:
        fused, state = em.em_step(luma(start), first, second, state, lam=config.lam, rho=config.rho)
        return with_luma(start, fused), state

    steps = diffusion.sampling_steps(diffusion.linear_betas(config.diffusion_steps), config.steps)
    return diffusion.sample(denoise, noise, steps, correct, em.initial_state(first))


def to_levels(image: jax.Array) -> jax.Array:
    """The full-range luma of `image`, (B, H, W, C), each stretched by itself to the 256 grey levels of [0, 1]."""
    if image.shape[-1] == 3:
        image = (image * jnp.asarray(FULL_LUMA, image.dtype)).sum(-1, keepdims=True)
    low, high = image.min((1, 2, 3), keepdims=True), image.max((1, 2, 3), keepdims=True)
    stretched = (image - low) / jnp.where(high > low, high - low, 1)
    return jnp.floor(stretched * LEVELS + 0.5) / LEVELS


def padding(size: int, multiple: int) -> tuple[int, int]:
    """Pixels to add before and after `size` for the next `multiple`, the image in the middle: 240 -> 256 by (8, 8)."""
    lack = -size % multiple
    return lack // 2, lack - lack // 2


class _Ddfm(NamedTuple):
    """The functions of the FusionModel; methods, so that it pickles."""

    config: ml_collections.ConfigDict
    network: nn.Module
    betas: np.ndarray

    def denoiser(self, variables: Variables) -> diffusion.Denoiser:
        return lambda x, times: jnp.asarray(self.network.apply({"params": variables["params"]}, x, times))

    def prepare(self, image: jax.Array) -> jax.Array:
        """(B, H, W, 1) in [0, 1] to the network's size and [-1, 1]."""
        margins = [padding(size, unet_multiple(self.config)) for size in image.shape[1:3]]
        return 2 * jnp.pad(image, ((0, 0), *margins, (0, 0))) - 1

    def init(self, key: jax.Array, *sources: jax.Array) -> Variables:
        size = unet_multiple(self.config)
        start = jnp.zeros((1, size, size, self.config.image_channels), sources[0].dtype)
        return self.network.init(key, start, jnp.zeros(1))

    def fuse(self, variables: Variables, *sources: jax.Array) -> tuple[jax.Array, None]:
        first, second = (self.prepare(source) for source in sources)
        shape = (*first.shape[1:3], self.config.image_channels)
        noise = jax.random.normal(jax.random.key(self.config.noise_seed), shape, first.dtype)
        noise = jnp.broadcast_to(noise, (len(first), *shape))
        fused = to_levels(sample_fused(self.denoiser(variables), noise, first, second, self.config))
        (top, _), (left, _) = (padding(size, unet_multiple(self.config)) for size in sources[0].shape[1:3])
        height, width = sources[0].shape[1:3]
        return fused[:, top : top + height, left : left + width], None

    def fuse_train(
        self, variables: Variables, *sources: jax.Array, gather: Gather | None = None
    ) -> tuple[jax.Array, None, Variables]:
        return (*self.fuse(variables, *sources), {})

    def train_loss(self, variables: Variables, sources: tuple[jax.Array, ...], keys: jax.Array) -> jax.Array:
        images = jnp.concatenate([self.prepare(source) for source in sources]).repeat(self.config.image_channels, -1)
        own_keys = jax.vmap(lambda i: jax.vmap(lambda key: jax.random.fold_in(key, i))(keys))(np.arange(len(sources)))
        losses = diffusion.denoising_loss(self.denoiser(variables), images, own_keys.reshape(-1), self.betas)
        return losses.reshape(len(sources), -1).mean(0)


def ddfm(config: ml_collections.ConfigDict | None = None) -> FusionModel:
    """DDFM as a FusionModel of two sources; its training is that of the diffusion model, on each source by itself.

    Any image size: padded with zeros, in the middle, to what the network needs, and cropped back.

    Args:
      config: `settings.DDFM`; None takes the defaults.

    Raises:
      ValueError: settings that make no network.
    """
    config = config or settings.defaults("model.ddfm")
    if config.image_channels not in (1, 3):
        raise ValueError(f"ddfm.image_channels is {config.image_channels}; it must be 1 or 3")
    diffusion.respaced(config.diffusion_steps, config.steps)
    own = _Ddfm(config, make_unet(config), diffusion.linear_betas(config.diffusion_steps))
    return FusionModel(own.init, own.fuse, own.fuse_train, decompose=None, train_loss=own.train_loss)
