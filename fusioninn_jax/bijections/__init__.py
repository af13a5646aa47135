"""Invertible building blocks: pure functions with explicit inverses and per-example log-determinants.

Every primitive is there twice: as plain functions, `{name}_forward` and `{name}_inverse`, and as a `Bijection`.
"""

from fusioninn_jax.bijections.actnorm import actnorm, actnorm_forward, actnorm_init, actnorm_inverse
from fusioninn_jax.bijections.base import Bijection
from fusioninn_jax.bijections.chain import chain, chain_forward, chain_inverse
from fusioninn_jax.bijections.coupling import (
    coupling,
    coupling_forward,
    coupling_inverse,
    half_coupling,
    half_coupling_forward,
    half_coupling_inverse,
)
from fusioninn_jax.bijections.distributions import (
    Base,
    flow_log_prob,
    logistic,
    normal,
    sample,
    sample_and_log_prob,
    uniform,
)
from fusioninn_jax.bijections.haar import haar, haar_forward, haar_inverse, unhaar
from fusioninn_jax.bijections.linear import (
    mean_difference,
    mean_difference_forward,
    mean_difference_inverse,
    rescale,
    rescale_forward,
    rescale_inverse,
)
from fusioninn_jax.bijections.logit import logit, logit_forward, logit_inverse
from fusioninn_jax.bijections.mixing import (
    convolution1x1,
    convolution1x1_forward,
    convolution1x1_inverse,
    orthogonal,
    orthogonal_forward,
    orthogonal_inverse,
)
from fusioninn_jax.bijections.permutation import permutation, permutation_forward, permutation_inverse
from fusioninn_jax.bijections.scan import scan, scan_forward, scan_inverse
from fusioninn_jax.bijections.shaping import (
    identity,
    identity_forward,
    reshape,
    reshape_forward,
    split,
    split_forward,
    split_inverse,
)
from fusioninn_jax.bijections.squeeze import squeeze, squeeze_forward, squeeze_inverse, unsqueeze
from fusioninn_jax.bijections.subset import on_channels, on_channels_forward, on_channels_inverse
from fusioninn_jax.bijections.transformers import Transformer, additive, affine, odds, rational_quadratic

__all__ = [
    "Base",
    "Bijection",
    "Transformer",
    "actnorm",
    "actnorm_forward",
    "actnorm_init",
    "actnorm_inverse",
    "additive",
    "affine",
    "chain",
    "chain_forward",
    "chain_inverse",
    "convolution1x1",
    "convolution1x1_forward",
    "convolution1x1_inverse",
    "coupling",
    "coupling_forward",
    "coupling_inverse",
    "flow_log_prob",
    "haar",
    "haar_forward",
    "haar_inverse",
    "half_coupling",
    "half_coupling_forward",
    "half_coupling_inverse",
    "identity",
    "identity_forward",
    "logistic",
    "logit",
    "logit_forward",
    "logit_inverse",
    "mean_difference",
    "mean_difference_forward",
    "mean_difference_inverse",
    "normal",
    "odds",
    "on_channels",
    "on_channels_forward",
    "on_channels_inverse",
    "orthogonal",
    "orthogonal_forward",
    "orthogonal_inverse",
    "permutation",
    "permutation_forward",
    "permutation_inverse",
    "rational_quadratic",
    "rescale",
    "rescale_forward",
    "rescale_inverse",
    "reshape",
    "reshape_forward",
    "sample",
    "sample_and_log_prob",
    "scan",
    "scan_forward",
    "scan_inverse",
    "split",
    "split_forward",
    "split_inverse",
    "squeeze",
    "squeeze_forward",
    "squeeze_inverse",
    "unhaar",
    "uniform",
    "unsqueeze",
]
