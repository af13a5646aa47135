"""Latent losses that compare the latents of a whole batch with as many draws from the prior.

They need the global batch in one place: devices gather every pixel first, and those with `wasserstein` in them sort it,
work that grows with the batch on every device. `characteristic` is the one made of sums, which devices share.

Latents are (B, H, W, C); a loss is a scalar.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

# gathered, but for the first, which takes more (see `characteristic`), and the last
LATENT_LOSSES = ("characteristic", "white", "mmd_official", "mmd_patch", "wasserstein", "sliced_wasserstein", "none")
MMD_WIDTHS = (0.05, 0.2, 0.9)


def _mmd(u: jax.Array, v: jax.Array, unit: float = 1.0) -> jax.Array:
    """Biased MMD² of two (N, d) samples under the authors' kernels; squared distances count in units of `unit`."""

    def kernel_mean(a: jax.Array, b: jax.Array) -> jax.Array:
        distances = (
            (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2 * jnp.einsum("id,jd->ij", a, b, precision="highest")
        )
        if a is b:  # a row's distance to itself is 0; the difference of large sums above would miss it
            distances = jnp.where(jnp.eye(len(a), dtype=bool), 0, distances)
        distances = jnp.maximum(distances, 0) / unit
        return jnp.stack([(width**2 / (width**2 + distances)).mean() for width in MMD_WIDTHS]).sum()

    return kernel_mean(u, u) + kernel_mean(v, v) - 2 * kernel_mean(u, v)


def mmd_official(latent: jax.Array, target: jax.Array) -> jax.Array:
    """Biased MMD² between two batches of images taken as vectors; the authors' latent loss.

    Inverse multiquadratic kernels a² / (a² + ‖u - v‖²), summed over a in {0.05, 0.2, 0.9}. Inert at image size: every
    distance between images is so large that the value is 6 / B whatever the latent, and the gradient almost 0.
    Source: Gretton et al. 2012, "A kernel two-sample test", eq. 5, with the kernels of the authors' code.

    Args:
      latent: (B, ...) the whole batch's latents.
      target: (B, ...) as many draws from the prior.

    Returns:
      a scalar.
    """
    return _mmd(latent.reshape(len(latent), -1), target.reshape(len(target), -1))


def _sorted_inside(values: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The values where `mask` is true in order, then zeros; and which places hold one."""
    inside = jnp.broadcast_to(mask, values.shape).ravel()
    held = jnp.arange(inside.size) < inside.sum()
    return jnp.where(held, jnp.sort(jnp.where(inside, values.ravel(), jnp.inf)), 0), held


def wasserstein(latent: jax.Array, target: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Squared 2-Wasserstein distance between the pixel values of two batches: mean (sorted u - sorted v)².

    Unlike `mmd_official` its gradient does not vanish as images grow: it is of one dimension, the pixel's value.
    Source: Villani 2003, "Topics in optimal transportation", theorem 2.18 (optimal transport on the line).

    Args:
      latent: (B, ...) the whole batch's latents.
      target: (B, ...) as many draws from the prior.
      mask: true where a pixel counts, one that broadcasts to the latents; None: everywhere.

    Returns:
      a scalar.
    """
    mask = jnp.ones_like(latent, bool) if mask is None else mask
    (u, held), (v, _) = _sorted_inside(latent, mask), _sorted_inside(target, mask)
    return ((u - v) ** 2).sum() / jnp.maximum(held.sum(), 1)


def sliced_wasserstein(
    latent: jax.Array, target: jax.Array, mask: jax.Array, *, slices: int = 8, patch: int = 3
) -> jax.Array:
    """Mean `wasserstein` of random projections of the latents' patches: neighbours count, not only single pixels.

    Source: Rabin et al. 2011, "Wasserstein barycenter and its application to texture mixing", section 2.

    Args:
      latent: (B, H, W, C) the whole batch's latents.
      target: (B, H, W, C) as many draws from the prior.
      mask: (B, H, W, 1); a patch counts where its centre does.
      slices: projections; fixed ones, drawn once.
      patch: side of a patch, odd.

    Returns:
      a scalar.
    """
    channels = latent.shape[-1]
    filters = jax.random.normal(jax.random.key(0), (patch, patch, channels, slices), latent.dtype)
    filters = filters / jnp.sqrt((filters**2).sum((0, 1, 2)))

    def project(x: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, filters, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    u, v = project(latent), project(target)
    return jnp.stack([wasserstein(u[..., i : i + 1], v[..., i : i + 1], mask) for i in range(slices)]).mean()


def autocovariance(latent: jax.Array, mask: jax.Array, *, reach: int = 2) -> jax.Array:
    """Sum of the squared covariances of a pixel with each neighbour up to `reach` away; 0 for white noise.

    Of each pair of opposite neighbours one is counted. Channels are taken one by one.

    Args:
      latent: (B, H, W, C).
      mask: (B, H, W, 1), true where a pixel counts; a pair counts where both do.
      reach: pixels.

    Returns:
      a scalar.
    """
    count = jnp.maximum(mask.sum(), 1)
    centred = jnp.where(mask, latent - jnp.where(mask, latent, 0).sum((0, 1, 2)) / count, 0)
    inside = mask.astype(latent.dtype)

    def shifted(x: jax.Array, down: int, right: int) -> tuple[jax.Array, jax.Array]:
        height, width = x.shape[1] - down, x.shape[2] - abs(right)
        left, other = (0, right) if right >= 0 else (-right, 0)
        return x[:, :height, left : left + width], x[:, down:, other : other + width]

    def squared_covariance(down: int, right: int) -> jax.Array:
        (a, b), (both_a, both_b) = shifted(centred, down, right), shifted(inside, down, right)
        return (((a * b).sum((0, 1, 2)) / jnp.maximum((both_a * both_b).sum(), 1)) ** 2).sum()

    lags = [(down, right) for down in range(reach + 1) for right in range(-reach, reach + 1) if (down, right) > (0, 0)]
    return jnp.stack([squared_covariance(*lag) for lag in lags]).sum()


def white(latent: jax.Array, target: jax.Array, mask: jax.Array) -> jax.Array:
    """log(1 + wasserstein) + log(1 + autocovariance): pixel values as the prior's, neighbours uncorrelated.

    The logarithm tames the start of training, when both are in the tens or hundreds.

    Args:
      latent: (B, H, W, C) the whole batch's latents.
      target: (B, H, W, C) as many draws from the prior.
      mask: (B, H, W, 1), true where a pixel counts.

    Returns:
      a scalar.
    """
    return jnp.log1p(wasserstein(latent, target, mask)) + jnp.log1p(autocovariance(latent, mask))


def mmd_patch(latent: jax.Array, target: jax.Array, mask: jax.Array, *, patch: int = 3, count: int = 1024) -> jax.Array:
    """Biased MMD² between `count` patches of the latents and as many of the prior's draws.

    `mmd_official`'s kernel in a dimension where it works, its widths in units of the distance that two patches of
    N(0, I) have on average, √(2d) for d values.
    Source: Gretton et al. 2012, "A kernel two-sample test", eq. 5.

    Args:
      latent: (B, H, W, C) the whole batch's latents.
      target: (B, H, W, C) as many draws from the prior.
      mask: (B, H, W, 1); patches lie about pixels where it is true (copies fill up where there are too few).
      patch: side of a patch.
      count: patches.

    Returns:
      a scalar.
    """

    def patches(x: jax.Array, places: jax.Array) -> jax.Array:
        cut = jax.lax.conv_general_dilated_patches(
            x, (patch, patch), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return cut.reshape(-1, cut.shape[-1])[places]

    order = jax.random.uniform(jax.random.key(0), mask.shape) + ~mask  # pixels inside first, in a random order
    places = jnp.argsort(order.ravel())[jnp.arange(count) % jnp.maximum(mask.sum(), 1)]
    u, v = patches(latent, places), patches(target, places)
    return _mmd(u, v, unit=2 * u.shape[-1])


def latent_loss(name: str, latent: jax.Array, target: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """The latent loss called `name`: a scalar from (B, H, W, C) latents and as many draws from the prior.

    Args:
      name: one of LATENT_LOSSES but "characteristic", which needs the fused image too: `characteristic.characteristic`.
      latent: (B, H, W, C) the whole batch's latents.
      target: (B, H, W, C) draws from the prior.
      mask: (B, H, W, 1), true where a pixel counts; `mmd_official` takes whole images all the same. None: everywhere.

    Raises:
      ValueError: an unknown name.
    """
    if name not in LATENT_LOSSES[1:]:
        raise ValueError(f"latent loss is {name!r}; it must be one of {', '.join(LATENT_LOSSES)}")
    if name == "none":
        return jnp.zeros((), latent.dtype)
    if name == "mmd_official":
        return mmd_official(latent, target)
    mask = jnp.ones((*latent.shape[:-1], 1), bool) if mask is None else mask
    losses: dict[str, Callable[..., jax.Array]] = {
        "wasserstein": wasserstein,
        "white": white,
        "mmd_patch": mmd_patch,
        "sliced_wasserstein": sliced_wasserstein,
    }
    return losses[name](latent, target, mask)
