"""formats.series: values that cannot be computed with, and fill values."""

import numpy as np
import pytest

from fusioninn_jax.formats import files
from fusioninn_jax.formats.grid import PIXELS
from fusioninn_jax.formats.series import uniform, with_background
from fusioninn_jax.runtime.errors import UserError
from tests.formats.volume_cases import noise, store


@pytest.mark.parametrize(
    "name, dtype, value",
    [
        ("a.nii", "f8", 1e300),
        ("a.nii", "f8", -1e39),
        ("a.nii.gz", "f4", np.inf),
        ("a.nii", "f4", np.nan),
        ("a.nii", "f4", 3.3e38),
        ("a.npy", "f8", 1e200),
        ("a.npy", "f4", -np.inf),
        ("a.npy", "f4", 2e38),
        ("a.nii", "f4", -3.4e38),
    ],
)
def test_the_slice_and_the_value_are_named(tmp_path, name, dtype, value):
    voxels = noise(dtype)
    voxels[2, 2, 1] = value
    path = store(tmp_path / name, voxels)
    with pytest.raises(UserError, match=rf"{name}: slice 2 holds 1 values that cannot be computed with, the first "):
        files.read(path)
    mended = files.read(path, fill_value=value if np.isfinite(value) else float("nan"))
    assert np.isfinite(mended.values).all()
    expected = np.delete(voxels.astype("f8").ravel(), np.ravel_multi_index((2, 2, 1), voxels.shape)).min()
    assert mended.values.min() == np.float32(expected) and np.ptp(mended.values) < 1000


@pytest.mark.parametrize(
    "name, fill", [("a.nii", -3.4028235e38 / 8), ("a.npy", 1e20), ("a.tif", -1e12), ("a.nii.gz", -1e30)]
)
def test_a_fill_value_that_flattens_a_slice(tmp_path, name, fill):
    voxels = noise(depth=1)
    voxels[:2, 3] = fill
    path = store(tmp_path / name, voxels)
    with pytest.raises(UserError, match="slice 1 holds .*, beside which all else is flat; .*--fill-value="):
        files.read(path)
    series = files.read(path, fill_value=fill)
    assert np.ptp(series.values) < 900 and (series.values == series.values.min()).sum() == 3


def test_large_and_small_readings_are_no_fill_values(tmp_path):
    for voxels in (
        noise() * 1e9,
        noise() * 1e-30,
        noise("i2") * 0,
        noise() * 1e12,
        np.where(noise() > 500, 4e9, noise()),
    ):
        path = store(tmp_path / "a.nii", voxels.astype("f4"))
        assert files.read(path).stored.shape == (3, 5, 6)


def test_background_of_integers_and_of_slopes():
    stored = np.array([[[-9999, 4], [7, 9]], [[-9999, -9999], [5, 6]]], np.int16)
    series = uniform(stored, PIXELS, {"kind": "picture", "flat": False}, 0.5, 100)
    np.testing.assert_array_equal(
        with_background(series, 0.5 * -9999 + 100).stored, [[[4, 4], [7, 9]], [[4, 4], [5, 6]]]
    )
    falling = series._replace(slope=np.array([-0.5, -0.5]))
    np.testing.assert_array_equal(
        with_background(falling, 0.5 * 9999 + 100).stored, [[[9, 4], [7, 9]], [[9, 9], [5, 6]]]
    )
    assert with_background(series, 12345.0) is series


@pytest.mark.parametrize(
    "fills",
    [(-(2.0**31),), (1e30,), (-1e30,), (-1e30, -5e29), (-1e9,)],
    ids=lambda fills: f"{len(fills)} of {fills[0]:g}",
)
@pytest.mark.parametrize("where", ["voxels", "slice"])
def test_fill_values_that_flatten_the_rest_are_named(tmp_path, fills, where):
    voxels = noise("f4", 4)
    if where == "slice":
        voxels[..., 1] = fills[0]
    else:
        voxels[: len(fills), 0, 2] = fills
    with pytest.raises(UserError, match=r"beside which all else is flat; mend it, or .*--fill-value="):
        files.read(store(tmp_path / "a.nii", voxels))
