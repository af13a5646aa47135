"""Images and params for tests of FusionINN."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.golden import portable_inputs

TRAINED = 0.005  # how far weights are moved off their start to look trained; larger ones saturate the sigmoid


def batch(shape, sources=2, dtype=jnp.float32):
    """(B, H, W, sources) of a shape (B, H, W)."""
    pairs = np.concatenate([portable_inputs.smooth(seed, *shape) for seed in range((sources + 1) // 2)], 1)
    return jax.device_put(pairs[:, :sources].transpose(0, 2, 3, 1).astype(dtype))  # jnp.asarray compiles


def trained(init, *arrays, size=TRAINED):
    """Params of the shapes that `init` makes, as if trained; drawn by NumPy, since `init` takes long to compile.

    First convolutions are as large as they start; all else, which starts at or near 0, is of standard deviation `size`.
    """
    generator = np.random.default_rng(5)

    def drawn(path, leaf):
        first = leaf.ndim > 1 and "conv1" in jax.tree_util.keystr(path)
        spread = (3 * np.prod(leaf.shape[:-1])) ** -0.5 if first else size
        return jax.device_put((spread * generator.standard_normal(leaf.shape)).astype(leaf.dtype))

    return jax.tree_util.tree_map_with_path(drawn, jax.eval_shape(init, jax.random.key(0), *arrays))


def there_and_back(model, variables, *sources):
    """(fused, latent, decomposed sources) in one compilation, with a barrier between the two directions."""

    @jax.jit
    def both(variables, *sources):
        fused, latent = jax.lax.optimization_barrier(model.fuse(variables, *sources))
        return fused, latent, model.decompose(variables, fused, latent)

    return both(variables, *sources)
