"""A study page of a coloured picture in headless Chromium; skipped without a browser."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from fusioninn_jax import report
from fusioninn_jax.studies import slice_scores
from tests.studies import browser, cases
from tests.studies.browser import keep, press, settle

pytestmark = pytest.mark.skipif(bool(browser.missing()), reason=browser.missing())


@pytest.fixture(scope="module")
def coloured_page(tmp_path_factory) -> tuple[pathlib.Path, np.ndarray]:
    """A page of a coloured picture and a grey one, and the coloured one's pixels."""
    folder = tmp_path_factory.mktemp("coloured")
    rows, columns = np.mgrid[:40, :32] / 40
    luma = 90 + 80 * np.sin(7 * rows) * np.cos(5 * columns)
    rgb = np.stack([np.minimum(1.4 * luma, 255), luma, 0.3 * luma], -1).astype(np.uint8)
    Image.fromarray(rgb).save(folder / "pet.png")
    Image.fromarray(luma.T[::-1, :40].T.astype(np.uint8)).save(folder / "mri.png")
    paths = [str(folder / name) for name in ("pet.png", "mri.png")]
    model = cases.save_model(folder / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slice_scores, "TABLE1", ("q_ssim",))  # the others take half a minute to compile
        report.main(["study", *paths, "--samples", "2", "-o", str(folder / "page.html"), "--checkpoint", str(model)])
    return folder / "page.html", rgb


def painted(driver, index: int) -> np.ndarray:
    """The slice of a panel that is drawn, one pixel a voxel, (H, W, 3)."""
    width, height, seen = driver.execute_script(
        "const c = viewer.painted(arguments[0], viewer.plane, false);"
        "return [c.width, c.height, Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)]",
        index,
    )
    return np.reshape(seen, (height, width, 4))[..., :3]


def test_a_coloured_picture_is_shown_in_its_colours(coloured_page):
    page, rgb = coloured_page
    with browser.opened(page, 1400, 900) as driver:
        settle(driver)
        press(driver, "h")  # no crosshair
        keep(driver, "colours")
        assert browser.complaints(driver) == []  # before this test reads pixels back, which the browser remarks on
        driver.execute_script("viewer.setWindow('source-1', [0, 255])")
        settle(driver)
        got = painted(driver, 0)
        _, top, left = driver.execute_script("return viewer.study.corner")
        assert np.abs(got - rgb[top : top + got.shape[0], left : left + got.shape[1]].astype(int)).max() <= 3
        spread = [int(np.ptp(painted(driver, i), axis=-1).max()) for i in range(5)]
        assert min(spread[0], spread[2], spread[3]) > 40, spread  # source, fused and decomposed: in colours
        assert max(spread[1], spread[4]) == 0, spread  # the grey one and what comes back of it: grey
