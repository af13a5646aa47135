"""`make demo`: the phantom on small crops, minutes on a laptop.

make demo
"""

import ml_collections

from configs import phantom


def get_config() -> ml_collections.ConfigDict:
    """The phantom configuration, shortened."""
    config = phantom.get_config()
    config.data.crop = (64, 64)
    config.train.steps = 600
    config.train.eval_every = 300
    return config
