"""studies.study_background: backgrounds asked for, found, noted in a record and put back."""

import json

import numpy as np
import pytest

from fusioninn_jax.formats import background
from fusioninn_jax.formats.grid import PIXELS
from fusioninn_jax.formats.series import uniform
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import study_background
from tests.formats.test_background import head, z_scored


def series(values, kind="nifti"):
    return uniform(values, PIXELS, {"kind": kind})


def test_one_for_all_or_one_for_each():
    assert study_background.parse_all("auto") == ["auto"]
    assert study_background.parse_all("0, minimum,-1.5") == [0.0, "minimum", -1.5]
    raw, _ = head()
    assert study_background.find_all([series(raw)] * 3, ["auto"], ["a", "b", "c"]) == [None] * 3
    with pytest.raises(UserError, match="--background: 2 values for 3 series; give one for all, or one for each"):
        study_background.find_all([series(raw)] * 3, ["auto", "auto"], ["a", "b", "c"])


def test_a_normalised_series_is_told_noted_and_put_back(capsys):
    raw, inside = head()
    values = z_scored(raw, inside)
    found = study_background.find_all([series(raw), series(values)], ["auto"], ["raw.nii", "z.nii"])
    assert found[0] is None and found[1].is_moved
    assert capsys.readouterr().err.startswith("z.nii: normalised already: its background is 0, ")
    record = {"sources": [{}, {}]}
    study_background.note(record, found)
    record = json.loads(json.dumps(record))
    assert record["sources"][0] == {}
    back = study_background.restored(record, np.stack([raw, background.darkened(values, found[1])]))
    np.testing.assert_array_equal(back, [raw, values])


def test_a_photograph_with_a_bright_border_is_no_normalised_scan():
    raw, _ = head()
    picture = 1000 - raw
    assert study_background.find_all([series(picture, "picture")], ["auto"], ["a.png"]) == [None]
    assert study_background.find_all([series(picture)], ["auto"], ["a.nii"])[0].is_moved


@pytest.mark.parametrize("noted", [3, [1, 2], [0, 1, "2"], [0, 1, float("nan")], {"value": 0}])
def test_a_damaged_note_is_one_line(noted):
    with pytest.raises(UserError, match="its `background` is not as it is written; fuse anew"):
        study_background.restored({"sources": [{"background": noted}]}, np.zeros((1, 1, 2, 2), np.float32))
