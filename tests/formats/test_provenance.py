"""formats.provenance: a record that is whole, and images that are not those that it tells of."""

import numpy as np
import pytest

from fusioninn_jax.formats import provenance
from fusioninn_jax.formats.grid import PIXELS
from fusioninn_jax.formats.series import uniform
from fusioninn_jax.runtime.errors import UserError
from tests import tolerances
from tests.formats.volume_cases import image_of_record, noise, record


def test_a_record_that_is_whole(tmp_path):
    whole = record()
    found = provenance.parse(tmp_path / "f.nii", provenance.text(whole))
    assert {key: value for key, value in found.items() if key != provenance.SEAL} == whole
    with pytest.raises(UserError, match="tells of 3 slices, there are 2"):
        provenance.sources(whole, uniform(noise("u2", 2).transpose(2, 0, 1), PIXELS, {"kind": "picture"}))


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image._replace(stored=image.stored[:, ::-1]),
        lambda image: image._replace(stored=image.stored + 1),
        lambda image: image._replace(slope=image.slope * 2),
        lambda image: image._replace(intercept=image.intercept + 1),
    ],
    ids=["order", "voxels", "slope", "intercept"],
)
def test_an_image_that_was_changed_is_told(tmp_path, change):
    fused = image_of_record()
    provenance.check_voxels(record(), fused, tmp_path / "f.nii")
    with pytest.raises(UserError, match="f.nii: its voxels were changed after fusing; .*--accept-changed"):
        provenance.check_voxels(record(), change(fused), tmp_path / "f.nii")


def test_an_image_that_lies_elsewhere_is_told(tmp_path):
    fused, whole = image_of_record(), record()
    rounded = fused._replace(affine=fused.affine * (1 + tolerances.ROUNDING_F32))
    provenance.check_affine(whole, rounded, tmp_path / "f.nii")
    for affine in (np.diag([1.0, -1, 1, 1]), np.full((4, 4), np.nan)):
        with pytest.raises(UserError, match="f.nii: its affine was changed after fusing"):
            provenance.check_affine(whole, fused._replace(affine=affine), tmp_path / "f.nii")
        earlier = {key: value for key, value in whole.items() if key != "affine"}
        provenance.check_affine(earlier, fused._replace(affine=affine), tmp_path / "f.nii")  # it cannot tell


def test_a_record_of_the_other_kind_of_file_or_none_is_told(tmp_path):
    whole = provenance.parse(tmp_path / "f.nii", provenance.text(record()))
    assert provenance.check(whole, tmp_path / "f.nii", "fused") is whole
    latent = provenance.of_latent(whole, np.zeros((3, 5, 6, 1), np.float32), remainder=False)
    latent = provenance.parse(tmp_path / "z.nii", provenance.text(latent))
    assert latent["id"] == whole["id"] and provenance.check(latent, tmp_path / "z.nii", "latent") is latent
    for found, message in (
        (None, "holds no record of its sources"),
        (latent, "is a latent image where the fused one is expected; swap them"),
        (whole | {"prior": "zeros"}, "the record of its sources was changed after fusing"),
        (whole | {"fusioninn_jax": 1, "content": "latent"}, "is a latent image where the fused one"),
    ):
        with pytest.raises(UserError, match=message):
            provenance.check(found, tmp_path / "f.nii", "fused")
