"""The embedded brain phantom, on a laptop: the default model, crops, a short cosine schedule.

python -m data.prepare brain_phantom --data_dir=runs/data
python -m fusioninn_jax.train --config=configs/phantom.py --workdir=runs/phantom
"""

import ml_collections

from configs import default


def get_config() -> ml_collections.ConfigDict:
    """The default configuration on crops of the phantom."""
    config = default.get_config()
    config.data.dataset = "brain_phantom/default"
    config.data.crop = (96, 96)
    config.train.batch_size = 8
    config.optimizer.warmup_steps = 100
    config.train.steps = 1000
    return config
