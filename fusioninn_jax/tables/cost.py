"""What a system costs: parameters, arithmetic and time for one pair."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import jax
import jax.extend
import numpy as np

from fusioninn_jax.models import Variables

TIMED_SECONDS = 5.0  # no repetition starts after this long
REPETITIONS = 9


def parameters(variables: Variables) -> int:
    """How many trainable numbers a model's `variables` hold."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables.get("params", {})))


def gflops(function: Callable[..., object], *arguments: object) -> float:
    """Floating-point operations of one call of `function` on `arguments`, in 10⁹, by XLA's count before optimisation.

    XLA counts the body of a loop once; the repetitions of `lax.scan` (and so of `lax.map`) are added here. A
    `while_loop` of unknown length still counts once.
    """
    return _flops(jax.make_jaxpr(function)(*arguments)) / 1e9


def _flops(jaxpr: jax.extend.core.ClosedJaxpr) -> float:
    arguments = [jax.ShapeDtypeStruct(of.shape, of.dtype) for of in jaxpr.in_avals]
    analysis = jax.jit(jax.extend.core.jaxpr_as_fun(jaxpr)).lower(*arguments).cost_analysis() or {}
    repeated = sum((scan.params["length"] - 1) * _flops(scan.params["jaxpr"]) for scan in _scans(jaxpr.jaxpr))
    return float(analysis.get("flops", 0.0)) + repeated


def _scans(jaxpr: jax.extend.core.Jaxpr) -> Iterator[jax.extend.core.JaxprEqn]:
    """The scans of a jaxpr, inside called functions too, but not those inside another scan or a branch."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan":
            yield equation
        elif equation.primitive.name != "cond":
            for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns")):
                if hasattr(inner, "jaxpr"):
                    inner = inner.jaxpr
                if hasattr(inner, "eqns"):
                    yield from _scans(inner)


def milliseconds(function: Callable[..., object], *arguments: object) -> float:
    """Median time of a call of `function`, compiled, on `arguments`."""
    compiled = jax.jit(function)
    jax.block_until_ready(compiled(*arguments))
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < REPETITIONS and (not times or time.perf_counter() - start < TIMED_SECONDS):
        before = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        times.append(time.perf_counter() - before)
    return 1000 * float(np.median(times))
