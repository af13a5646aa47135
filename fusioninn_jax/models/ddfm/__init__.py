"""DDFM: `unet` the network, `diffusion` its training loss and the sampler, `em` the correction, `model` the system."""

from fusioninn_jax.models.ddfm.diffusion import sample, sampling_steps
from fusioninn_jax.models.ddfm.em import EMState, em_step, initial_state
from fusioninn_jax.models.ddfm.model import HOW_TO_GET, ddfm, sample_fused
from fusioninn_jax.models.ddfm.unet import UNet, make_unet

__all__ = [
    "HOW_TO_GET",
    "EMState",
    "UNet",
    "ddfm",
    "em_step",
    "initial_state",
    "make_unet",
    "sample",
    "sample_fused",
    "sampling_steps",
]
