"""Invertible building blocks: pure functions with explicit inverses and per-example log-determinants.

Every primitive is there twice: as plain functions, `{name}_forward` and `{name}_inverse`, and as a `Bijection`.
"""
from fusioninn_jax.bijections.actnorm import actnorm, actnorm_forward, actnorm_init, actnorm_inverse
from fusioninn_jax.bijections.base import Bijection
from fusioninn_jax.bijections.chain import chain, chain_forward, chain_inverse
from fusioninn_jax.bijections.coupling import coupling, coupling_forward, coupling_inverse
from fusioninn_jax.bijections.haar import haar, haar_forward, haar_inverse, unhaar
from fusioninn_jax.bijections.logit import logit, logit_forward, logit_inverse
from fusioninn_jax.bijections.permutation import permutation, permutation_forward, permutation_inverse
from fusioninn_jax.bijections.squeeze import squeeze, squeeze_forward, squeeze_inverse, unsqueeze

__all__ = [
    "Bijection", "actnorm", "actnorm_forward", "actnorm_init", "actnorm_inverse", "chain", "chain_forward",
    "chain_inverse", "coupling", "coupling_forward", "coupling_inverse", "haar", "haar_forward", "haar_inverse",
    "logit", "logit_forward", "logit_inverse", "permutation", "permutation_forward", "permutation_inverse",
    "squeeze", "squeeze_forward", "squeeze_inverse", "unhaar", "unsqueeze",
]
