"""fusioninn_jax.objective.slices: what of a batch the loss sees."""

import numpy as np

from fusioninn_jax.objective.slices import slices_of, split_sources


def test_a_batch_gives_what_the_loss_takes_and_no_more():
    batch = {"sources": np.zeros((2, 4, 4, 3)), "mask": np.zeros((2, 4, 4, 1)), "number": np.arange(2)}
    found = slices_of(batch)
    assert found.sources is batch["sources"] and found.target is None
    assert slices_of(batch | {"target": batch["mask"]}).target is batch["mask"]


def test_sources_keep_their_order_and_their_channel():
    stack = np.random.default_rng(0).random((2, 4, 5, 3), np.float32)
    sources = split_sources(stack)
    assert [source.shape for source in sources] == [(2, 4, 5, 1)] * 3
    np.testing.assert_array_equal(np.concatenate(sources, -1), stack)
