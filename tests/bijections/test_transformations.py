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


@pytest.fixture(params=TABLE, name="case")
def case_fixture(request):
    return TABLE[request.param]


@pytest.fixture(params=REPRESENTATIVE, name="member")
def member_fixture(request):
    return TABLE[request.param]


class Alone(NamedTuple):
    """What the transformed calls of a member are compared with: of its batch, compiled once by itself."""

    y: jax.Array
    log_det: jax.Array
    loss: jax.Array
    gradients: Any  # of the loss, by params and x


@functools.cache
def alone_of(case):
    bijection, *inputs = prepared(case)
    (y, log_det), (loss, gradients) = jax.jit(
        lambda *of: (bijection.forward(*of), jax.value_and_grad(loss_of(case), (0, 1))(*of))
    )(*inputs)
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
    def loss(params, x, condition):
        y, log_det = case.bijection.forward(params, x, condition)
        return jnp.sin(y).sum().astype(log_det.dtype) + log_det.sum()

    return loss


def doubled(tree):
    return jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), tree)


def test_gradients_by_every_route(member, alone):
    """grad, jvp, forward over reverse, checkpoint and scan, in one compilation."""
    _, *inputs = prepared(member)
    loss, gradient = loss_of(member), jax.grad(loss_of(member), (0, 1, 2) if member.condition else (0, 1))
    tangents = jax.tree.map(jnp.cos, tuple(inputs))

    @jax.jit
    def every(*inputs):
        def scanned(*inputs):
            return jax.lax.scan(lambda total, _: (total + loss(*inputs), None), jnp.zeros(()), jnp.arange(2))[0]

        result = {
            "grad": gradient(*inputs),
            "checkpoint": jax.grad(jax.checkpoint(loss), (0, 1))(*inputs),
            "scan": jax.grad(scanned, 1)(*inputs),
        }
        if not member.rebuilt:
            result["jvp"] = jax.jvp(loss, inputs, tangents)[1]
            result["hessian"] = jax.jvp(jax.grad(loss, 1), inputs, tangents)[1]
        return result

    found = every(*inputs)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
    close(found["grad"][:2], alone.gradients, member)
    close(found["checkpoint"], alone.gradients, member)
    close(found["scan"], 2 * found["grad"][1], member)
    if member.rebuilt:
        with pytest.raises(TypeError, match="forward-mode"):
            jax.jvp(loss, tuple(inputs), tangents)
        return
    along = [jnp.vdot(g, t) for g, t in zip(jax.tree.leaves(found["grad"]), jax.tree.leaves(tangents), strict=True)]
    close(sum(along), found["jvp"], member)


@pytest.mark.parametrize("name", ["coupling_conv", "coupling_conditional", "coupling_spline", "convolution1x1", "scan"])
def test_hessians_are_symmetric_and_those_of_differences(name):
    with jax.enable_x64(True):
        case = TABLE[name]
        _, params, x, condition = prepared(case, jnp.float64)
        one, given = x[:1], None if condition is None else condition[:1]
        gradient = jax.jit(jax.grad(lambda row: loss_of(case)(params, row, given)))
        hessian = jax.jit(jax.hessian(lambda row: loss_of(case)(params, row, given)))(one).reshape(one.size, one.size)
        step = 1e-6
        direction = jnp.cos(jnp.arange(one.size)).reshape(one.shape)
        slope = (gradient(one + step * direction) - gradient(one - step * direction)).ravel() / (2 * step)
        np.testing.assert_allclose(hessian, hessian.T, atol=tolerances.GOLDEN_F64)
        np.testing.assert_allclose(hessian @ direction.ravel(), slope, rtol=tolerances.SUM_F32, atol=tolerances.SUM_F32)


def test_vmap(member, alone):
    bijection, params, x, condition = prepared(member)
    stacked = jnp.stack([x, x])
    both = jax.jit(jax.vmap(bijection.forward, in_axes=(None, 0, None)))(params, stacked, condition)
    close(both, (jnp.stack([alone.y] * 2), jnp.stack([alone.log_det] * 2)), member)


def test_shard_map_and_named_sharding(member, alone):
    """Loss and gradients with the batch on two devices, the same on both; shard_map checks what varies between them."""
    _, params, x, condition = prepared(member)
    x, condition = doubled(x), doubled(condition)
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,))
    loss = loss_of(member)

    @functools.partial(jax.shard_map, mesh=mesh, in_specs=(P(), P("batch"), P("batch")), out_specs=P())
    def mapped(params, x, condition):
        return jax.lax.psum(loss(params, x, condition), "batch")

    @jax.jit
    def both(params, x, condition):
        return [jax.value_and_grad(of, (0, 1))(params, x, condition) for of in (mapped, loss)]

    of_params, of_x = alone.gradients
    expected = 2 * alone.loss, (jax.tree.map(lambda leaf: 2 * leaf, of_params), doubled(of_x))
    placed = jax.device_put((x, condition), NamedSharding(mesh, P("batch")))
    for found in both(params, *placed):
        close(found, expected, member)


@pytest.mark.parametrize("name", ["rescale", "on_channels", "on_channels_conditional", "scan_rebuilt"])
def test_explicit_axes(name):
    case = TABLE[name]
    _, params, x, condition = prepared(case)
    x, condition = doubled(x), doubled(condition)
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Explicit,))

    def value_and_gradients(x, condition):  # a condition that is closed over keeps its sharding where it is traced
        return jax.jit(jax.value_and_grad(lambda *of: loss_of(case)(*of, condition), (0, 1)))(params, x)

    expected = value_and_gradients(x, condition)
    with jax.set_mesh(mesh):
        placed = jax.device_put((x, condition), NamedSharding(mesh, P("batch")))
        y, log_det = jax.jit(case.bijection.forward)(params, *placed)
        assert jax.typeof(y).sharding.spec[0] == jax.typeof(log_det).sharding.spec[0] == "batch"
        close(value_and_gradients(*placed), expected, case)


def test_export_with_an_open_batch_and_donation(member, alone):
    bijection, params, x, condition = prepared(member)
    (b,) = export.symbolic_shape("b")
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((b, *leaf.shape[1:]), leaf.dtype), (x, condition))
    expected = alone.y, alone.log_det
    exported = export.export(jax.jit(functools.partial(bijection.forward, params)))(*shapes)
    close(export.deserialize(exported.serialize()).call(x, condition), expected, member)
    given = jnp.array(x)
    donated = jax.jit(bijection.forward, donate_argnums=1)(params, given, condition)
    close(donated, expected, member)


def test_low_precision_keeps_its_type_and_has_float32_log_dets(case):
    params = jax.eval_shape(case.bijection.init, jax.random.key(0), batch(case.shape), condition_of(case))
    for dtype in (jnp.bfloat16, jnp.float16):
        x = jax.ShapeDtypeStruct(case.shape, dtype)
        y, log_det = jax.eval_shape(case.bijection.forward, params, x, condition_of(case))
        back, inverse_log_det = jax.eval_shape(case.bijection.inverse, params, y, condition_of(case))
        assert y.dtype == back.dtype == dtype and log_det.dtype == inverse_log_det.dtype == jnp.float32


@pytest.mark.parametrize("name", [name for name in TABLE if name != "coupling_bfloat16_conditioner"])
def test_strict_promotion_of_types_and_ranks(name):
    case = TABLE[name]
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        for dtype in (jnp.float32, jnp.bfloat16):
            x, condition = batch(case.shape, dtype), condition_of(case)
            params = jax.eval_shape(case.bijection.init, jax.random.key(0), x, condition)
            y, _ = jax.eval_shape(case.bijection.forward, params, x, condition)
            jax.eval_shape(jax.grad(loss_of(case)), params, x, condition)
            jax.eval_shape(case.bijection.inverse, params, y, condition)


def test_pickle(member, alone):
    bijection, params, x, condition = prepared(member)
    again, own = pickle.loads(pickle.dumps((bijection, params)))
    close(jax.jit(again.forward)(own, x, condition), (alone.y, alone.log_det), member)


def test_batches_of_none_and_one(member, alone):
    bijection, params, x, condition = prepared(member)

    @jax.jit
    def of_each(params, x, condition):
        results = []
        for count in (0, 1):
            some, given = x[:count], None if condition is None else condition[:count]
            y, log_det = bijection.forward(params, some, given)
            back, _ = bijection.inverse(params, y, given)
            results.append((y, log_det, back, jax.grad(loss_of(member), 1)(params, some, given)))
        return results

    for count, (y, log_det, back, gradient) in enumerate(of_each(params, x, condition)):
        assert y.shape == (count, *alone.y.shape[1:]) and log_det.shape == (count,)
        close(y, alone.y[:count], member)
        assert back.shape == gradient.shape == (count, *x.shape[1:]) and np.isfinite(gradient).all()


def test_integers_are_refused(case):
    params = jax.eval_shape(case.bijection.init, jax.random.key(0), batch(case.shape), condition_of(case))
    with pytest.raises(TypeError, match="floating-point numbers; got int32"):
        jax.eval_shape(case.bijection.forward, params, jnp.zeros(case.shape, jnp.int32), condition_of(case))
    y, _ = jax.eval_shape(case.bijection.forward, params, batch(case.shape), condition_of(case))
    with pytest.raises(TypeError, match="floating-point numbers; got int32"):
        jax.eval_shape(case.bijection.inverse, params, jnp.zeros(y.shape, jnp.int32), condition_of(case))


def test_help_says_what_a_direction_takes(case):
    for method in (case.bijection.forward, case.bijection.inverse):
        assert method.__doc__ and "partial(" not in method.__doc__
