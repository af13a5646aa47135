"""The processes that gpu_rivals.py starts; of no use alone.

`weights FOLDER` writes one model's weights there. `time FOLDER KIND BATCH SIZE END` compiles what it can until that
second of the clock, says "ready", waits for a line, and then prints a row of JSON for each form.
"""

from __future__ import annotations

import json
import pathlib
import signal
import sys
import time
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from benchmarks.gpu_cases import Case, one_line, timed
from benchmarks.our_model import sources
from benchmarks.torch_model import Torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# (form, precision, CUDA graphs), the likeliest best first
CHOICES = [
    ("eager", "float32", False),
    ("eager", "TF32", False),
    ("channels_last", "float32", False),
    ("channels_last", "TF32", False),
    ("channels_last", "bfloat16", False),
    ("compiled", "TF32", False),
    ("channels_last, compiled", "bfloat16", False),
    ("channels_last, compiled", "TF32", False),
    ("compiled", "float32", False),
    ("compiled", "TF32", True),
    ("channels_last, compiled", "bfloat16", True),
    ("compiled", "bfloat16", False),
    ("compiled", "float32", True),
]


class OutOfTime(BaseException):
    """The time for compiling is over. No Exception, which the compiler would catch."""


def stop(*_: Any) -> None:
    raise OutOfTime


def set_precision(precision: str) -> None:
    """TF32 where it is asked for, in products and convolutions."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "TF32"


class Candidate:
    """One form on one case."""

    def __init__(self, choice: tuple[str, str, bool], case: Case, images: np.ndarray, state: Any) -> None:
        form, self.precision, self.graphs = choice
        self.name = form + (", CUDA graphs" if self.graphs else "")
        set_precision(self.precision)
        self.side = Torch(form, images, DEVICE, half=self.precision == "bfloat16", graphs=self.graphs, state=state)
        self.call = {"step": self.side.queue_step, "fuse": self.side.fuse, "decompose": self._decompose}[case.kind]
        self.given = self.side.images[:, :1].contiguous(), self.side.draw()

    def _decompose(self) -> torch.Tensor:
        return self.side.decompose(*self.given)

    def run(self) -> Any:
        """One call, queued."""
        if self.graphs:
            torch.compiler.cudagraph_mark_step_begin()
        return self.call()

    def row(self) -> list[Any]:
        """Name, precision, seconds, seconds queued, MB beside what was there before (not known of graphs)."""
        set_precision(self.precision)
        self.run()
        wait(None)
        before = memory(reset=True)
        times = timed(self.run, wait)
        return [self.name, self.precision, *times, None if self.graphs or DEVICE == "cpu" else memory() - before]


def wait(_: Any) -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def memory(*, reset: bool = False) -> float:
    """MB in use at the peak since the last reset, or now."""
    if DEVICE == "cpu":
        return 0.0
    if reset:
        torch.cuda.reset_peak_memory_stats()
    return (torch.cuda.memory_allocated() if reset else torch.cuda.max_memory_allocated()) / 2**20


def compiled_in_time(case: Case, images: np.ndarray, state: Any, end: float) -> list[Candidate]:
    """The forms that could be built, each called once or twice."""
    signal.alarm(max(1, int(end - time.time())))
    ready = []
    for choice in CHOICES:
        if (choice[2] and DEVICE == "cpu") or time.time() > end:
            continue
        try:
            candidate = Candidate(choice, case, images, state)
            for _ in range(3 if choice[2] else 1):
                candidate.run()
            wait(None)
            ready.append(candidate)
        except OutOfTime:
            break
        except Exception as error:
            print(one_line(error), file=sys.stderr, flush=True)
    signal.alarm(0)
    return ready


def measure(folder: pathlib.Path, case: Case, end: float) -> None:
    signal.signal(signal.SIGALRM, stop)
    state = dict(np.load(folder / "weights.npz"))
    images = np.ascontiguousarray(sources(case.batch, case.size).transpose(0, 3, 1, 2))
    ready = compiled_in_time(case, images, state, end)
    print("ready", flush=True)
    sys.stdin.readline()
    torch.backends.cudnn.benchmark = True  # only now: nobody else is on the card
    if case.kind == "fuse" and ready:
        save_images(folder / f"{case.kind}-{case.batch}.npz", ready[0].side)
    for candidate in ready:
        try:
            print(json.dumps(candidate.row()), flush=True)
        except Exception as error:
            print(f"failed: {candidate.name}, {candidate.precision}: {one_line(error)}", flush=True)
    print("done", flush=True)
    time.sleep(60)  # until it is ended, so that its end disturbs no timing


def save_images(path: pathlib.Path, side: Torch) -> None:
    set_precision("float32")
    fused = side.fuse()
    images = (*fused, *side.decompose(*fused).split(1, 1))
    np.savez(path, *(image.float().cpu().numpy() for image in images))


def main() -> None:
    what, folder, *rest = sys.argv[1:]
    if what == "weights":
        state = Torch("eager", sources(2, 64).transpose(0, 3, 1, 2)).state()
        np.savez(pathlib.Path(folder) / "weights.npz", **state)
    else:
        kind, batch, size, end = rest
        measure(pathlib.Path(folder), Case(kind, int(batch), int(size)), float(end))


if __name__ == "__main__":
    main()
