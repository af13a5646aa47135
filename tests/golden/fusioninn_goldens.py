"""Our k = 3 `official` model and its loss on the authors' weights, for comparison with their numbers."""

from __future__ import annotations

import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fusioninn_jax import latent_losses, losses, models
from fusioninn_jax.interop.torch_checkpoint import convert
from fusioninn_jax.models.fusioninn import make_flow
from tests.golden import portable_inputs

FOLDER = pathlib.Path(__file__).parent


class Case(NamedTuple):
    """One set of golden numbers; images NCHW as PyTorch gives them."""

    images: np.ndarray
    mmd_target: np.ndarray
    resampled: np.ndarray
    state: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]
    trajectory: np.ndarray


PARTS = (
    "ssim_fused_1",
    "ssim_fused_2",
    "l2_fused_1",
    "l2_fused_2",
    "mmd",
    "ssim_dec_1",
    "ssim_dec_2",
    "l2_dec_1",
    "l2_dec_2",
    "total",
)
_PORTABLE_PARTS = ("s1", "s2", "l1", "l2", "mmd", "d1", "d2", "e1", "e2", "total")


def portable(folder: Any) -> Case:
    """The case whose inputs and weights are made from seeds."""
    numbers = np.load(folder / "portable.npz")
    gradients = {key.removeprefix("inn_grad:"): numbers[key] for key in numbers.files if key.startswith("inn_grad:")}
    state = {key: portable_inputs.fill(key, value.shape) for key, value in gradients.items()}
    state |= {"module_list.2.perm": numbers["inn_perm2"], "module_list.5.perm": numbers["inn_perm8"]}
    images, target, resampled = portable_inputs.fusioninn_input()
    expected = {name: numbers[f"inn_loss_{short}"] for name, short in zip(PARTS, _PORTABLE_PARTS, strict=True)}
    expected |= {
        name: numbers[f"inn_{name}"] for name in ("fused_raw", "latent", "log_det", "decomposed", "log_det_inverse")
    }
    return Case(images, target, resampled, state, gradients, expected, numbers["inn_adam_lr3e-4_loss"])


def real(folder: Any) -> Case:
    """The case on crops of real slices."""
    numbers = np.load(folder / "fusioninn.npz")

    def with_prefix(prefix: str) -> dict[str, np.ndarray]:
        return {key.removeprefix(prefix): numbers[key] for key in numbers.files if key.startswith(prefix)}

    return Case(
        numbers["input_nchw"],
        numbers["latent_target"],
        numbers["latent_resampled"],
        with_prefix("w:"),
        with_prefix("grad:"),
        with_prefix("out:"),
        numbers["adam_lr3e-4_loss"],
    )


def nhwc(images: np.ndarray, dtype: Any) -> jax.Array:
    """(B, C, H, W) -> (B, H, W, C)."""
    return jnp.asarray(images.transpose(0, 2, 3, 1).astype(dtype))


class Ours:
    """The same computation by this package, in `dtype`."""

    def __init__(self, case: Case, dtype: Any) -> None:
        self.case, self.dtype = case, dtype
        state = {key: value if "perm" in key else value.astype(dtype) for key, value in case.state.items()}
        self.config, variables = convert("fusioninn", state)
        self.variables = jax.tree.map(jnp.asarray, variables)
        self.model, self.flow = models.get("fusioninn", self.config), make_flow(self.config)
        sources = nhwc(case.images, dtype)
        self.sources = (sources[..., :1], sources[..., 1:])
        self.resampled = nhwc(case.resampled, dtype)

    def outputs(self) -> dict[str, jax.Array]:
        """Forward and inverse pass."""
        params = self.variables["params"]
        y, log_det = self.flow.forward(params, jnp.concatenate(self.sources, -1))
        fused, latent = self.model.fuse(self.variables, *self.sources)
        decomposed = self.model.decompose(self.variables, fused, self.resampled)
        _, log_det_inverse = self.flow.inverse(params, jnp.concatenate([fused, self.resampled], -1))
        return {
            "fused_raw": y[..., :1],
            "latent": latent,
            "log_det": log_det,
            "decomposed": jnp.concatenate(decomposed, -1),
            "log_det_inverse": log_det_inverse,
        }

    def parts(self, variables: Any) -> dict[str, jax.Array]:
        """Every loss part, named as in PARTS."""
        fused, latent = self.model.fuse(variables, *self.sources)
        decomposed = self.model.decompose(variables, fused, self.resampled)
        mmd = latent_losses.mmd_official(latent, jnp.asarray(self.case.mmd_target.astype(self.dtype)))
        pairs = {"fused": [(x, fused) for x in self.sources], "dec": list(zip(self.sources, decomposed, strict=True))}
        parts = {"mmd": mmd}
        for kind, of_kind in pairs.items():
            for number, (a, b) in enumerate(of_kind, 1):
                parts[f"ssim_{kind}_{number}"] = losses.ssim(a, b).mean()
                parts[f"l2_{kind}_{number}"] = losses.l2(a, b).mean()
        loss = losses.LossParts(losses.similarity_loss(pairs["fused"]), losses.similarity_loss(pairs["dec"]), mmd)
        return parts | {"total": losses.total_loss(loss).mean()}

    def relabelled(self, per_key: dict[str, np.ndarray]) -> Any:
        """Arrays under the authors' keys -> a pytree like our params."""
        return convert("fusioninn", self.case.state | per_key)[1]["params"]
