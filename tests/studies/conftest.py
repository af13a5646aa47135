"""Fixtures of the studies' tests."""

import pathlib

import pytest

from tests.studies import cases


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
