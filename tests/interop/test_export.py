"""The exported model gives the same numbers in a process that cannot import this package."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from fusioninn_jax import pretrained
from fusioninn_jax.interop import export
from fusioninn_jax.runtime.errors import UserError
from tests.golden import portable_inputs
from tests.studies import cases
from tests.tolerances import ROUND_TRIP_F32

ELSEWHERE = """
import sys
class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("fusioninn_jax", "flax"):
            raise ImportError(name)
sys.meta_path.insert(0, Forbidden())
import numpy as np
from jax import export
fuse, decompose = (export.deserialize(bytearray(open(f"{sys.argv[1]}/{name}.stablehlo", "rb").read()))
                   for name in ("fuse", "decompose"))
images = np.load(sys.argv[2])
results = {}
for batch in (1, 3):
    fused, latent = fuse.call(*images[:, :batch])
    back = decompose.call(fused, latent)
    results |= {f"fused{batch}": fused, f"latent{batch}": latent, f"back{batch}": np.stack(back)}
np.savez(sys.argv[3], **results)
"""


def test_it_runs_without_this_package(tmp_path):
    model_folder = cases.save_model(tmp_path / "model")
    assert export.main(["--checkpoint", str(model_folder), "--size", "16", "12", "--out", str(tmp_path / "out")]) == 0
    images = portable_inputs.smooth(3, 3, 16, 12).transpose(1, 0, 2, 3)[..., None].astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, "-c", ELSEWHERE, tmp_path / "out", tmp_path / "images.npy", tmp_path / "r.npz"],
        check=True,
        cwd=tmp_path,
        env=environment,
    )
    model, variables, *_ = pretrained.load(model_folder)
    fused, latent = jax.jit(model.fuse)(variables, *images)
    with np.load(tmp_path / "r.npz") as results:
        for batch in (1, 3):
            np.testing.assert_allclose(results[f"fused{batch}"], fused[:batch], atol=ROUND_TRIP_F32)
            np.testing.assert_allclose(results[f"latent{batch}"], latent[:batch], atol=10 * ROUND_TRIP_F32)
            np.testing.assert_allclose(results[f"back{batch}"], images[:, :batch], atol=ROUND_TRIP_F32)


def test_a_size_that_does_not_fit_is_one_line(tmp_path):
    with pytest.raises(UserError, match="--size: size 15x12: the model needs multiples of"):
        export.main(["--size", "15", "12", "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
