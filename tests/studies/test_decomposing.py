"""studies.decomposing: what comes back with a latent and without, and fused images that are refused."""

import nibabel as nib
import numpy as np
import pytest

from fusioninn_jax import decompose
from fusioninn_jax.runtime.errors import UserError
from tests.studies import cases
from tests.studies.cases import run_decompose, run_fuse


def test_without_the_latent_the_seed_decides_and_the_spread_is_kept(tmp_path, model_folder, pair):
    fused = tmp_path / "fused.nii.gz"
    run_fuse(model_folder, *pair, "-o", fused)
    draws = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        out = [tmp_path / f"{name}{i}.nii.gz" for i in (1, 2)]
        run_decompose(model_folder, fused, "-o", *out, "--seed", seed)
        draws[name] = cases.stored(out[0])
    np.testing.assert_array_equal(draws["a"], draws["b"])
    assert (draws["a"] != draws["c"]).any()
    out = [tmp_path / "m1.nii.gz", tmp_path / "m2.nii.gz"]
    run_decompose(model_folder, fused, "-o", *out, "--samples", 4, "--uncertainty", tmp_path / "u.nii.gz")
    spread = nib.load(tmp_path / "u.nii.gz")
    assert spread.shape == (9, 7, 5, 2) and (spread.get_fdata() >= 0).all() and spread.get_fdata().max() > 1
    np.testing.assert_array_equal(spread.get_fdata()[:, :, 4], 0)  # an all-zero slice is certain
    np.testing.assert_array_equal(spread.affine, nib.load(pair[0]).affine)


def test_a_latent_belongs_to_one_fused_image(tmp_path, model_folder, pair):
    for name, sources in (("a", pair), ("b", pair[::-1])):
        run_fuse(model_folder, *sources, "-o", tmp_path / f"{name}.nii.gz", "--latent", tmp_path / f"z{name}.nii.gz")
    out = ["-o", str(tmp_path / "1.nii.gz"), str(tmp_path / "2.nii.gz"), "--checkpoint", str(model_folder)]
    with pytest.raises(UserError, match="zb.nii.gz: is the latent of another fused image"):
        decompose.main([str(tmp_path / "a.nii.gz"), "--latent", str(tmp_path / "zb.nii.gz"), *out])
    image = nib.load(tmp_path / "a.nii.gz")
    data = image.dataobj.get_unscaled().copy()
    data[4, 3, 2] += 1
    changed = nib.Nifti1Image(data, None, image.header)
    changed.header["scl_slope"] = image.dataobj.slope
    changed.header["scl_inter"] = image.dataobj.inter
    content = bytearray(changed.to_bytes())
    content[112:120] = np.array([image.dataobj.slope, image.dataobj.inter], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(UserError, match="a.nii: its voxels were changed"):
        decompose.main([str(tmp_path / "a.nii"), "--latent", str(tmp_path / "za.nii.gz"), *out])
    with pytest.raises(UserError, match="holds no record"):
        decompose.main([str(pair[0]), *out])


def test_a_changed_fused_image_is_refused_unless_it_is_accepted(tmp_path, model_folder, pair):
    fused, back = tmp_path / "fused.nii", [tmp_path / "b0.nii", tmp_path / "b1.nii"]
    run_fuse(model_folder, *pair, "-o", fused)
    whole = bytearray(fused.read_bytes())
    for place in (112, 352 + (len(whole) - 352) // 2):  # the slope; a voxel or the record
        changed = bytearray(whole)
        changed[place] ^= 4
        fused.write_bytes(changed)
        with pytest.raises(UserError, match=r"fused\.nii: "):
            run_decompose(model_folder, fused, "-o", *back)
    start = int(nib.Nifti1Image.from_bytes(bytes(whole)).dataobj.offset)
    changed = bytearray(whole)
    changed[start + 2 * ((len(whole) - start) // 4)] ^= 255  # the low byte of a voxel in the middle
    fused.write_bytes(changed)
    with pytest.raises(UserError, match="its voxels were changed after fusing; .*--accept-changed"):
        run_decompose(model_folder, fused, "-o", *back)
    assert not any(path.exists() for path in back)
    run_decompose(model_folder, fused, "-o", *back, "--accept-changed")
    assert all(path.exists() for path in back)


def test_bad_decompositions(tmp_path, model_folder, pair):
    fused, out = tmp_path / "f.nii.gz", ["-o", tmp_path / "1.nii", tmp_path / "2.nii"]
    run_fuse(model_folder, *pair, "-o", fused)
    other = cases.save_model(tmp_path / "other", seed=1)
    for arguments, message in [
        ([fused, *out, "--checkpoint", other], "was fused by another model"),
        ([fused, "-o", tmp_path / "1.nii"], "was fused from 2 series, 1 outputs are named"),
        ([pair[0], *out], "holds no record of its sources"),
        ([fused, *out, "--latent", fused], "4-D one is expected|is a fused image where the latent"),
        ([fused, *out, "--samples", 3, "--latent", fused], "--latent leaves nothing to draw"),
        ([fused, *out, "--uncertainty", tmp_path / "u.nii"], "at least 2 for --uncertainty"),
        ([fused, "-o", fused, tmp_path / "2.nii", "--overwrite"], "is an input too"),
    ]:
        with pytest.raises(UserError, match=message) as caught:
            run_decompose(model_folder, *arguments) if "--checkpoint" not in arguments else decompose.main(
                list(map(str, arguments))
            )
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "1.nii").exists() and not (tmp_path / "2.nii").exists()
