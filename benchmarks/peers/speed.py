"""Speed beside Distrax and FrEIA, equal weights: `python benchmarks/peers/speed.py`. Needs the extra `peers`.

Sixteen couplings on 64x64x4 images, batch 8 (`couplings.py`): first that all give the same values, then a Markdown
table of seconds to trace and compile, milliseconds of a call (interleaved, median), and what XLA plans for temporary
buffers; and the largest difference from this package's values.
"""

import argparse
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))  # to run from a clone that is not installed

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from benchmarks.peers import couplings

OURS = ("scan stored", "scan rebuilt", "chain stored", "chain rebuilt")
TASKS = ("forward", "inverse", "gradient")


def compiled(flow, params, x):
    """Each task's compiled function, its seconds to make, and planned MB."""
    functions = {
        "forward": flow.forward,
        "inverse": flow.inverse,
        "gradient": jax.grad(lambda params, x: couplings.loss(flow, params, x)),
    }
    result = {}
    for task, function in functions.items():
        start = time.perf_counter()
        made = jax.jit(function).lower(params, x).compile()
        result[task] = made, time.perf_counter() - start, made.memory_analysis().temp_size_in_bytes / 2**20
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=11)
    args = parser.parse_args()
    x = np.random.default_rng(0).normal(size=(args.batch, 64, 64, couplings.CHANNELS)).astype(np.float32)
    params = couplings.weights(x)
    sides = {f"this package, {kind}": compiled(couplings.ours(kind), params, x) for kind in OURS}
    sides["Distrax"] = compiled(couplings.distrax(), params, x)
    freia, tensor = couplings.Freia(params), couplings.Freia(params).batch(x)
    expected, log_det = sides["this package, scan stored"]["forward"][0](params, x)
    theirs, their_log_det = sides["Distrax"]["forward"][0](params, x)
    freias, freias_log_det = freia.forward(tensor)
    for name, y, own in (
        ("Distrax", theirs, their_log_det),
        ("FrEIA", freias.numpy().transpose(0, 2, 3, 1), freias_log_det.numpy()),
    ):
        print(
            f"{name}: values differ by {np.abs(y - expected).max():.1e}, log-dets by "
            f"{np.abs(own - log_det).max() / np.abs(log_det).max():.1e} of theirs"
        )
    calls = {}
    for name, tasks in sides.items():
        for task, (function, _, _) in tasks.items():
            given = expected if task == "inverse" else jnp.asarray(x)
            calls[name, task] = lambda function=function, given=given: jax.block_until_ready(function(params, given))
    calls |= {("FrEIA", task): lambda task=task: getattr(freia, task)(tensor) for task in TASKS}
    print(f"\njax {jax.__version__}, {jax.devices()[0].device_kind}, batch {args.batch}\n")
    with timing.watched():
        seconds = timing.interleaved(calls, args.repeats)
    heads = ["", *(f"{task}, ms" for task in TASKS), *(f"compile {task}, s" for task in TASKS), "gradient, planned MB"]

    def rows():
        for name in [*sides, "FrEIA"]:
            tasks = sides.get(name)
            made = [f"{tasks[task][1]:.1f}" for task in TASKS] + [f"{tasks['gradient'][2]:.0f}"] if tasks else [""] * 4
            yield [name, *(f"{1000 * seconds[name, task]:.0f}" for task in TASKS), *made]

    timing.print_table(heads, rows())
    peers = min(seconds[name, "gradient"] for name in ("Distrax", "FrEIA"))
    for kind in ("scan stored", "scan rebuilt"):
        own = seconds[f"this package, {kind}", "gradient"]
        print(f"\ngradient, {kind}: {peers / own:.2f} times as fast as the fastest peer")


if __name__ == "__main__":
    main()
