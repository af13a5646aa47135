"""tables.cost: arithmetic by XLA's count with the repetitions of loops, parameters, and time."""

import jax
import jax.numpy as jnp
import pytest

from fusioninn_jax.tables import cost
from tests import tolerances


def test_flops_count_the_repetitions_of_loops():
    def product(x):
        return x @ x

    def repeated(x):
        return jax.lax.scan(lambda carry, _: (product(carry), None), x, length=7)[0]

    x = jnp.ones((16, 16))
    once = cost.gflops(product, x)
    assert once == pytest.approx(2 * 16**3 / 1e9)
    assert cost.gflops(jax.jit(lambda x: repeated(jax.jit(repeated)(x))), x) == pytest.approx(
        14 * once, rel=tolerances.COARSE
    )
    assert 0 < cost.milliseconds(product, x) < 1000
    assert cost.parameters({"params": {"a": x}, "batch_stats": {"b": x}}) == 256
