"""Fixtures of the studies' tests."""

import pathlib

import numpy as np
import pytest

from fusioninn_jax.studies import slice_scores
from tests.studies import cases
from tests.studies.page_cases import SIZE, big


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> pathlib.Path:
    """A small model in the form of `fusioninn_jax.pretrained`."""
    return cases.save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def pair(tmp_path) -> tuple[pathlib.Path, pathlib.Path]:
    """Two int16 NIfTI series of odd size with a header worth keeping."""
    fields = {"descrip": b"DOE^JANE 12345", "db_name": b"Jane Doe", "intent_name": b"Doe"}
    return (
        cases.save(tmp_path / "t1.nii.gz", cases.voxels(1), **fields),
        cases.save(tmp_path / "flair.nii.gz", cases.voxels(2), **fields),
    )


@pytest.fixture
def study(tmp_path):
    """Paths of two series and of a mask, in a folder that names a patient."""
    folder = tmp_path / "DOE_JANE"
    folder.mkdir()
    mask = np.zeros(SIZE, np.uint8)
    mask[20:30, 18:28, 1:4] = 2
    mask[23:26, 20:24, 2:4] = 4
    return [
        *[cases.save(folder / f"{i}.nii.gz", big(i), descrip=b"DOE^JANE") for i in (1, 2)],
        cases.save(folder / "seg.nii.gz", mask),
    ]


@pytest.fixture
def quick(monkeypatch):
    """Two fusion metrics only: the others take half a minute to compile."""
    monkeypatch.setattr(slice_scores, "TABLE1", ("q_ssim", "q_ncie"))
