"""runtime.cores: threads for the cores that this process may use, not for those that there are."""

import os

import pytest

from fusioninn_jax.runtime import cores


def test_the_cores_that_are_left_to_this_process_count(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 6}, raising=False)
    assert cores.usable() == 3


@pytest.mark.parametrize("there, usable", [(6, 6), (None, 1)])
def test_where_nobody_tells_all_of_them_count(monkeypatch, there, usable):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: there)
    assert cores.usable() == usable


@pytest.mark.parametrize("most, threads", [(None, 4), (2, 2), (9, 4)])
def test_a_pool_has_a_thread_a_core_and_no_more_than_it_is_told(monkeypatch, most, threads):
    monkeypatch.setattr(cores, "usable", lambda: 4)
    with cores.pool(most) as pool:
        assert pool._max_workers == threads
        assert list(pool.map(abs, (-1, 2))) == [1, 2]
