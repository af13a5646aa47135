"""What leaves the pipeline: order, resumption, shards, crops, filled-up batches."""

import numpy as np
import pytest

from fusioninn_jax import input_pipeline
from fusioninn_jax.runtime.errors import UserError
from tests import training_case


@pytest.fixture(name="config")
def config_fixture(data_dir):
    return training_case.config(data_dir).data


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


def batches(config, count, **settings):
    prepared = input_pipeline.open_dataset(config)
    return take(input_pipeline.train_batches(prepared, config, **({"batch_size": 4, "seed": 3} | settings)), count)


def test_an_epoch_shows_every_slice_once_and_epochs_differ(config):
    numbers = np.concatenate([batch["number"] for batch in batches(config, 11)])
    epochs = numbers.reshape(4, 11)
    for epoch in epochs:
        assert sorted(epoch.tolist()) == list(range(11))
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 4


def test_resuming_at_a_step_gives_the_same_batches(config):
    for cache in (True, False):
        config.cache = cache
        whole = batches(config, 9)
        for resumed, expected in zip(batches(config, 3, first_step=6), whole[6:], strict=True):
            np.testing.assert_array_equal(resumed["number"], expected["number"])
            np.testing.assert_array_equal(resumed["sources"], expected["sources"])


def test_another_seed_gives_another_order(config):
    first, second = (np.concatenate([b["number"] for b in batches(config, 4, seed=seed)]) for seed in (3, 4))
    assert (first != second).any()


def test_processes_share_every_global_batch(config):
    whole = batches(config, 5)
    shares = [batches(config, 5, process_index=i, process_count=2) for i in range(2)]
    for step, expected in enumerate(whole):
        together = np.concatenate([share[step]["sources"] for share in shares])
        np.testing.assert_array_equal(together, expected["sources"])


def test_crops_have_the_size_asked_for_and_hold_brain(config):
    for size in ((16, 16), (32, 40)):  # the second is larger than the slice, which is padded
        config.crop = size
        for batch in batches(config, 6):
            assert batch["sources"].shape == (4, *size, 2) and batch["mask"].shape == (4, *size, 1)
            assert ((batch["sources"] > 0).any(-1).mean((1, 2)) > 0.15).all()


def test_crops_move_with_the_epoch(config):
    seen = {}
    for batch in batches(config, 11):
        for number, image in zip(batch["number"].tolist(), batch["sources"], strict=True):
            seen.setdefault(number, []).append(image)
    assert any((images[0] != images[1]).any() for images in seen.values())


def test_evaluation_sees_every_slice_once_and_weighs_the_filling_zero(config):
    prepared = input_pipeline.open_dataset(config)
    found = list(input_pipeline.evaluation_batches(prepared, config, "validation", batch_size=4))
    assert [batch["sources"].shape for batch in found] == [(4, 24, 28, 2)] * 2
    np.testing.assert_array_equal(np.concatenate([batch["weight"] for batch in found]), [1] * 5 + [0] * 3)
    real = np.concatenate([batch["number"] for batch in found])[:5]
    np.testing.assert_array_equal(real, range(5))
    named = {
        (subject.decode(), int(index))
        for batch in found
        for subject, index in zip(batch["subject"], batch["slice_index"], strict=True)
    }
    assert named == {(f"validation{i // 2}", i) for i in range(5)}
    limited = input_pipeline.evaluation_batches(prepared, config, "validation", batch_size=4, limit=3)
    assert sum(batch["weight"].sum() for batch in limited) == 3


class Uneven(training_case.Tiny):
    """Every other slice is four rows lower."""

    def _generate_examples(self, split):
        for i, example in super()._generate_examples(split):
            cut = 4 * (i % 2)
            yield i, example | {name: example[name][cut:] for name in ("sources", "mask")}


def test_slices_of_unlike_size_never_share_a_batch(config, tmp_path):
    config.data_dir = str(training_case.prepare(tmp_path, Uneven))
    prepared = input_pipeline.open_dataset(config)
    settings = {"split": "train", "batch_size": 4}
    found = list(input_pipeline.evaluation_batches(prepared, config, **settings))
    assert {batch["sources"].shape[1] for batch in found} == {20, 24}
    assert sum(batch["weight"].sum() for batch in found) == 11
    shares = [
        list(input_pipeline.evaluation_batches(prepared, config, **settings, process_index=i, process_count=2))
        for i in range(2)
    ]
    for i, expected in enumerate(found):  # two processes share every batch, filling included
        for name, values in expected.items():
            np.testing.assert_array_equal(np.concatenate([share[i][name] for share in shares]), values)


def test_an_unknown_split_is_named(config):
    prepared = input_pipeline.open_dataset(config)
    there = r"choose one of test \(3 slices\), train \(11 slices\), validation \(5 slices\)"
    with pytest.raises(UserError, match=f"no split 'holdout'; {there}"):
        next(input_pipeline.evaluation_batches(prepared, config, "holdout", batch_size=2))


def test_a_split_without_slices_is_named(config):
    prepared = input_pipeline.open_dataset(config)
    prepared = prepared._replace(sizes={"train": 1, "validation": 0})
    with pytest.raises(UserError, match=r"the split 'validation' holds no slice; choose one of train \(1 slice\)$"):
        next(input_pipeline.evaluation_batches(prepared, config, "validation", batch_size=2))
