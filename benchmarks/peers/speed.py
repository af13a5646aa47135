"""Speed beside Distrax, FrEIA and FlowJAX, equal weights: `python benchmarks/peers/speed.py`. Needs the extra `peers`.

Sixteen couplings (`couplings.py`), on 64x64x4 images, batch 8, and on vectors: first that all give the same values,
then a Markdown table each of milliseconds of a call (interleaved, median), seconds of the processor to trace and
compile, and what XLA plans for a gradient's temporary buffers; of FrEIA by how much the process grows in the first
gradient. Last, how many times as fast as the fastest peer ours are: the median of each round's ratio.
"""

import argparse
import pathlib
import statistics
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
    """Each task's compiled function, its processor seconds to make, and planned MB."""
    functions = {
        "forward": flow.forward,
        "inverse": flow.inverse,
        "gradient": jax.grad(lambda params, x: couplings.loss(flow, params, x)),
    }
    result = {}
    for task, function in functions.items():
        start = time.process_time()
        made = jax.jit(function).lower(params, x).compile()
        result[task] = made, time.process_time() - start, made.memory_analysis().temp_size_in_bytes / 2**20
    return result


def agree(name, result, expected):
    """Prints how far values and log-dets of a peer are from ours."""
    (y, log_det), (own, own_log_det) = result, expected
    print(
        f"{name}: values differ by {np.abs(y - own).max():.1e}, log-dets by "
        f"{np.abs(log_det - own_log_det).max() / np.abs(own_log_det).max():.1e} of theirs"
    )


def calls_of(sides, params, x, y):
    """Every task of every side as a call without arguments."""
    return {
        (name, task): lambda function=function, given=y if task == "inverse" else x: jax.block_until_ready(
            function(params, given)
        )
        for name, tasks in sides.items()
        for task, (function, _, _) in tasks.items()
    }


def compare(title, sides, calls, repeats, torch_mb=None):
    """Prints the table of one kind of arrays."""
    print(f"\n{title}, jax {jax.__version__}, {jax.devices()[0].device_kind}\n")
    with timing.watched():
        times = timing.rounds(calls, repeats)
    heads = [
        "",
        *(f"{task}, ms" for task in TASKS),
        *(f"compile {task}, s" for task in TASKS),
        "memory of a gradient, MB",
    ]
    names = list(dict.fromkeys(name for name, _ in calls))

    def rows():
        for name in names:
            tasks = sides.get(name)
            made = [f"{tasks[task][1]:.1f}" for task in TASKS] if tasks else [""] * 3
            memory = tasks["gradient"][2] if tasks else torch_mb
            milliseconds = (f"{1000 * statistics.median(times[name, task]):.1f}" for task in TASKS)
            yield [name, *milliseconds, *made, f"{memory:.0f}"]

    timing.print_table(heads, rows())
    peers = [name for name in names if name not in OURS]
    print()
    for kind in OURS:
        ratios = []
        for task in TASKS:
            fastest = [min(of_round) for of_round in zip(*(times[name, task] for name in peers), strict=True)]
            pairs = zip(fastest, times[kind, task], strict=True)
            ratios.append(f"{task} {statistics.median(peer / own for peer, own in pairs):.2f}")
        print(f"{kind}: {', '.join(ratios)} times as fast as the fastest peer")


def images(batch, repeats):
    """Distrax and FrEIA beside ours."""
    x = np.random.default_rng(0).normal(size=(batch, 64, 64, couplings.CHANNELS)).astype(np.float32)
    params = couplings.weights(x)
    freia = couplings.Freia(params)
    tensor = freia.batch(x)
    freia.forward(tensor)
    before = timing.resident_mb()
    timing.reset_peak()
    freia.gradient(tensor)
    grown = timing.resident_mb(peak=True) - before
    sides = {kind: compiled(couplings.ours(kind), params, x) for kind in OURS}
    sides["Distrax"] = compiled(couplings.distrax(), params, x)
    expected = sides["scan stored"]["forward"][0](params, x)
    agree("Distrax", sides["Distrax"]["forward"][0](params, x), expected)
    theirs, log_det = freia.forward(tensor)
    agree("FrEIA", (theirs.numpy().transpose(0, 2, 3, 1), log_det.numpy()), expected)
    calls = calls_of(sides, params, jnp.asarray(x), expected[0])
    calls |= {("FrEIA", task): lambda task=task: getattr(freia, task)(tensor) for task in TASKS}
    compare(f"64x64x{couplings.CHANNELS} images, batch {batch}", sides, calls, repeats, grown)


def vectors(batch, repeats):
    """FlowJAX beside ours."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(batch, couplings.DIM)).astype(np.float32))
    params = couplings.our_vectors("scan stored").init(jax.random.key(0), x)
    sides = {kind: compiled(couplings.our_vectors(kind), params, x) for kind in OURS}
    sides["FlowJAX"] = compiled(couplings.flowjax(), params, x)
    expected = sides["scan stored"]["forward"][0](params, x)
    agree("FlowJAX", sides["FlowJAX"]["forward"][0](params, x), expected)
    compare(f"vectors of {couplings.DIM}, batch {batch}", sides, calls_of(sides, params, x, expected[0]), repeats)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8, help="of images; of vectors it is 512 times as many")
    parser.add_argument("--repeats", type=int, default=11)
    args = parser.parse_args()
    images(args.batch, args.repeats)
    vectors(512 * args.batch, args.repeats)


if __name__ == "__main__":
    main()
