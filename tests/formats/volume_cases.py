"""Small volumes in files of any format, with what a test asks for in them."""

import gzip
import struct

import nibabel as nib
import numpy as np
import tifffile

from fusioninn_jax.formats import provenance
from fusioninn_jax.formats.grid import PIXELS
from fusioninn_jax.formats.series import uniform

SECRET = b"FAMILY^GIVEN"


def store(path, voxels, slope=1.0, intercept=0.0):
    """(Y, X, Z) voxels in the format of the ending; the scale where it holds one."""
    if path.name.endswith(".npy"):
        np.save(path, voxels.transpose(2, 0, 1))
    elif path.name.endswith(".tif"):
        tifffile.imwrite(path, voxels[..., 0])
    else:
        raw = bytearray(nib.Nifti1Image(voxels, np.diag([-1.0, -1, 1, 1])).to_bytes())
        raw[112:120] = struct.pack("<2f", slope, intercept)
        path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def noise(dtype="f4", depth=3):
    return (np.random.default_rng(0).random((6, 5, depth)) * 900).astype(dtype)


def image_of_record():
    """The fused image of `record`."""
    return uniform(noise("u2").transpose(2, 0, 1), PIXELS, {"kind": "picture", "flat": False}, 0.5)


def record():
    """The record of an image that was fused from two series like it."""
    fused, ranges = image_of_record(), np.stack([np.tile([0.0, 9.0], (3, 1))] * 2, 1)
    return provenance.make(fused, [fused, fused], ranges, "0" * 16, "normal")


ORIENTATIONS = ("LPS", "RAS", "LAS", "SPR", "ILA", "PSR", "AIL")


def world_code(affine, shape):
    """A volume whose voxel value tells the voxel's place in RAS+ millimetres: x + 100 y + 10000 z."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return (index @ affine[:3, :3].T + affine[:3, 3]) @ np.array([1.0, 100.0, 10000.0])


def oriented(tmp_path, codes, name="v.nii.gz", shape=(7, 9, 5)):
    start = np.diag([1.0, 2.0, 3.0, 1.0])
    start[:3, 3] = (-3, -8, -6)
    change = nib.orientations.ornt_transform(nib.io_orientation(start), nib.orientations.axcodes2ornt(codes))
    affine = start @ nib.orientations.inv_ornt_aff(change, shape)
    shape = tuple(np.array(shape)[np.argsort(change[:, 0])])
    nib.save(nib.Nifti1Image(world_code(affine, shape).astype(np.float32), affine), tmp_path / name)
    return tmp_path / name
