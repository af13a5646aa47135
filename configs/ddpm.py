"""The diffusion model of DDFM, small and grey, on crops of single slices of all modalities.

    python -m data.prepare brain_phantom --data_dir=runs/data
    python -m fusioninn_jax.train --config=configs/ddpm.py --workdir=runs/ddpm
    python -m fusioninn_jax.evaluate --workdir=runs/ddpm --split=test

Nothing is fused while it trains: loss, validation and the best checkpoint are those of denoising.
"""

import ml_collections

from configs import phantom


def get_config() -> ml_collections.ConfigDict:
    """1.5 M parameters; attention only at the smallest of four sizes, so that whole slices are affordable."""
    config = phantom.get_config()
    config.model.name = "ddfm"
    config.model.ddfm.update(
        image_channels=1,
        channels=32,
        multipliers=(1, 1, 2, 2),
        blocks=1,
        attention=(),
        head_channels=32,
        learned_sigma=False,
    )
    config.data.crop = (64, 64)
    config.optimizer.learning_rate = 1e-3
    config.optimizer.warmup_steps = 50
    config.optimizer.ema = 0.99
    config.train.batch_size = 4
    config.train.steps = 600
    config.train.eval_every = 300
    return config
