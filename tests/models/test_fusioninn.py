"""FusionINN as a user sets it up: its size, its start, its permutations, settings that are wrong."""

import itertools
import pickle

import jax
import numpy as np
import pytest

from fusioninn_jax import models, settings
from fusioninn_jax.models.fusioninn import make_permutations
from tests import tolerances
from tests.chosen import chosen
from tests.models.flow_inputs import batch


def test_parameter_count_is_the_papers():
    sources = np.split(batch((1, 16, 16)), 2, -1)
    model = models.get("fusioninn", settings.official_fusioninn())
    variables = jax.eval_shape(model.init, jax.random.key(0), *sources)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 17_564


def test_the_official_formulation_brings_its_own_architecture():
    sources = np.split(batch((1, 16, 16)), 2, -1)
    shapes = jax.eval_shape(models.get("fusioninn", {"formulation": "official"}).init, jax.random.key(0), *sources)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 17_564


def test_bad_levels_are_named():
    with pytest.raises(ValueError, match="levels.*from 0 to"):
        models.get("fusioninn", {"levels": (0, -1)})


def at_its_start(model, *images):
    """What an untrained model fuses, in one compilation; its weights by a generator that compiles fast."""
    return jax.jit(lambda *images: model.fuse(model.init(jax.random.key(0, impl="rbg"), *images), *images))(*images)


def test_logit_model_starts_as_a_permutation():
    model = models.get("fusioninn", {"formulation": "logit"})
    sources = np.split(batch((2, 12, 12)), 2, -1)
    fused, _ = at_its_start(model, *sources)
    errors = [np.abs(np.subtract(fused, source)).max() for source in sources]
    assert min(errors) < tolerances.ROUND_TRIP_F32


def test_permutations_follow_the_config():
    config = models.default_config("fusioninn")
    assert [len(order) for order in make_permutations(config)] == [8, 32] * 3
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


@pytest.mark.parametrize(
    "settings,match",
    [
        ({"formulation": "logits"}, "give one of linear, logit, official; did you mean .logit"),
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
def test_a_model_pickles(formulation):
    model = pickle.loads(pickle.dumps(models.get("fusioninn", {"formulation": formulation, "widths": (3,)})))
    sources = np.split(batch((1, 16, 16)), 2, -1)
    assert jax.eval_shape(model.init, jax.random.key(0), *sources)["params"]


STARTS = chosen(
    itertools.product([(2, 1), (2, 8), (3, 2), (4, 3)], ["mean", "salient_mean"]),
    [((2, 1), "salient_mean"), ((2, 8), "mean"), ((3, 2), "salient_mean"), ((4, 3), "mean")],
)


@pytest.mark.parametrize("sources_and_blocks,opening", STARTS)
def test_the_linear_flow_starts_as_its_rule(sources_and_blocks, opening):
    sources, blocks = sources_and_blocks
    model = models.get("fusioninn", {"sources": sources, "blocks": blocks, "widths": (3,), "opening": opening})
    images = np.split(batch((1, 32, 32), sources), sources, -1)
    fused, latent = at_its_start(model, *images)
    rule, _ = jax.jit(models.get(opening).fuse)({}, *images)
    np.testing.assert_allclose(fused, rule, atol=tolerances.ROUND_TRIP_F32)
    assert latent.shape == (1, 32, 32, sources - 1) and np.abs(latent).max() > 0.1
