"""Every setting of a training, once: its name, its default, what it means.

The tables nest as the configuration does: `TRAINING["losses"]["alpha"]` is `--config.losses.alpha`. A configuration is
made from them (`defaults`), help texts are printed from them (`described`). The evidence for defaults that depart from
the paper is in docs/RESULTS.md. A new setting is one line here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import ml_collections

Value: TypeAlias = "bool | int | float | str | tuple[int, ...] | tuple[tuple[int, ...], ...]"


class Setting(NamedTuple):
    """A default and, in one line, what the setting means."""

    default: Value
    meaning: str


class Described(NamedTuple):
    """A setting by its whole name, `losses.alpha`."""

    name: str
    default: Value
    meaning: str


Table: TypeAlias = "Mapping[str, Setting | Table]"

DATA: Table = MappingProxyType(
    {
        "dataset": Setting("brain_phantom/default", "a prepared dataset below data_dir: name/config"),
        "data_dir": Setting("runs/data", "where datasets are prepared: a folder, or an object store's URL"),
        "normalisation": Setting(
            "minmax", "of each slice; percentile: the top 0.1 % of the brain is clipped, for outlying voxels"
        ),
        "crop": Setting((), "(height, width) of training crops; empty: whole slices"),
        "cache": Setting(True, "keep the compressed slices in memory after the first epoch"),
        "shuffle_buffer": Setting(16384, "slices; the shuffle is complete where the split has no more than this"),
    }
)
AUGMENT: Table = MappingProxyType(
    {
        "flip": Setting(True, "left-right, half of the time"),
        "rotation": Setting(0.0, "degrees, uniform in ±rotation; 0: none"),
        "gamma": Setting(0.0, "each modality to the power exp(u), u uniform in ±gamma; 0: none"),
        "gain": Setting(
            0.0, "each modality times a factor uniform in [1 - gain, 1], as if a brighter voxel were there"
        ),
        "tone": Setting(
            0.0,
            "each modality through a random curve, which may fall; up to this share of it and the rest no "
            "change: pairs that are brighter or darker in other places than those of the training; 0: none",
        ),
        "swap": Setting(False, "the modalities in another order, drawn anew each time"),
    }
)
STORAGE: Table = MappingProxyType(
    {
        "kind": Setting(
            "round",
            "how training stores the fused image before it decomposes it; float: not at all; round: "
            "to `bits`, gradients pass straight through; dither: uniform noise of one level in its "
            "place; jpeg: the cosine transform of 8x8 blocks rounded as JPEG does, then as round",
        ),
        "bits": Setting(8, "of a stored pixel"),
        "quality": Setting(95, "of jpeg, 1 to 100"),
    }
)
LOSSES: Table = MappingProxyType(
    {
        "alpha": Setting(0.2, "α of eq. 5: fusion against decomposition; the paper: 0.5"),
        "fusion_target": Setting(
            "",
            "what the fused image is trained towards, see fusion_targets: sources (the paper), a "
            "rule's name, a blend of rules, a folder; empty: salient_mean for a system that "
            "decomposes, sources for the others",
        ),
        "coarse_weight": Setting(400.0, "of losses.coarse_error, beside the similarity to a given picture; 0: none"),
        "lam": Setting(0.8, "λ of eqs. 3-4: SSIM against l2"),
        "reduction": Setting("official", "over sources and pixels, as in the authors' code; paper: as in the text"),
        "latent": Setting("characteristic", "one of latent_losses.LATENT_LOSSES; the authors: mmd_official"),
        "latent_weight": Setting(0.05, "of the latent loss beside the fusion loss; the paper: 1"),
        "background_weight": Setting(10.0, "of losses.background_excess, for FusionINN alone; the paper: 0"),
        "prior": Setting("normal", "of the latent, one of losses.LATENT_PRIORS"),
        "storage": STORAGE,
    }
)
FUSIONINN: Table = MappingProxyType(
    {
        "formulation": Setting(
            "linear",
            "a flow of intensities that starts as mean and difference, exactly invertible; "
            "logit: from logits to logits, likewise; official: the authors'",
        ),
        "opening": Setting(
            "salient_mean",
            "of linear: the rule that its fused image starts as, salient_mean or mean; the "
            "nearer to losses.fusion_target, the less is left to learn",
        ),
        "sources": Setting(2, "m, of the images that are fused; the latent has m - 1 channels"),
        "blocks": Setting(0, "k, of the flow; 0: the formulation's own, 7 or the paper's 3"),
        "levels": Setting(
            (),
            "how often each block's image is squeezed, block by block, repeated as needed; empty: the "
            "formulation's own",
        ),
        "widths": Setting(
            (), "hidden channels of the conditioners, block by block, repeated as needed; empty: the formulation's own"
        ),
        "squeeze": Setting(
            "", "haar: cells of 2x2 pixels become Haar coefficients; pixel: channels; empty: the formulation's own"
        ),
        "clamp": Setting(2.0, "bound of |s|; flows of more blocks than the paper's take less, see fusioninn.clamp_of"),
        "actnorm": Setting(
            "identity", "its start; batch: zero mean, unit deviation on the first batch, as the authors"
        ),
        "permutation": Setting(
            "",
            "after each block; swap: first half of the channels to the end; rotate: the first "
            "source's; random: drawn from permutation_seed; empty: the formulation's own",
        ),
        "permutation_seed": Setting(0, "of random permutations"),
        "permutations": Setting((), "one tuple for each block but the last; empty: made as the two settings above say"),
        "shrinkage": Setting(
            0.01,
            "of logit: intensities are shrunk to [shrinkage, 1 - shrinkage] first; smaller values "
            "leave the fused image's sigmoid flatter, and float32 less of what the inverse needs",
        ),
        "backward": Setting(
            "stored",
            "rebuilt: gradients without stored activations, memory that does not grow with the "
            "blocks, a quarter more time",
        ),
        "dtype": Setting("float32", "of the conditioners' convolutions; the flow itself keeps its inputs' precision"),
    }
)
DDFM: Table = MappingProxyType(
    {
        "image_channels": Setting(3, "of the published model; 1: trained on grey slices"),
        "channels": Setting(256, "of the first level"),
        "multipliers": Setting((1, 1, 2, 2, 4, 4), "channels of each level over those of the first"),
        "blocks": Setting(2, "residual blocks of a level"),
        "attention": Setting((8, 16, 32), "how many times smaller the levels are that attend (sizes 32, 16, 8 of 256)"),
        "head_channels": Setting(64, "of an attention head"),
        "learned_sigma": Setting(True, "twice the output channels, and the variational bound in training"),
        "diffusion_steps": Setting(1000, "T; β is linear"),
        "steps": Setting(100, "of them, in sampling"),
        "lam": Setting(0.5, "λ of the EM"),
        "rho": Setting(0.001, "ρ of the EM"),
        "noise_seed": Setting(0, "of the noise that sampling starts from"),
    }
)
_SOURCES = Setting(2, "m, of the images that are fused")
_SUPERVISION = Setting(False, "deep supervision: side outputs are trained too; off in the comparison")


def _width(channels: int) -> Setting:
    return Setting(channels, "channels of the first level; all others follow")


MODELS: Mapping[str, Table] = MappingProxyType(
    {
        "fusioninn": FUSIONINN,
        "deepfuse": {"width": _width(16)},
        "funfusean": {"width": _width(16)},
        "half_unet": {
            "width": _width(64),
            "form": Setting("official", "the comparison's; paper: as published"),
            "sources": _SOURCES,
        },
        "unet": {"width": _width(64), "sources": _SOURCES},
        "unet_plus_plus": {"width": _width(64), "deep_supervision": _SUPERVISION, "sources": _SOURCES},
        "unet_3plus": {"width": _width(64), "deep_supervision": _SUPERVISION, "sources": _SOURCES},
        "ddfm": DDFM,
        "salient_mean": {},
        "mean": {},
        "max": {},
        "laplacian_pyramid": {},
        "wavelet": {},
        "guided_filter": {},
        "ssim_limit": {},
    }
)
OPTIMIZER: Table = MappingProxyType(
    {
        "learning_rate": Setting(3e-3, "of Adam, at its highest"),
        "schedule": Setting("cosine", "to 0 at the last step; plateau: as the authors'; constant"),
        "warmup_steps": Setting(0, "linear from 0"),
        "clip_norm": Setting(1.0, "of the global gradient; 0: no clipping"),
        "ema": Setting(0.0, "decay of an exponential moving average of the params, used for evaluation; 0: none"),
        "plateau_factor": Setting(0.95, "of the learning rate, at each plateau"),
        "plateau_patience": Setting(8, "evaluations without improvement that are let pass, as PyTorch counts"),
    }
)
CHECKPOINT: Table = MappingProxyType(
    {
        "keep_last": Setting(2, "newest checkpoints that are kept"),
        "keep_best": Setting(1, "checkpoints of the lowest validation loss that are kept"),
    }
)
TRAIN: Table = MappingProxyType(
    {
        "batch_size": Setting(32, "of the global batch"),
        "steps": Setting(10_000, "of the optimiser"),
        "epochs": Setting(0, "where above 0, steps follow from it"),
        "eval_every": Setting(250, "steps; evaluation and checkpoint, and both at the end"),
        "eval_batch_size": Setting(0, "of validation; 0: as in training"),
        "log_every": Setting(10, "steps between two lines of the log"),
    }
)
TRAINING: Table = MappingProxyType(
    {
        "seed": Setting(0, "of weights, noise and the order of the data"),
        "start": Setting(
            "",
            "weights to start from: pretrained (the model that ships), a training's folder, or that of a model in two "
            "files; auto: pretrained for its architecture, random for others; empty: random",
        ),
        "data": DATA,
        "augment": AUGMENT,
        "model": {"name": Setting("fusioninn", "the system to train, one of models.names()"), **MODELS},
        "losses": LOSSES,
        "optimizer": OPTIMIZER,
        "checkpoint": CHECKPOINT,
        "train": TRAIN,
    }
)
# What differs in the authors' code (model.fusioninn) and in the paper (losses: section 2 and Table 2, the fused image
# in float).
OFFICIAL_FUSIONINN: Mapping[str, Value] = {"formulation": "official", "actnorm": "batch", "permutation": "random"}
PAPER_LOSSES: Mapping[str, Value] = {
    "alpha": 0.5,
    "latent": "mmd_official",
    "latent_weight": 1.0,
    "background_weight": 0.0,
    "storage.kind": "float",
    "fusion_target": "sources",
    "coarse_weight": 0.0,
}


def defaults(part: str = "") -> ml_collections.ConfigDict:
    """A new configuration of a training, or of the part of that name: `losses`, `model.fusioninn`.

    Args:
      part: names joined by dots; empty for the whole.

    Raises:
      KeyError: there is no such part.
    """
    table = TRAINING
    for name in part.split(".") if part else ():
        inner = table[name]
        if isinstance(inner, Setting):
            raise KeyError(part)
        table = inner
    return _made(table)


def _made(table: Table) -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    for name, entry in table.items():
        config[name] = entry.default if isinstance(entry, Setting) else _made(entry)
    return config


def official_fusioninn() -> ml_collections.ConfigDict:
    """The settings of the authors' code, as `defaults("model.fusioninn")`."""
    config = defaults("model.fusioninn")
    config.update_from_flattened_dict(OFFICIAL_FUSIONINN)
    return config


def paper_losses() -> ml_collections.ConfigDict:
    """The published settings of the loss, as `defaults("losses")`."""
    config = defaults("losses")
    config.update_from_flattened_dict(PAPER_LOSSES)
    return config


def described(table: Table = TRAINING, prefix: str = "") -> Iterator[Described]:
    """Every setting below a table, in its order, by its whole name.

    Args:
      table: one of the tables above.
      prefix: of the names, with its dot: `losses.`.
    """
    for name, entry in table.items():
        if isinstance(entry, Setting):
            yield Described(prefix + name, *entry)
        else:
            yield from described(entry, f"{prefix}{name}.")
