"""Models from and to other frameworks."""
from fusioninn_jax.interop import torch_checkpoint

__all__ = ["torch_checkpoint"]
