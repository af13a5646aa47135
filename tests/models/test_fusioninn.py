"""FusionINN against the authors' numbers, and what must hold for any number of blocks and sources."""

import pathlib
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fusioninn_jax import models, objective, settings
from fusioninn_jax.models import convolution
from fusioninn_jax.models.fusioninn import clip_inward, make_flow, make_permutations
from tests import tolerances
from tests.golden import fusioninn_goldens, portable_inputs

TRAINED = 0.005  # how far weights are moved off their start to look trained; larger ones saturate the sigmoid
GOLDEN_FOLDER = pathlib.Path(__file__).parents[1] / "golden"


@pytest.fixture(params=["portable", "real"], name="case")
def case_fixture(request):
    if request.param == "portable":
        return fusioninn_goldens.portable(GOLDEN_FOLDER)
    return fusioninn_goldens.real(request.getfixturevalue("reference"))


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def test_float64_outputs_losses_and_gradients_are_the_authors(case):
    with jax.enable_x64(True):
        ours = fusioninn_goldens.Ours(case, np.float64)
        for name, value in jax.jit(ours.outputs)().items():
            expected = case.expected[name]
            expected = expected.transpose(0, 2, 3, 1) if expected.ndim == 4 else expected
            np.testing.assert_allclose(value, expected, atol=tolerances.GOLDEN_F64, err_msg=name)
        parts = jax.jit(ours.parts)(ours.variables)
        for name in fusioninn_goldens.PARTS:
            np.testing.assert_allclose(parts[name], case.expected[name], atol=tolerances.GOLDEN_F64, err_msg=name)
        gradients = jax.jit(jax.grad(lambda v: ours.parts(v)["total"]))(ours.variables)["params"]
        np.testing.assert_allclose(flat(gradients), flat(ours.relabelled(case.gradients)), atol=tolerances.GOLDEN_F64)


def test_float64_adam_trajectory_is_the_authors(case):
    with jax.enable_x64(True):
        ours = fusioninn_goldens.Ours(case, np.float64)
        adam = optax.adam(3e-4)

        @jax.jit
        def step(variables, opt_state):
            loss, gradients = jax.value_and_grad(lambda v: ours.parts(v)["total"])(variables)
            updates, opt_state = adam.update(gradients, opt_state)
            return optax.apply_updates(variables, updates), opt_state, loss

        variables, opt_state, trajectory = ours.variables, adam.init(ours.variables), []
        for _ in case.trajectory:
            variables, opt_state, loss = step(variables, opt_state)
            trajectory.append(float(loss))
        np.testing.assert_allclose(trajectory, case.trajectory, atol=tolerances.TRAJECTORY_F64)


def test_float32_losses_and_gradients_are_near_the_authors(case):
    ours = fusioninn_goldens.Ours(case, np.float32)
    parts = jax.jit(ours.parts)(ours.variables)
    for name in fusioninn_goldens.PARTS:
        np.testing.assert_allclose(parts[name], case.expected[name], rtol=tolerances.LOSS_F32, err_msg=name)
    gradients = flat(jax.jit(jax.grad(lambda v: ours.parts(v)["total"]))(ours.variables)["params"])
    expected = flat(ours.relabelled(case.gradients))
    assert np.linalg.norm(gradients - expected) <= tolerances.GRADIENT_F32 * np.linalg.norm(expected)


def test_parameter_count_is_the_papers():
    sources = jnp.split(batch((1, 16, 16)), 2, -1)
    variables = jax.jit(models.get("fusioninn", settings.official_fusioninn()).init)(jax.random.key(0), *sources)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 17_564


def test_the_official_formulation_brings_its_own_architecture():
    sources = jnp.split(batch((1, 16, 16)), 2, -1)
    shapes = jax.eval_shape(models.get("fusioninn", {"formulation": "official"}).init, jax.random.key(0), *sources)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 17_564


@pytest.mark.parametrize("levels,multiple", [((0, 1), 2), ((1, 0, 2), 4), ((0,), 1), ((2, 0, 3), 8)])
@pytest.mark.parametrize("squeeze", ["haar", "pixel"])
def test_blocks_at_any_levels(levels, multiple, squeeze):
    with jax.enable_x64(True):
        model = models.get("fusioninn", {"levels": levels, "blocks": 3, "squeeze": squeeze, "widths": (3,)})
        assert model.multiple == multiple
        sources = jnp.split(batch((2, 16, 24), dtype=jnp.float64), 2, -1)
        variables = {"params": perturbed(jax.jit(model.init)(jax.random.key(0), *sources)["params"], 0.05)}
        fused, latent = jax.jit(model.fuse)(variables, *sources)
        assert float(jnp.abs(fused - sources[0]).max()) > 0.01 and latent.shape == fused.shape
        for source, image in zip(sources, jax.jit(model.decompose)(variables, fused, latent), strict=True):
            np.testing.assert_allclose(image, source, atol=tolerances.ROUND_TRIP_F64)


def test_bad_levels_are_named():
    with pytest.raises(ValueError, match="levels.*from 0 to"):
        models.get("fusioninn", {"levels": (0, -1)})


def batch(shape, sources=2, dtype=jnp.float32):
    pairs = np.concatenate([portable_inputs.smooth(seed, *shape) for seed in range((sources + 1) // 2)], 1)
    return jnp.asarray(pairs[:, :sources].transpose(0, 2, 3, 1).astype(dtype))


def perturbed(params, size):
    """Params away from their start, as if trained."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(5), len(leaves))
    return tree.unflatten(
        [leaf + size * jax.random.normal(key, leaf.shape, leaf.dtype) for key, leaf in zip(keys, leaves, strict=True)]
    )


@pytest.mark.parametrize("formulation", ["linear", "logit", "official"])
@pytest.mark.parametrize("blocks", [1, 2, 3, 4, 5, 8])
def test_flow_round_trip_float64(blocks, formulation):
    with jax.enable_x64(True):
        config = models.default_config("fusioninn")
        config.blocks, config.formulation = blocks, formulation
        flow, x = make_flow(config), batch((2, 16, 32), dtype=jnp.float64)
        params = perturbed(jax.jit(flow.init)(jax.random.key(0), x), TRAINED)
        y, log_det = jax.jit(flow.forward)(params, x)
        back, inverse_log_det = jax.jit(flow.inverse)(params, y)
        np.testing.assert_allclose(back, x, atol=tolerances.ROUND_TRIP_F64)
        np.testing.assert_allclose(inverse_log_det, -log_det, atol=tolerances.LONG_F64)


@pytest.mark.parametrize("formulation", ["linear", "logit"])
@pytest.mark.parametrize("blocks", [1, 3, 8])
def test_models_give_the_sources_back_with_the_true_latent(blocks, formulation):
    model = models.get("fusioninn", {"blocks": blocks, "formulation": formulation})
    sources = jnp.split(batch((2, 32, 32)), 2, -1)
    variables = {"params": perturbed(jax.jit(model.init)(jax.random.key(0), *sources)["params"], TRAINED)}
    decomposed = jax.jit(model.decompose)(variables, *jax.jit(model.fuse)(variables, *sources))
    for source, image in zip(sources, decomposed, strict=True):
        np.testing.assert_allclose(image, source, atol=tolerances.ROUND_TRIP_F32)


def test_sources_come_back_when_every_block_shrinks_as_far_as_it_may():
    # pixels, not Haar coefficients, whose larger values round by some more
    model = models.get("fusioninn", {"blocks": 8, "levels": (0, 1), "squeeze": "pixel", "widths": (32, 64)})
    sources = jnp.split(batch((1, 16, 16)), 2, -1)
    variables = jax.jit(model.init)(jax.random.key(0), *sources)

    def worst(path, leaf):
        if leaf.ndim > 1 or "conv2" not in str(path):
            return leaf
        return jnp.where(jnp.arange(leaf.size) < leaf.size // 2, -1e4, 0.5)  # s at its lower bound, then t

    variables = jax.tree_util.tree_map_with_path(worst, variables)
    decomposed = jax.jit(model.decompose)(variables, *jax.jit(model.fuse)(variables, *sources))
    for source, image in zip(sources, decomposed, strict=True):
        np.testing.assert_allclose(image, source, atol=tolerances.ROUND_TRIP_WORST_F32)


def test_log_det_of_the_flow_is_that_of_its_jacobian():
    with jax.enable_x64(True):
        config = models.default_config("fusioninn")
        config.blocks = 2  # levels 1 and 2: larger images make the Jacobian slow
        flow, x = make_flow(config), batch((1, 4, 4), dtype=jnp.float64)
        params = perturbed(jax.jit(flow.init)(jax.random.key(0), x), 0.1)
        jacobian = jax.jit(jax.jacobian(lambda row: flow.forward(params, row.reshape(x.shape))[0].ravel()))(x.ravel())
        np.testing.assert_allclose(
            flow.forward(params, x)[1], np.linalg.slogdet(jacobian)[1], rtol=tolerances.GOLDEN_F64
        )


@pytest.mark.parametrize("sources", [2, 3, 4])
def test_any_number_of_sources(sources):
    model = models.get("fusioninn", {"sources": sources, "blocks": 3})
    images = jnp.split(batch((2, 16, 16), sources), sources, -1)
    variables = {"params": perturbed(jax.jit(model.init)(jax.random.key(0), *images)["params"], TRAINED)}
    fused, latent = model.fuse(variables, *images)
    assert fused.shape == (2, 16, 16, 1) and latent.shape == (2, 16, 16, sources - 1)
    for source, image in zip(images, model.decompose(variables, fused, latent), strict=True):
        np.testing.assert_allclose(image, source, atol=tolerances.ROUND_TRIP_F32)


def test_logit_model_starts_as_a_permutation():
    model = models.get("fusioninn", {"formulation": "logit"})
    sources = jnp.split(batch((2, 12, 12)), 2, -1)
    fused, _ = model.fuse(jax.jit(model.init)(jax.random.key(0), *sources), *sources)
    errors = [float(jnp.abs(fused - source).max()) for source in sources]
    assert min(errors) < tolerances.ROUND_TRIP_F32


def test_a_source_thrown_out_of_the_range_is_pulled_back_in():
    x = jnp.array([-0.2, -0.2, 0.4, 0.4, 1.3, 1.3])
    g = jnp.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    value, pull = jax.vjp(clip_inward, x)
    np.testing.assert_array_equal(value, jnp.clip(x, 0, 1))
    np.testing.assert_array_equal(pull(g)[0], [0, -1, 1, -1, 1, 0])


def test_bfloat16_conditioners_keep_the_flow_invertible():
    model = models.get("fusioninn", {"dtype": "bfloat16", "blocks": 3})
    sources = jnp.split(batch((2, 16, 16)), 2, -1)
    variables = {"params": perturbed(jax.jit(model.init)(jax.random.key(0), *sources)["params"], TRAINED)}
    fused, latent = model.fuse(variables, *sources)
    assert fused.dtype == jnp.float32
    for source, image in zip(sources, model.decompose(variables, fused, latent), strict=True):
        # a conditioner that sees the last bit of its input differ answers with its own, coarse, last bit
        np.testing.assert_allclose(image, source, atol=tolerances.BFLOAT16)


def test_permutations_follow_the_config():
    config = models.default_config("fusioninn")
    assert [len(order) for order in make_permutations(config)] == [8, 32, 128, 512, 128, 32]
    config.sources, config.blocks = 3, 2
    assert make_permutations(config) == ((4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2, 3),)  # the first source's to the end
    config.sources, config.blocks, config.formulation = 2, 3, "logit"
    assert [len(order) for order in make_permutations(config)] == [8, 32]
    config.levels = (0, 1)
    assert make_permutations(config) == ((1, 0), (4, 5, 6, 7, 0, 1, 2, 3))
    config.permutation = "random"
    drawn = make_permutations(config)
    assert drawn[0] == (1, 0) and sorted(drawn[1]) == list(range(8)) and drawn == make_permutations(config)
    config.permutation_seed = 1
    assert make_permutations(config) != drawn
    config.permutations = ((0, 1), tuple(range(8)))
    assert make_permutations(config) == ((0, 1), tuple(range(8)))


def test_memory_of_a_rebuilt_step_does_not_grow_with_depth(monkeypatch):
    """In XLA's plan: less than one map of the flow for a further block; stored, a block takes a dozen."""
    monkeypatch.setattr(convolution, "CHUNK_PIXELS", 1)  # loops over images, and over strips in the larger blocks,
    monkeypatch.setattr(convolution, "STRIP_PIXELS", 32 * 32 // 2)  # as whole slices have them
    image, config = jax.ShapeDtypeStruct((2, 64, 64, 1), jnp.float32), settings.defaults("losses")
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 2))

    def planned(blocks):
        model = models.get("fusioninn", {"blocks": blocks, "levels": (1, 2, 1), "widths": (4,), "backward": "rebuilt"})

        def loss(variables, *sources_and_keys):
            *sources, keys = sources_and_keys
            slices = objective.Slices(jnp.concatenate(sources, -1))
            parts, _, _ = objective.loss_parts(model, variables, slices, keys, config, train=True, gather=lambda x: x)
            return objective.per_image_loss(model, parts, config).mean()

        variables = jax.eval_shape(model.init, jax.random.key(0), image, image)
        compiled = jax.jit(jax.grad(loss)).lower(variables, image, image, keys).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    a_map = 4 * 2 * image.size
    assert planned(6) - planned(3) < 3 * a_map


@pytest.mark.parametrize(
    "settings,match",
    [
        ({"formulation": "logits"}, "must be one of linear, logit, official"),
        ({"blocks": -1}, "blocks"),
        ({"permutations": ((0, 1, 2),)}, "permutations"),
        ({"block": 3}, "did you mean 'blocks'"),
    ],
)
def test_bad_settings_are_named(settings, match):
    with pytest.raises(ValueError, match=match):
        models.get("fusioninn", settings)


def test_unknown_system_is_named():
    with pytest.raises(ValueError, match="did you mean 'fusioninn'"):
        models.get("fusionin")


@pytest.mark.parametrize("formulation", ["linear", "logit", "official"])
def test_the_flow_of_the_sources_and_its_density(formulation):
    with jax.enable_x64(True):
        model = models.get("fusioninn", {"formulation": formulation, "levels": (0, 1), "widths": (3,)})
        sources = jnp.split(batch((2, 4, 4), dtype=jnp.float64), 2, -1)
        variables = {"params": perturbed(jax.jit(model.init)(jax.random.key(0), *sources)["params"], 0.05)}
        fused, latent = jax.jit(model.fuse)(variables, *sources)
        y, log_det = jax.jit(model.flow.forward)(variables["params"], jnp.concatenate(sources, -1))
        shown = jax.nn.sigmoid(y[..., :1]) if formulation == "official" else y[..., :1]
        np.testing.assert_allclose(
            jnp.concatenate([shown, y[..., 1:]], -1),
            jnp.concatenate([fused, latent], -1),
            atol=tolerances.ROUND_TRIP_F64,
        )
        back, inverse_log_det = jax.jit(model.flow.inverse)(variables["params"], y)
        np.testing.assert_allclose(back, jnp.concatenate(sources, -1), atol=tolerances.ROUND_TRIP_F64)
        np.testing.assert_allclose(inverse_log_det, -log_det, atol=1e-9)
        np.testing.assert_allclose(model.log_det(variables, *sources), log_det)
        jacobian = jax.jit(
            jax.jacfwd(lambda row: model.flow.forward(variables["params"], row.reshape(1, 4, 4, 2))[0].ravel())
        )
        stack = jnp.concatenate(sources, -1)
        np.testing.assert_allclose(log_det[0], np.linalg.slogdet(jacobian(stack[0].ravel()))[1], atol=1e-8)
        normal = jax.scipy.stats.norm.logpdf(latent).sum((1, 2, 3))
        np.testing.assert_allclose(model.log_prob(variables, *sources), normal + log_det)


def test_the_unclipped_decomposition_has_its_true_derivative_in_either_mode():
    with jax.enable_x64(True):
        model = models.get("fusioninn", {"levels": (0, 1), "widths": (3,)})
        sources = jnp.split(batch((1, 4, 4), dtype=jnp.float64), 2, -1)
        variables = {"params": perturbed(jax.jit(model.init)(jax.random.key(0), *sources)["params"], 0.2)}
        fused, latent = jax.jit(model.fuse)(variables, *sources)
        wild = latent + 8 * jnp.cos(jnp.arange(latent.size)).reshape(latent.shape)  # throws the sources far out

        def value(z, decompose):
            return sum((image**2).sum() for image in decompose(variables, fused, z))

        assert float(jnp.stack(model.decompose_unclipped(variables, fused, wild)).max()) > 1.1
        direction, step = jnp.sin(jnp.arange(wild.size)).reshape(wild.shape), 1e-6
        run = jax.jit(lambda z: value(z, model.decompose_unclipped))
        slope = (run(wild + step * direction) - run(wild - step * direction)) / (2 * step)
        np.testing.assert_allclose(jnp.vdot(jax.grad(run)(wild), direction), slope, rtol=1e-6)
        np.testing.assert_allclose(jax.jvp(run, (wild,), (direction,))[1], slope, rtol=1e-6)
        clipped = jnp.clip(jnp.stack(model.decompose_unclipped(variables, fused, wild)), 0, 1)
        np.testing.assert_allclose(jnp.stack(model.decompose(variables, fused, wild)), clipped)


@pytest.mark.parametrize("formulation", ["linear", "logit", "official"])
def test_a_model_pickles(formulation):
    model = pickle.loads(pickle.dumps(models.get("fusioninn", {"formulation": formulation, "widths": (3,)})))
    sources = jnp.split(batch((1, 16, 16)), 2, -1)
    assert jax.eval_shape(model.init, jax.random.key(0), *sources)["params"]


@pytest.mark.parametrize("opening", ["mean", "salient_mean"])
@pytest.mark.parametrize("sources,blocks", [(2, 1), (2, 8), (3, 2), (4, 3)])
def test_the_linear_flow_starts_as_its_rule(sources, blocks, opening):
    model = models.get("fusioninn", {"sources": sources, "blocks": blocks, "widths": (3,), "opening": opening})
    images = jnp.split(batch((1, 32, 32), sources), sources, -1)
    fused, latent = model.fuse(jax.jit(model.init)(jax.random.key(0), *images), *images)
    np.testing.assert_allclose(fused, models.get(opening).fuse({}, *images)[0], atol=tolerances.ROUND_TRIP_F32)
    assert latent.shape == (1, 32, 32, sources - 1) and float(jnp.abs(latent).max()) > 0.1
