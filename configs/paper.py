"""The paper, literally: the authors' formulation, losses and schedule, on whole slices (arXiv 2403.15769).

python -m data.prepare brats --source=BRATS2018 --name=paper --split_by=slice --val_fraction=0.1194
python -m fusioninn_jax.train --config=configs/paper.py --workdir=runs/paper
"""

import ml_collections

from configs import default
from fusioninn_jax import settings


def get_config() -> ml_collections.ConfigDict:
    """Adam 3e-4 with the plateau schedule, 400 epochs of batch 64, no augmentation."""
    config = default.get_config()
    config.data.dataset = "brats/paper"
    config.model.fusioninn = settings.official_fusioninn()
    config.losses = settings.paper_losses()
    config.optimizer.learning_rate = 3e-4
    config.optimizer.schedule = "plateau"
    config.optimizer.clip_norm = 0.0
    config.augment.flip = False
    config.train.batch_size = 64
    config.train.epochs = 400
    return config
