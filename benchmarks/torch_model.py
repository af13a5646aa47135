"""FusionINN in PyTorch, with the blocks of the FrEIA package and pytorch-msssim: what train_step.py and inference.py
measure against.

The k = 3 model, its loss (SSIM + l2 + MMD, λ = 0.8, α = 0.5) and its optimiser (Adam, 3e-4) as the paper states them,
in the forms of `FORMS`. `eager` is the authors' form: NCHW, nothing compiled. Weights go over to our model by way of
`interop.torch_checkpoint`, so that both sides compute the same numbers. gpu.py adds the precisions of a card and its
graphs.
"""

from __future__ import annotations

import importlib.metadata
import os
import warnings
from typing import Any

import numpy as np

from fusioninn_jax.runtime.errors import UserError

try:
    import pytorch_msssim
    import torch
    from FrEIA import framework, modules
except ImportError as missing:
    raise UserError(f"{missing.name} is not installed; run `pip install -e '.[bench]'` first") from missing

WIDTHS = (32, 64, 32)
KERNEL_WIDTHS = (0.05, 0.2, 0.9)
LAMBDA, ALPHA, LEARNING_RATE = 0.8, 0.5, 3e-4
# name -> (channels last, compiled)
FORMS = {
    "eager": (False, False),
    "channels_last": (True, False),
    "compiled": (False, True),
    "channels_last, compiled": (True, True),
}


def use_all_cores() -> int:
    """Lets PyTorch use as many threads as XLA does: one a core that this process may run on. Returns how many."""
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    return threads


def versions() -> str:
    """The packages that are measured."""
    names = ("torch", "FrEIA", "pytorch-msssim")
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


def _subnet(width: int) -> Any:
    def make(channels_in: int, channels_out: int) -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Conv2d(channels_in, width, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(width, channels_out, 3, padding=1),
            torch.nn.ReLU(),
        )

    return make


def make_model(size: int, seed: int = 0) -> Any:
    """The k = 3 flow on (B, 2, size, size): `flow([x]) -> ([y], log_det)`, and back with `rev=True`."""
    torch.manual_seed(seed)
    flow = framework.SequenceINN(2, size, size)
    flow.append(modules.ActNorm)
    for block, width in enumerate(WIDTHS):
        if block == 1:
            flow.append(modules.IRevNetDownsampling)
        flow.append(modules.GLOWCouplingBlock, subnet_constructor=_subnet(width), clamp=2.0, clamp_activation="ATAN")
        if block < len(WIDTHS) - 1:
            flow.append(modules.PermuteRandom)
        if block == 1:
            flow.append(modules.IRevNetUpsampling)
    return flow


def _run(flow: Any, x: torch.Tensor, half: bool, *, rev: bool = False) -> torch.Tensor:
    """The flow alone, its convolutions in bfloat16 where `half` says so; losses are always in float32."""
    if not half:  # no context at all: a disabled one, too, makes the compiler start a new graph
        return flow(x, rev=rev)[0]
    with torch.autocast(x.device.type, torch.bfloat16):
        return flow(x, rev=rev)[0].float()


def fuse(flow: Any, images: torch.Tensor, half: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, 2, H, W) sources -> fused image and latent, (B, 1, H, W) each."""
    y = _run(flow, images, half)
    return torch.sigmoid(y[:, :1]), y[:, 1:]


def decompose(flow: Any, fused: torch.Tensor, latent: torch.Tensor, half: bool = False) -> torch.Tensor:
    """Fused image and latent -> the (B, 2, H, W) sources."""
    return torch.sigmoid(_run(flow, torch.cat([fused, latent], 1), half, rev=True))


def _mmd(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Biased MMD² of two batches with inverse multiquadratic kernels (Gretton et al. 2012, eq. 5)."""
    u, v = u.flatten(1), v.flatten(1)
    total = torch.zeros((), device=u.device)
    for a, b, sign in ((u, u, 1), (v, v, 1), (u, v, -2)):
        distances = ((a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T).clamp(min=0)
        if a is b:
            distances = distances * (1 - torch.eye(len(a), device=a.device))
        total = total + sign * sum((width**2 / (width**2 + distances)).mean() for width in KERNEL_WIDTHS)
    return total


def loss(
    flow: Any, images: torch.Tensor, target: torch.Tensor, fresh: torch.Tensor, half: bool = False
) -> torch.Tensor:
    """The total loss; `target` and `fresh` are N(0, 1) draws of (B, 1, H, W)."""
    fused, latent = fuse(flow, images, half)
    decomposed = decompose(flow, fused, fresh, half)

    def similarity(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return LAMBDA * (1 - pytorch_msssim.ssim(a, b, data_range=1.0)) + (1 - LAMBDA) * ((a - b) ** 2).mean()

    x1, x2 = images[:, :1], images[:, 1:]
    fusion = (similarity(x1, fused) + similarity(x2, fused)) / 2
    decomposition = (similarity(x1, decomposed[:, :1]) + similarity(x2, decomposed[:, 1:])) / 2
    return ALPHA * (fusion + _mmd(latent, target)) + (1 - ALPHA) * decomposition


class Torch:
    """One form of the model, ready to be timed on a batch of NCHW NumPy images.

    Args:
      form: one of `FORMS`.
      images: the batch.
      device: where it runs.
      half: the flow's convolutions in bfloat16.
      graphs: compiled forms are replayed as CUDA graphs.
      state: weights to start from; None: seed 0, and ActNorm adapted to the batch.
    """

    def __init__(
        self,
        form: str,
        images: np.ndarray,
        device: str = "cpu",
        *,
        half: bool = False,
        graphs: bool = False,
        state: dict[str, np.ndarray] | None = None,
    ) -> None:
        channels_last, compiled = FORMS[form]
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.images = torch.from_numpy(images).to(device).contiguous(memory_format=layout)
        flow = make_model(images.shape[-1]).to(device)
        if state is None:
            with torch.no_grad():
                flow(self.images)  # ActNorm adapts to its first batch
        else:
            flow.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
        self.flow = flow.to(memory_format=layout)
        trained = [p for p in flow.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(trained, LEARNING_RATE, fused=device != "cpu")
        self.generator = torch.Generator(device).manual_seed(0)
        mode = "reduce-overhead" if graphs else None
        self.half = half

        def wrap(function: Any) -> Any:
            return torch.compile(function, mode=mode) if compiled else function

        self._loss, self._fuse, self._decompose = wrap(loss), wrap(fuse), wrap(decompose)

    def draw(self) -> torch.Tensor:
        """Fresh N(0, 1) latents for the batch."""
        return torch.randn(self.images[:, :1].shape, generator=self.generator, device=self.images.device)

    def queue_step(self) -> torch.Tensor:
        """One training step, its two draws of noise included; the loss before it, perhaps still being computed."""
        self.optimizer.zero_grad(set_to_none=True)
        value = self._loss(self.flow, self.images, self.draw(), self.draw(), self.half)
        value.backward()
        self.optimizer.step()
        return value.detach()

    def step(self) -> float:
        """The same, awaited."""
        return self.queue_step().item()

    def state(self) -> dict[str, np.ndarray]:
        """The weights by the authors' keys."""
        return {key: value.detach().contiguous().cpu().numpy() for key, value in self.flow.state_dict().items()}

    @torch.no_grad()
    def fuse(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self._fuse(self.flow, self.images, self.half)

    @torch.no_grad()
    def decompose(self, fused: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        return self._decompose(self.flow, fused, latent, self.half)


warnings.filterwarnings("ignore", module="torch")
