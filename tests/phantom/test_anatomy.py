"""phantom.anatomy: the atlas, and deformations that are one-to-one."""

import numpy as np

from fusioninn_jax.phantom import anatomy, fields


def test_atlas_axes_are_up_back_left():
    """Row 0 is anterior and slice 0 inferior, by the affine of nilearn's image (its left and right are equal)."""
    from nilearn import datasets

    image = datasets.load_mni152_wm_template(resolution=1)
    data, atlas = image.get_fdata(dtype=np.float32), anatomy.load_atlas(1.0)
    assert atlas.white.shape == (189, 233, 197)
    for voxel in np.random.default_rng(0).integers(20, 170, (200, 3)):  # (z, y, x) in the atlas
        up, back, left = voxel - anatomy.ATLAS_ZERO
        x, y, z, _ = np.rint(np.linalg.solve(image.affine, [-left, -back, up, 1])).astype(int)  # RAS
        assert atlas.white[tuple(voxel)] == data[x, y, z]


def test_warp_is_one_to_one():
    """The Jacobian determinant of the whole map, mass effect included, is positive everywhere."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        warp = anatomy.random_warp(rng)
        grid = fields.Grid(*(np.arange(0, n, 2, dtype=np.float32) for n in (180, 230, 230)))
        outline = anatomy.warp_grid(warp, grid)
        points = anatomy.push_aside(outline, anatomy.ATLAS_ZERO + 20, 15.0, 0.35 * 15)
        jacobian = np.stack([np.stack(np.gradient(p, 2.0), -1) for p in points], -2)
        determinant = np.linalg.det(jacobian)
        assert determinant.min() > 0.05
        moved = np.linalg.norm(
            outline - np.einsum("ij,jzyx->izyx", warp.matrix, _centred(grid)) - anatomy.ATLAS_ZERO[:, None, None, None],
            axis=0,
        )
        assert 1.5 < moved.max() < 15  # mm, beside rotation and scaling


def _centred(grid: fields.Grid) -> np.ndarray:
    points = np.stack(np.meshgrid(*grid, indexing="ij"))
    return points - (anatomy.ATLAS_ORIGIN_MM + anatomy.ATLAS_ZERO)[:, None, None, None]


def test_mass_effect_pushes_outwards():
    centre = np.array([10.0, 20.0, 30.0])
    points = (centre + [0, 0, 12.0]).reshape(3, 1, 1, 1)
    source = anatomy.push_aside(points, centre, 12.0, 3.0).ravel()
    np.testing.assert_allclose(source, centre + [0, 0, 9.0])  # what is seen at 12 mm came from 9 mm
