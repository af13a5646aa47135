"""What each departure from the paper brings: the authors' form, ours, and ours with one thing changed at a time.

    python -m fusioninn_jax.train --config=configs/sweeps/ablation.py:ours --workdir=runs/ablation/ours \
        --config.data.dataset=brats/t1gd_flair --config.data.crop=64,64
    python -m fusioninn_jax.report table2 --sweep=configs/sweeps/ablation.py --root=runs/ablation --split=test \
        --config.data.dataset=brats/t1gd_flair --config.data.crop=64,64
"""

import ml_collections

from configs import sweeps

AUTHORS = {
    "model.fusioninn.formulation": "official",
    "model.fusioninn.actnorm": "batch",
    "model.fusioninn.permutation": "random",
    "losses.alpha": 0.5,
    "losses.latent": "mmd_official",
    "losses.latent_weight": 1.0,
    "losses.background_weight": 0.0,
    "losses.storage.kind": "float",
    "losses.fusion_target": "sources",
    "losses.coarse_weight": 0.0,
}
RUNS = {
    "ours": {},
    **{f"authors_{rate}": AUTHORS | {"optimizer.learning_rate": rate} for rate in (3e-4, 1e-3, 2e-3)},
    **{
        f"latent_{name}": {"losses.latent": name}
        for name in ("white", "none", "mmd_official", "mmd_patch", "wasserstein", "sliced_wasserstein")
    },
    **{f"storage_{kind}": {"losses.storage.kind": kind} for kind in ("float", "dither", "jpeg")},
    **{f"storage_{bits}bit": {"losses.storage.bits": bits} for bits in (10, 12, 16)},
    "squeeze_pixel": {"model.fusioninn.squeeze": "pixel"},
    "formulation_logit": {"model.fusioninn.formulation": "logit"},
    "levels_12221": {
        "model.fusioninn.blocks": 5,
        "model.fusioninn.levels": (1, 2, 2, 2, 1),
        "model.fusioninn.widths": (32, 96, 96, 96, 32),
    },
    "levels_1234321_narrow": {"model.fusioninn.widths": (32, 64, 48, 24, 48, 64, 32)},
    "target_sources": {"losses.fusion_target": "sources"},
    "target_mean": {"losses.fusion_target": "mean", "model.fusioninn.opening": "mean"},
    "opening_mean": {"model.fusioninn.opening": "mean"},
    "coarse_0": {"losses.coarse_weight": 0.0},
    **{f"alpha_{alpha}": {"losses.alpha": alpha, "losses.latent_weight": 0.01 / alpha} for alpha in (0.1, 0.5)},
    "latent_weight_0.2": {"losses.latent_weight": 0.2},
    "background_0": {"losses.background_weight": 0.0},
    "ema": {"optimizer.ema": 0.995},
    **{f"rate_{rate}": {"optimizer.learning_rate": rate} for rate in (2e-3, 4e-3)},
    "no_clipping": {"optimizer.clip_norm": 0.0},
}
TABLE = {
    "the authors' form, by learning rate": {str(rate): f"authors_{rate}" for rate in (3e-4, 1e-3, 2e-3)},
    "ours, and one change": {name: name for name in RUNS if not name.startswith("authors")},
}


def get_config(argument: str = "ours") -> ml_collections.ConfigDict:
    """`RUN` or `RUN,BASE`."""
    return sweeps.build(RUNS, argument)
