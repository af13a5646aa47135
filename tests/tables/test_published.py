"""tables.published: the paper's numbers are all there, and the sweeps have a run for each of them."""

import pytest

from fusioninn_jax.tables import published, systems


def test_the_published_tables_are_whole():
    assert all(len(row) == 5 for row in published.TABLE1.values()) and len(published.TABLE1) == 8
    assert [len(section) for section in published.TABLE2.values()] == [4, 4, 4, 4]
    sweep = systems.load_sweep("configs/sweeps/table2.py")
    assert {name: list(of) for name, of in sweep.TABLE.items()} == {
        name: list(of) for name, of in published.TABLE2.items()
    }
    assert set(sweep.RUNS) == {run for of in sweep.TABLE.values() for run in of.values()}
    for run in sweep.RUNS:
        assert sweep.get_config(f"{run},paper").model.fusioninn.formulation == "official"
    assert sweep.get_config("blocks_4").model.fusioninn.blocks == 4
    assert sweep.get_config("lambda_0.9").losses.alpha == 0.5  # the paper's, whatever the base has


@pytest.mark.parametrize("name", ["table1", "table1_laptop"])
def test_sweeps_of_table1_hold_every_trained_system(name):
    sweep = systems.load_sweep(f"configs/sweeps/{name}.py")
    assert set(sweep.RUNS) == set(published.TABLE1) - {"ddfm"}
    assert {sweep.get_config(run).model.name for run in sweep.RUNS} == set(sweep.RUNS)
