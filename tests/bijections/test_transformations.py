"""Every member under every transformation of JAX: what docs/bijections.md promises."""

import functools
import pickle
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from tests import tolerances
from tests.bijections.members import REPRESENTATIVE, TABLE, batch, condition_of, prepared
from tests.chosen import chosen


@pytest.fixture(params=TABLE, name="case")
def case_fixture(request):
    return TABLE[request.param]


@pytest.fixture(params=REPRESENTATIVE, name="member")
def member_fixture(request):
    return TABLE[request.param]


class Alone(NamedTuple):
    """What the transformed calls of a member are compared with: of its batch, compiled once by itself."""

    y: np.ndarray
    log_det: np.ndarray
    loss: np.ndarray
    gradients: Any  # of the loss, by params, x and the condition where there is one


@functools.cache
def alone_of(case):
    _, *inputs = prepared(case)
    of_all = jax.value_and_grad(loss_of(case), (0, 1, 2) if case.condition else (0, 1), has_aux=True)
    (loss, (y, log_det)), gradients = jax.tree.map(np.asarray, jax.jit(of_all)(*inputs))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    return Alone(y, log_det, loss, gradients)


@pytest.fixture
def alone(member):
    return alone_of(member)


BFLOAT16 = TABLE["coupling_bfloat16_conditioner"]  # rounds anew in every compilation


def close(ours, theirs, case):
    tolerance = tolerances.BFLOAT16 if case is BFLOAT16 else tolerances.TRANSFORMED_F32
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1, np.abs(b).max(initial=0)))


def loss_of(case):
    """(loss, what forward gives) of the arguments of forward."""

    def loss(params, x, condition):
        y, log_det = case.bijection.forward(params, x, condition)
        return jnp.sin(y).sum().astype(log_det.dtype) + log_det.sum(), (y, log_det)

    return loss


def loss_alone(case):
    return lambda *of: loss_of(case)(*of)[0]


def doubled(tree):
    return jax.tree.map(lambda leaf: np.concatenate([leaf, leaf]), tree)


def test_gradients_of_a_checkpoint_in_a_scan(member, alone):
    _, *inputs = prepared(member)
    loss = loss_alone(member)

    def looped(*inputs):
        return jax.lax.scan(lambda total, _: (total + jax.checkpoint(loss)(*inputs), None), jnp.zeros(()), length=2)[0]

    found = jax.jit(jax.grad(looped, (0, 1)))(*inputs)
    close(found, jax.tree.map(lambda leaf: 2 * leaf, alone.gradients[:2]), member)


def test_forward_mode_also_over_reverse(member):
    """Lowered; values are those of the next two tests, and of the Jacobians of `test_bijections`."""
    _, *inputs = prepared(member)

    def twice(*inputs):
        return jax.jvp(loss_alone(member), inputs, inputs), jax.jvp(jax.grad(loss_alone(member), 1), inputs, inputs)

    if member.rebuilt:
        with pytest.raises(TypeError, match="forward-mode"):
            jax.jit(twice).lower(*inputs)
    else:
        jax.jit(twice).lower(*inputs)


FORWARD_MODE = [name for name in REPRESENTATIVE if not TABLE[name].rebuilt]


@pytest.mark.parametrize("name", chosen(FORWARD_MODE, ["coupling_conv", "chain_conditional"]))
def test_forward_mode_goes_along_the_gradient(name):
    _, *inputs = prepared(TABLE[name])
    tangents = jax.tree.map(np.cos, tuple(inputs))
    _, along = jax.jit(lambda *of: jax.jvp(loss_alone(TABLE[name]), of, tangents))(*inputs)
    gradients = alone_of(TABLE[name]).gradients
    products = [np.vdot(g, t) for g, t in zip(*map(jax.tree.leaves, (gradients, tangents)), strict=True)]
    close(np.asarray(sum(products)), along, TABLE[name])


SECOND = ["coupling_conv", "coupling_conditional", "coupling_spline", "convolution1x1", "scan", "logit_tails"]


@pytest.mark.parametrize("name", SECOND)
def test_hessians_are_symmetric_and_those_of_differences(name):
    with jax.enable_x64(True):
        case = TABLE[name]
        _, params, x, condition = prepared(case, jnp.float64)
        one, given = np.asarray(x)[:1], None if condition is None else condition[:1]

        @jax.jit
        def derivatives(row):
            def gradient(row):
                value = jax.grad(loss_alone(case), 1)(params, row, given)
                return value, value

            return jax.jacfwd(gradient, has_aux=True)(row)

        step, direction = 1e-6, np.cos(np.arange(one.size)).reshape(one.shape)
        hessian, _ = derivatives(one)
        hessian = np.asarray(hessian).reshape(one.size, one.size)
        ahead, behind = (np.asarray(derivatives(one + sign * step * direction)[1]).ravel() for sign in (1, -1))
        np.testing.assert_allclose(hessian, hessian.T, atol=tolerances.GOLDEN_F64)
        np.testing.assert_allclose(
            hessian @ direction.ravel(), (ahead - behind) / (2 * step), rtol=tolerances.SUM_F32, atol=tolerances.SUM_F32
        )


def test_vmap_and_donation(member, alone):
    bijection, params, x, condition = prepared(member)
    given = jax.device_put(np.stack([x, x]))
    mapped = jax.jit(jax.vmap(bijection.forward, in_axes=(None, 0, None)), donate_argnums=1)
    close(mapped(params, given, condition), (np.stack([alone.y] * 2), np.stack([alone.log_det] * 2)), member)


def on_two_devices(case):
    """The mesh, inputs of twice the batch, shared by two devices, and the loss and gradients that they should give."""
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,))
    _, params, *arrays = prepared(case)
    of_params, of_x = alone_of(case).gradients[:2]
    expected = 2 * alone_of(case).loss, (jax.tree.map(lambda leaf: 2 * leaf, of_params), doubled(of_x))
    return mesh, (params, *jax.device_put(doubled(arrays), NamedSharding(mesh, P("batch")))), expected


def test_shard_map(member):
    """Loss and gradients, the same on both devices; shard_map checks what varies between them."""
    mesh, inputs, expected = on_two_devices(member)

    @functools.partial(jax.shard_map, mesh=mesh, in_specs=(P(), P("batch"), P("batch")), out_specs=P())
    def mapped(params, x, condition):
        return jax.lax.psum(loss_alone(member)(params, x, condition), "batch")

    close(jax.jit(jax.value_and_grad(mapped, (0, 1)))(*inputs), expected, member)


@pytest.mark.parametrize("name", chosen(REPRESENTATIVE, ["coupling_conv", "chain_rebuilt"]))  # XLA does the rest
def test_named_sharding(name):
    _, inputs, expected = on_two_devices(TABLE[name])
    close(jax.jit(jax.value_and_grad(loss_alone(TABLE[name]), (0, 1)))(*inputs), expected, TABLE[name])


@pytest.mark.parametrize("name", ["rescale", "on_channels", "on_channels_conditional", "scan_rebuilt"])
def test_explicit_axes(name):
    case = TABLE[name]
    _, params, x, condition = prepared(case)
    x, condition = doubled(x), doubled(condition)
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Explicit,))

    def everything(x, condition):  # a condition that is closed over keeps its sharding where it is traced
        return jax.jit(jax.value_and_grad(lambda *of: loss_of(case)(*of, condition), (0, 1), has_aux=True))(params, x)

    expected = everything(x, condition)
    with jax.set_mesh(mesh):
        placed = jax.device_put((x, condition), NamedSharding(mesh, P("batch")))
        found = everything(*placed)
        (_, (y, log_det)), _ = found
        assert jax.typeof(y).sharding.spec[0] == jax.typeof(log_det).sharding.spec[0] == "batch"
        close(found, expected, case)


def test_export_with_an_open_batch(member, alone):
    bijection, params, x, condition = prepared(member)
    (b,) = export.symbolic_shape("b")
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((b, *leaf.shape[1:]), leaf.dtype), (x, condition))
    exported = export.export(jax.jit(functools.partial(bijection.forward, params)))(*shapes)
    close(export.deserialize(exported.serialize()).call(x, condition), (alone.y, alone.log_det), member)


def dtypes_of_directions(case, dtype):
    """Traced for a batch of `dtype`, gradients too: those of y and x, and of the log-dets of both directions."""
    x, condition = jax.ShapeDtypeStruct(case.shape, dtype), condition_of(case)
    params = jax.eval_shape(case.bijection.init, jax.random.key(0), x, condition)
    _, (y, log_det) = jax.eval_shape(jax.grad(loss_of(case), has_aux=True), params, x, condition)
    back, inverse_log_det = jax.eval_shape(case.bijection.inverse, params, y, condition)
    return (y.dtype, back.dtype), (log_det.dtype, inverse_log_det.dtype)


@pytest.mark.parametrize("dtype", chosen([jnp.float32, jnp.bfloat16, jnp.float16], [jnp.bfloat16]))
def test_each_precision_keeps_its_type_under_strict_promotion_and_has_float32_log_dets(case, dtype):
    strict = "standard" if case is BFLOAT16 else "strict"
    with jax.numpy_dtype_promotion(strict), jax.numpy_rank_promotion("raise"):
        assert dtypes_of_directions(case, dtype) == ((dtype,) * 2, (jnp.float32,) * 2)


def test_pickle(member):
    bijection, *inputs = prepared(member)
    again, *own = pickle.loads(pickle.dumps((bijection, *inputs)))
    jax.tree.map(np.testing.assert_array_equal, own, inputs)
    programs = [jax.jit(of.forward).lower(*inputs).as_text() for of in (again, bijection)]
    assert programs[0] == programs[1]


def test_batches_of_none_and_one(member, alone):
    bijection, *inputs = prepared(member)

    def forward(*inputs):
        return jax.grad(loss_of(member), 1, has_aux=True)(*inputs)

    def there_and_back(params, x, condition):
        gradient, (y, log_det) = forward(params, x, condition)
        return gradient, y, log_det, bijection.inverse(params, y, condition)[0]

    for count in (0, 1):
        some = inputs[0], *jax.tree.map(lambda leaf, count=count: np.asarray(leaf)[:count], inputs[1:])
        gradient, y, log_det, back = jax.eval_shape(there_and_back, *some)
        assert y.shape == (count, *alone.y.shape[1:]) and log_det.shape == (count,)
        assert back.shape == gradient.shape == (count, *some[1].shape[1:])
    gradient, (y, log_det) = jax.jit(forward)(*some)
    close((y, log_det), (alone.y[:1], alone.log_det[:1]), member)
    assert np.isfinite(gradient).all()


def test_integers_are_refused(case):
    params = jax.eval_shape(case.bijection.init, jax.random.key(0), batch(case.shape), condition_of(case))
    with pytest.raises(TypeError, match="floating-point numbers; got int32"):
        jax.eval_shape(case.bijection.forward, params, np.zeros(case.shape, np.int32), condition_of(case))
    y, _ = jax.eval_shape(case.bijection.forward, params, batch(case.shape), condition_of(case))
    with pytest.raises(TypeError, match="floating-point numbers; got int32"):
        jax.eval_shape(case.bijection.inverse, params, np.zeros(y.shape, np.int32), condition_of(case))


def test_help_says_what_a_direction_takes(case):
    for method in (case.bijection.forward, case.bijection.inverse):
        assert method.__doc__ and "partial(" not in method.__doc__
