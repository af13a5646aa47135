"""A training's page in a headless Chromium: it fits a phone, its plots can be read there, the console is silent."""

import numpy as np
import pytest

from fusioninn_jax.tables import run_page
from tests.studies import browser

READABLE = 9  # pixels of the words of a plot, at least: the smallest are of 7 to 8 points, most of 10
WIDTHS = {"phone": 360, "desk": 1280}


def score(mean):
    return {"mean": mean, "low": mean - 0.01, "high": mean + 0.01, "worst": mean, "worst_subject": "patient_0"}


@pytest.fixture(scope="module", name="page")
def page_fixture(tmp_path_factory):
    """A page with every table and plot, of made-up numbers."""
    names = ["q_ssim", "ssim_fused_1", "ssim_fused_2", "fairness", "ssim_decomposed_1_8bit", "ssim_decomposed_2_8bit"]
    overall = {name + ending: score(0.9 - 0.01 * i) for i, name in enumerate(names) for ending in ("", "_brain")}
    of_patient = {name: of["mean"] for name, of in overall.items()}
    parts = {
        f"{measure}_oedema{ending}": score(0.8)
        for measure in ("auc", "cnr")
        for ending in ("", "_1", "_2", "_mean", "_over_best", "_over_mean")
    }
    summary = {
        "images": 8,
        "overall": overall,
        "subjects": {f"patient_{i}": of_patient for i in range(4)},
        "latent": {"brain": {"mean": 0.0, "std": 1.0, "skewness": 0.0, "excess_kurtosis": 0.0, "autocorrelation": 0.0}},
        "conspicuity": {"overall": parts, "subjects": {}},
    }
    report = {"dataset": "a/b", "split": "test", "modalities": ["t1gd", "flair"], "systems": {"fusioninn": summary}}
    images = np.random.default_rng(0).random((4, 24, 20, 2))
    examples = {"sources": images, "decomposed": images[..., ::-1], "fused": images[..., :1], "latent": images[..., :1]}
    train = [{"step": step, "loss": 1 / step, "fusion": 0.5, "decomposition": 0.4} for step in range(1, 20)]
    evaluations = [
        {"step": step, "ssim_fused_1_brain": 0.5, "ssim_fused_2_brain": 0.6, "ssim_decomposed_1_8bit_brain": 0.9}
        for step in (5, 10)
    ]
    folder = tmp_path_factory.mktemp("run")
    slices = [f"typical: patient_{i}, slice {i}" for i in range(4)]
    text = run_page._page(
        report, (examples, slices), train, evaluations, workdir=folder, split="test", config='{"seed": 0}'
    ).replace("<body>", '<body data-ready="yes">')
    (folder / "report.html").write_text(text)
    return folder / "report.html"


@pytest.mark.parametrize("screen", WIDTHS)
def test_the_page_fits_the_screen_and_its_plots_can_be_read(page, screen):
    with browser.opened(page, WIDTHS[screen], 800) as driver:
        assert driver.execute_script("return document.documentElement.scrollWidth") <= WIDTHS[screen]
        plots = driver.find_elements("tag name", "img")
        assert len(plots) == 3
        for plot in plots:
            width, natural = (plot.get_property(name) for name in ("width", "naturalWidth"))
            assert 10 * run_page.DPI / 72 * width / natural >= READABLE, plot.get_attribute("alt")
            box = plot.find_element("xpath", "..")  # what does not fit scrolls within its box, by keys too
            assert box.get_attribute("tabindex") == "0" and box.get_property("clientWidth") <= WIDTHS[screen]
            assert box.get_property("scrollWidth") >= width
        browser.keep(driver, f"run_page_{screen}")
        assert browser.complaints(driver) == []
