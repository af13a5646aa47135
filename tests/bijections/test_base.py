"""What holds for every bijection: mistakes are named, params and conditions may have any structure, help is readable.

Mostly by tracing alone, without compiling.
"""

import functools
import pydoc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from fusioninn_jax import bijections as bj
from fusioninn_jax.models.conditioners import dense_conditioner
from tests import tolerances
from tests.bijections.members import batch, drawn
from tests.chosen import chosen

KEY = jax.random.key(0)
DENSE = dense_conditioner(8)


def of(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


X, CONDITION = of(6, 5), of(6, 2)
IMAGE = of(2, 4, 4, 2)


def conditional(backward="stored"):
    block = bj.chain(bj.actnorm(), bj.convolution1x1(), bj.coupling(*DENSE), backward=backward)
    return bj.scan(block, 2, backward=backward)


def traced(flow, *made_for, given=None, direction="forward"):
    """Shapes of a direction, with params for `made_for`."""
    params = jax.eval_shape(flow.init, KEY, *made_for)
    return jax.eval_shape(getattr(flow, direction), params, *(made_for if given is None else given))


@pytest.mark.parametrize(
    "make,got",
    [
        (lambda: bj.chain([bj.identity()]), "chain takes a Bijection; got list"),
        (lambda: bj.chain(bj.actnorm, bj.squeeze()), r"got function: call it, actnorm\(...\)"),
        (lambda: bj.scan(3, bj.identity()), "scan takes a Bijection; got int"),
        (lambda: bj.split(bj.squeeze, (4, 4, 2)), r"split .* call it, squeeze\(...\)"),
        (lambda: bj.on_channels((0, 1), bj.squeeze()), "on_channels takes a Bijection; got tuple"),
        (lambda: bj.coupling(DENSE), "a conditioner and its init, two functions; got tuple"),
        (lambda: bj.half_coupling(*DENSE, transformer=bj.affine), "takes a Transformer, such as affine.*got function"),
    ],
)
def test_what_is_no_bijection_is_named_where_it_is_given(make, got):
    with pytest.raises(TypeError, match=got):
        make()


@pytest.mark.parametrize("around", [lambda own: bj.chain(own), lambda own: bj.scan(own, 2)])
@pytest.mark.parametrize("shape", [(), (6, 5)])
def test_a_log_det_that_is_not_one_value_an_example_is_refused(around, shape):
    own = bj.Bijection(lambda key, x: {}, lambda _, x: (x, jnp.zeros(shape)), lambda _, y: (y, jnp.zeros(shape)))
    with pytest.raises(ValueError, match=r"gave a log_det of shape .*; expected one value an example, \(6,\)"):
        traced(around(own), X)


@pytest.mark.parametrize("params", [{"scale": 0, "bias": 0}, [{}], [{}, {}, {}]])
@pytest.mark.parametrize("backward", ["stored", "rebuilt"])
def test_params_of_another_chain_are_refused(params, backward):
    flow = bj.chain(bj.identity(), bj.identity(), backward=backward)
    with pytest.raises(ValueError, match="a chain of 2 bijections takes as many params; got"):
        jax.eval_shape(flow.forward, params, X)


@pytest.mark.parametrize("kind", [tuple, list])
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_gradients_have_the_structure_of_the_params(kind, direction):
    flow = bj.chain(bj.coupling(*DENSE), bj.orthogonal(), backward="rebuilt")
    params = kind(jax.eval_shape(flow.init, KEY, X))
    gradient = jax.eval_shape(jax.grad(lambda params, x: getattr(flow, direction)(params, x)[0].sum()), params, X)
    assert jax.tree.structure(gradient) == jax.tree.structure(params)


def deep_of(backward):
    block = bj.chain(bj.orthogonal(), bj.coupling(*DENSE), backward=backward)
    return bj.chain(bj.actnorm(), bj.scan(block, 2, backward=backward), backward=backward)


def loss_of(flow, direction, inputs):
    y, log_det = getattr(flow, direction)(inputs["params"], inputs["x"], inputs["condition"])
    return jnp.sin(y).sum() + log_det.sum()


@functools.cache
def two_of_which_one_varies(varying, direction):
    """Inputs of which one has an axis in front, of the two devices, and the gradient of the sum over both."""
    x, condition = (np.cos(np.arange(3 * n, dtype=np.float32)).reshape(3, n) for n in (4, 2))
    inputs = {"params": drawn(deep_of("stored").init, x, condition), "x": x, "condition": condition}
    both = inputs | {varying: jax.tree.map(lambda leaf: np.stack([leaf, 1.1 * np.asarray(leaf)]), inputs[varying])}
    axes = {name: 0 if name == varying else None for name in both}

    def summed(both):
        return jax.vmap(functools.partial(loss_of, deep_of("stored"), direction), (axes,))(both).sum()

    return both, jax.jit(jax.grad(summed))(both)


@pytest.mark.parametrize("backward", ["stored", "rebuilt"])
@pytest.mark.parametrize("direction", chosen(["forward", "inverse"], ["inverse"]))
@pytest.mark.parametrize("varying", ["condition", "params", "x"])
def test_any_of_the_inputs_may_be_the_one_that_differs_between_devices(backward, direction, varying):
    """Members of an ensemble on the same data, or the same draws under many conditions."""
    both, expected = two_of_which_one_varies(varying, direction)
    mesh = jax.make_mesh((2,), ("device",), axis_types=(AxisType.Auto,))

    @functools.partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=({name: P("device") if name == varying else P() for name in both},),
        out_specs=P(),
    )
    def mapped(both):
        own = both | {varying: jax.tree.map(lambda leaf: leaf[0], both[varying])}
        return jax.lax.psum(loss_of(deep_of(backward), direction, own), "device")

    found = jax.jit(jax.grad(mapped))(both)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerances.TRANSFORMED_F32, atol=tolerances.TRANSFORMED_F32)


def looking(params, u, channels, condition):
    """Of a condition that holds numbers, integers and keys."""
    noise = jax.vmap(jax.random.normal)(condition["key"])
    seen = u.sum(-1, keepdims=True) + condition["numbers"] + (condition["label"] * noise)[:, None]
    return params["scale"] * jnp.tanh(seen) * jnp.ones(2 * channels)


@pytest.mark.parametrize("backward", ["stored", "rebuilt"])
@pytest.mark.parametrize("compose", [bj.chain, lambda block, backward: bj.scan(block, 2, backward=backward)])
def test_a_condition_may_hold_labels_and_keys(compose, backward):
    flow = compose(bj.coupling(looking, lambda *_: {"scale": jnp.ones(())}), backward=backward)

    def loss(numbers, x, label, key):
        condition = {"numbers": numbers, "label": label, "key": jax.random.split(key, 6)}
        return bj.flow_log_prob(flow, flow.init(KEY, x, condition), x, condition).sum()

    assert jax.eval_shape(jax.grad(loss), of(6, 1), X, of(6, dtype=jnp.int32), KEY).shape == (6, 1)


@pytest.mark.parametrize("flow", [conditional(), bj.coupling(*DENSE), bj.squeeze().inverted(), bj.logit(shrinkage=0.1)])
def test_help_begins_with_what_a_direction_takes(flow):
    for method in (flow.forward, flow.inverse):
        page = pydoc.render_doc(method, renderer=pydoc.plaintext)
        assert "(params: 'Params', x: 'jax.Array', condition: 'Condition' = None)" in page[:300]
        assert method.__doc__.splitlines()[0] in page
        assert "lambda" not in page and " at 0x" not in page[:300]
    assert len(repr(conditional())) < 2000


def test_reverse_over_reverse_is_a_hessian_under_rebuilt():
    with jax.enable_x64(True):
        x = np.random.default_rng(0).standard_normal((1, 3))
        stored, rebuilt = (
            bj.chain(bj.coupling(*DENSE), bj.orthogonal(), bj.coupling(*DENSE), backward=backward)
            for backward in ("stored", "rebuilt")
        )
        params = drawn(stored.init, x)

        def loss(flow):
            return lambda x: jnp.sin(bj.flow_log_prob(flow, params, x)).sum()

        expected = jax.jit(jax.hessian(loss(stored)))(x)
        found = jax.jit(jax.jacrev(jax.grad(loss(rebuilt))))(x)
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(found, expected, atol=tolerances.GOLDEN_F64)


@pytest.mark.parametrize("backward", ["stored", "rebuilt"])
def test_members_that_know_no_condition_may_stand_where_there_is_none(backward):
    def forward(params, x):
        return x * 2, jnp.full(len(x), x[0].size * jnp.log(2.0))

    def inverse(params, y):
        return y / 2, jnp.full(len(y), -y[0].size * jnp.log(2.0))

    plain = bj.Bijection(lambda key, x: {}, forward, inverse)
    flow, x = bj.chain(bj.actnorm(), plain, backward=backward), batch((5, 3))
    params = drawn(flow.init, x)
    gradient = jax.jit(jax.grad(lambda x: flow.forward(params, x)[0].sum()))(x)
    expected = np.broadcast_to(2 * np.exp(params[0]["scale"]), x.shape)
    np.testing.assert_allclose(gradient, expected, rtol=tolerances.SUM_F32)
