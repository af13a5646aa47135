"""The pages as a screen shows them, for docs/results/first_hour.md: a study of a simulated patient, and a training's.

Needs Chromium with its driver. The training's page is that of `make demo`, which has to run before.

    python -m benchmarks.screenshots docs/gallery --run=runs/demo/report.html
"""

from __future__ import annotations

import argparse
import io
import pathlib
import tempfile

import nibabel as nib
import numpy as np
from PIL import Image

from benchmarks import unseen
from fusioninn_jax import report
from tests.studies import browser

SIZE = (1440, 900)
COLOURS = 128  # of a picture


def study(folder: pathlib.Path) -> pathlib.Path:
    """The page of a simulated patient whom the model that ships has not seen."""
    sources, labels = unseen.patient(0)
    volumes = {"t1gd": 1000 * sources[..., 0], "flair": 1000 * sources[..., 1], "seg": labels}
    for name, volume in volumes.items():
        nib.save(nib.Nifti1Image(np.rint(volume).astype(np.int16).T, np.eye(4)), folder / f"{name}.nii.gz")
    t1gd, flair, mask = (str(folder / f"{name}.nii.gz") for name in volumes)
    out = folder / "study.html"
    assert report.main(["study", t1gd, flair, "--mask", mask, "--labels", "T1-Gd", "T2-FLAIR", "-o", str(out)]) == 0
    return out


def shoot(page: pathlib.Path, out: pathlib.Path) -> None:
    """A window of `SIZE` at the top of a page; raises where the browser complains of it."""
    with browser.opened(page.resolve(), *SIZE) as driver:
        shot = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
        if said := browser.complaints(driver):
            raise RuntimeError(f"{page}: {said}")
    shot.quantize(COLOURS).save(out, optimize=True)
    print(f"{out}: {out.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Makes the pages and takes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--run", type=pathlib.Path, help="the page of a training, runs/demo/report.html")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shoot(study(pathlib.Path(folder)), args.out / "study_page.png")
    if args.run:
        shoot(args.run, args.out / "run_page.png")


if __name__ == "__main__":
    main()
