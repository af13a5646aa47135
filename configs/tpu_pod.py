"""BraTS on a TPU pod slice, here a v5e-64 (16 hosts of 4 chips): 4 whole slices a chip, data in a bucket.

On every host at once (docs/SCALING.md has the whole command line):

    python -m fusioninn_jax.train --config=configs/tpu_pod.py --config.data.data_dir=gs://BUCKET/data \
        --workdir=gs://BUCKET/runs/brats
"""

import ml_collections

from configs import brats


def get_config() -> ml_collections.ConfigDict:
    """As for BraTS on one machine, but whole slices, a global batch that 64 chips share, and a warm-up."""
    config = brats.get_config()
    config.start = ""
    config.optimizer.learning_rate = 3e-3
    config.data.crop = ()  # whole slices
    config.train.batch_size = 256
    config.train.steps = 5_000
    config.train.eval_every = 500  # a pre-empted run loses no step, a killed one at most these
    config.losses.storage.kind = "dither"  # continuous: the curve doesn't depend on the number of devices
    config.optimizer.warmup_steps = 250
    return config
