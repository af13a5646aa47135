"""Densities beside FlowJAX, equal parameters and steps: `python benchmarks/peers/density.py`. Needs the extra `peers`.

Two moons given which moon, and a table (scikit-learn's breast cancer, 30 columns, standardised). Both packages fit
spline couplings by the same optimiser on the same batches; ours get the width that brings them closest to FlowJAX's
number of parameters. Prints a Markdown table: parameters, seconds (interleaved with nothing, so a hint only), and the
held-out log-density per example, mean and range over seeds.
"""

import argparse
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))  # to run from a clone that is not installed

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import Normal
from flowjax.flows import coupling_flow
from sklearn import datasets

from benchmarks import timing
from fusioninn_jax import bijections as bj
from fusioninn_jax.models.conditioners import dense_conditioner

LAYERS, KNOTS, BOUND, WIDTH = 6, 8, 4.0, 40


def moons():
    """x (n, 2) and its moon (n, 1), training and held out."""
    x, which = datasets.make_moons(6000, noise=0.07, random_state=0)
    return _halves(_standard(x), which[:, None].astype(np.float32))


def table():
    """x (n, 30) without a condition."""
    return _halves(_standard(datasets.load_breast_cancer().data), None)


def _standard(x):
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32)


def _halves(x, condition):
    order = np.random.default_rng(0).permutation(len(x))
    cut = int(0.8 * len(x))
    return [(x[part], None if condition is None else condition[part]) for part in (order[:cut], order[cut:])]


def ours(x, condition, width, key):
    """(params, log_prob), couplings with rotations between them."""
    spline = bj.rational_quadratic(bins=KNOTS, bound=BOUND)
    net = dense_conditioner(width, depth=1, parameters=spline.parameters)
    block = bj.chain(bj.half_coupling(*net, transformer=spline), bj.orthogonal())
    flow = bj.scan(block, LAYERS)
    params = flow.init(key, x, condition)
    return params, lambda params, x, condition: bj.flow_log_prob(flow, params, x, condition)


def theirs(x, condition, width, key):
    """The same of FlowJAX's `coupling_flow`."""
    flow = coupling_flow(
        key,
        base_dist=Normal(jnp.zeros(x.shape[-1])),
        flow_layers=LAYERS,
        nn_width=width,
        nn_depth=1,
        transformer=RationalQuadraticSpline(knots=KNOTS, interval=BOUND),
        cond_dim=None if condition is None else condition.shape[-1],
    )
    params, static = eqx.partition(flow, eqx.is_inexact_array)
    return params, lambda params, x, condition: eqx.combine(params, static).log_prob(x, condition)


def parameters(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def fitted_width(x, condition, target):
    """The width with which ours have most nearly as many parameters."""

    def count(width):
        return parameters(jax.eval_shape(lambda key: ours(x, condition, width, key)[0], jax.random.key(0)))

    return min(range(8, 129), key=lambda width: abs(count(width) - target))


def held_out(make, width, data, steps, batch, seed):
    """(parameters, seconds, mean held-out log-density)."""
    (x, condition), (test, test_condition) = data
    first = None if condition is None else condition[:batch]
    params, log_prob = make(x[:batch], first, width, jax.random.key(seed))
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, steps))

    @jax.jit
    def train(params, key):
        def step(carry, key):
            params, state = carry
            rows = jax.random.randint(key, (batch,), 0, len(x))
            given = None if condition is None else jnp.asarray(condition)[rows]
            gradient = jax.grad(lambda params: -log_prob(params, jnp.asarray(x)[rows], given).mean())(params)
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(key, steps))[0][0]

    start = time.perf_counter()
    trained = jax.block_until_ready(train(params, jax.random.key(seed + 100)))
    return parameters(params), time.perf_counter() - start, float(log_prob(trained, test, test_condition).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs=2, default=(4000, 400), help="of the moons, of the table")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()

    def rows():
        for name, data, steps in (("moons", moons(), args.steps[0]), ("table", table(), args.steps[1])):
            x, condition = data[0]
            few = None if condition is None else condition[:2]
            target = parameters(theirs(x, condition, WIDTH, jax.random.key(0))[0])
            width = fitted_width(x[:2], few, target)
            for side, make, own in (("FlowJAX", theirs, WIDTH), ("this package", ours, width)):
                found = [held_out(make, own, data, steps, args.batch, seed) for seed in range(args.seeds)]
                scores = [score for *_, score in found]
                yield [
                    name,
                    side,
                    found[0][0],
                    f"{np.mean([seconds for _, seconds, _ in found]):.0f}",
                    f"{np.mean(scores):.3f} ({min(scores):.3f} to {max(scores):.3f})",
                ]

    print(f"{args.steps[0]} and {args.steps[1]} steps of batch {args.batch}, {args.seeds} seeds\n")
    timing.print_table(["data", "", "parameters", "s, with compiling", "held-out log-density"], rows())


if __name__ == "__main__":
    main()
