"""fusioninn_jax.objective.salts: the numbers of one key are told apart, and nothing else is folded in by number."""

import pathlib
import re

import fusioninn_jax
from fusioninn_jax.objective import salts

PACKAGE = pathlib.Path(fusioninn_jax.__file__).parent


def test_numbers_of_the_seed_are_told_apart_and_out_of_reach_of_steps():
    of_seed = [int(salt) for salt in (salts.INITIALISATION, salts.VALIDATION, salts.SCORING)]
    assert len(set(of_seed)) == 3 and min(of_seed) > 2**31


def test_no_number_is_folded_in_that_the_table_does_not_hold():
    literal = re.compile(r"fold_in\([^()]*(?:\([^()]*\)[^()]*)*,\s*(?:np\.uint32\()?\d")
    assert literal.search("jax.random.fold_in(jax.random.key(seed), np.uint32(2**32 - 1))")
    assert not [path.name for path in PACKAGE.rglob("*.py") if literal.search(path.read_text())]
