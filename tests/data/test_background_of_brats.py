"""data.prepare brats on volumes that are normalised already: nothing of the brain is lost, the background is 0."""

import nibabel as nib
import numpy as np
import pytest

from data import prepare
from fusioninn_jax.runtime.errors import UserError
from tests import tolerances
from tests.data import synthetic
from tests.data.test_brats import _all, _run


def _normalised(path, kind):
    """Rewrites a volume, z-scored within its brain or over all voxels, or scaled to [-1, 1]."""
    raw = np.asarray(nib.load(path).dataobj).astype(np.float32)
    of = raw[raw > 0] if kind == "brain" else raw
    volume = (raw - of.mean()) / of.std() if kind != "range" else raw / raw.max() * 2 - 1
    synthetic.save(path, np.where(raw > 0, volume, 0) if kind == "brain" else volume)


@pytest.mark.parametrize("kind", ["brain", "volume", "range"])
def test_the_brain_stays_whole(source, tmp_path, capsys, kind):
    _, before = _run(source, tmp_path / "out", "--required_labels=", name="raw")
    for file in source.rglob("*[er].nii.gz"):
        _normalised(file, kind)
    builder, after = _run(source, tmp_path / "out", "--required_labels=", name="normalised")
    before, after = _all(before), _all(after)
    assert set(before) == set(after)
    for key, example in after.items():
        raw, new = before[key]["sources"], example["sources"]
        np.testing.assert_array_equal(new > 0, raw > 0)
        for channel in (0, 1):
            order = np.argsort(raw[..., channel], axis=None, kind="stable")
            assert (np.diff(new[..., channel].ravel()[order]) >= -tolerances.ROUNDING_F32).all(), (
                "darker became brighter"
            )
            unit = [x[..., channel] / x[..., channel].max() for x in (raw, new)]
            np.testing.assert_allclose(*unit, atol=tolerances.GAP_BELOW_BRAIN)
    counts = builder.info.metadata["counts"]
    assert set(counts["backgrounds"]) == {"p1", "p2", "p3"} and counts["negative_voxels"] == {}
    said = capsys.readouterr().out
    assert "background that is not 0, or not the smallest value, made 0 in 3 subjects: p1 t1gd" in said


def test_noise_round_the_head_asks_for_the_option(source, tmp_path):
    noise = np.random.default_rng(0).normal(size=synthetic.SHAPE).astype(np.float32)
    synthetic.save(source / "p2" / "p2_flair.nii.gz", noise)
    with pytest.raises(UserError, match=r"p2_flair.nii.gz: 5\d% of its voxels are negative.*give --background=minimum"):
        prepare.main(["brats", f"--source={source}", f"--data_dir={tmp_path}/out"])
    _, examples = _run(source, tmp_path / "out", "--background=auto,minimum")
    sources = _all(examples)["p2", 2]["sources"]
    np.testing.assert_allclose(sources[..., 1], (noise - noise.min())[:, :, 2].T, atol=tolerances.ROUNDING_F32)


@pytest.mark.parametrize(
    "option, message",
    [
        ("--background=dark", "give auto, minimum or a number"),
        ("--background=0,0,0", "one for all modalities"),
        ("--background=-77", "no voxel is -77"),
    ],
)
def test_bad_options(source, tmp_path, option, message):
    with pytest.raises(UserError, match=message):
        prepare.main(["brats", f"--source={source}", f"--data_dir={tmp_path}/out", option])
