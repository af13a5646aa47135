"""formats.provenance_schema: records of a fusion that are not as they were written: one line."""

import json

import numpy as np
import pytest

from fusioninn_jax.formats import files, provenance
from fusioninn_jax.runtime.errors import UserError
from tests.formats.volume_cases import noise, record

NIFTI = {"kind": "nifti", "header": "A" * 464}
DICOM = {"kind": "dicom", "study": "1.2", "series": "1.3", "frame": "1.4", "class": "1.5", "modality": "MR"}
DICOM |= {"instances": ["1.6", "1.7", "1.8"], "bits": 12, "window": [40.0, 80]}
SOURCE = {"slope": 1.0, "intercept": 0.0}


def spoiled(keys, value):
    copy = json.loads(json.dumps(record()))
    place = copy
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    return json.dumps(copy).encode()


@pytest.mark.parametrize(
    "content",
    [
        spoiled(["ranges"], []),
        spoiled(["ranges", 0], [[0, 1]]),
        spoiled(["ranges", 1, 0], [1, float("nan")]),
        spoiled(["ranges", 1, 0], [2, 1]),
        spoiled(["ranges", 0, 0], ["0", 1]),
        spoiled(["ranges", 0, 0], [True, 1]),
        spoiled(["image"], None),
        spoiled(["image", "slope"], 0),
        spoiled(["image", "slope"], 1e999),
        spoiled(["sources"], {}),
        spoiled(["sources", 0], "FAMILY^GIVEN"),
        spoiled(["sources", 1, "dtype"], "O"),
        spoiled(["sources", 1, "dtype"], ["<f4", [9]]),
        spoiled(["sources", 0, "slope"], [1, 1]),
        spoiled(["sources", 0, "slope"], None),
        spoiled(["sources", 0, "origin"], {"kind": "FAMILY^GIVEN"}),
        spoiled(["sources", 0, "origin"], {"kind": ["nifti"]}),
        spoiled(["sources", 0, "origin", "flat"], 1),
        spoiled(["sources", 0, "origin"], {"kind": "nifti", "header": "AAAA"}),
        *(spoiled(["sources", 0, "origin"], NIFTI | {"flat": value}) for value in (1, None, "FAMILY^GIVEN", [True])),
        *(
            spoiled(["sources", 0, "origin"], DICOM | {"bits": value})
            for value in (0, 17, -1, 12.0, True, None, "12", [12], 1e999)
        ),
        *(
            spoiled(["sources", 0, "origin"], DICOM | {"window": value})
            for value in (None, 7, [], [1], [1, 2, 3], [1, 0], [1, -1], [1, "2"], [True, 2], [1e99, 2], [1, 1e999])
        ),
        *(spoiled(["sources", 0], {**SOURCE, "dtype": dtype, "origin": DICOM}) for dtype in ("|u1", "|i1")),
        spoiled(["id"], 7),
        spoiled(["id"], "x"),
        spoiled(["model"], "FAMILY^GIVEN"),
        spoiled(["prior"], {}),
        spoiled(["content"], "latent"),
        spoiled(["content"], "FAMILY^GIVEN"),
        spoiled(["fusioninn_jax"], "1"),
        spoiled(["fusioninn_jax"], 0),
        spoiled(["sources", 0, "chroma"], {"dtype": "|u1", "step": 0, "data": ""}),
        b'{"fusioninn_jax": 1, "id": ' + b"[" * 100000,
        b'{"fusioninn_jax"',
        b'{"fusioninn_jax": 1' + b"0" * 9999 + b"}",
        b'{"fusioninn_jax": 1e400}',
        b'{"fusioninn_jax": 1}',
        b'{"fusioninn_jax": {}}',
    ],
)
def test_a_record_that_is_none(tmp_path, content):
    with pytest.raises(UserError, match="the record of the fusion in it is damaged|later version") as caught:
        provenance.parse(tmp_path / "f.nii", content)
    assert "\n" not in str(caught.value) and "FAMILY" not in str(caught.value)
    np.save(tmp_path / "f.npy", noise())
    with (tmp_path / "f.npy").open("ab") as file:
        file.write(content)
    with pytest.raises(UserError, match="record of the fusion|later version"):
        files.read(tmp_path / "f.npy")


def test_a_record_of_a_nifti_says_whether_it_is_flat_or_is_an_earlier_one(tmp_path):
    for origin in (NIFTI, NIFTI | {"flat": True}):
        found = provenance.parse(tmp_path / "f.nii", spoiled(["sources", 0, "origin"], origin))
        assert found["sources"][0]["origin"] == origin


def test_a_record_of_a_dicom_series_tells_bits_and_window_or_is_an_earlier_one(tmp_path):
    earlier = {key: value for key, value in DICOM.items() if key not in ("bits", "window")}
    for origin in (DICOM, earlier):
        found = provenance.parse(tmp_path / "f.nii", spoiled(["sources", 0, "origin"], origin))
        assert found["sources"][0]["origin"] == origin
