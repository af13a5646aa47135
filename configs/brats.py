"""BraTS, or any folder of NIfTI studies that `data.prepare brats` understands.

python -m data.prepare brats --source=BRATS_FOLDER --name=t1gd_flair --data_dir=runs/data
python -m fusioninn_jax.train --config=configs/brats.py --config.data.dataset=brats/t1gd_flair --workdir=runs/brats
"""

import ml_collections

from configs import phantom


def get_config() -> ml_collections.ConfigDict:
    """As for the phantom, on real slices, and longer."""
    config = phantom.get_config()
    config.train.steps = 3000
    config.start = "auto"  # what simulated patients teach holds for real ones: a third of the steps
    config.optimizer.learning_rate = 2e-3
    config.augment.gain, config.augment.gamma = 0.4, 0.25  # other scanners
    config.data.dataset = "brats/t1gd_flair"
    return config
