"""A headless Chromium for the tests of pages, where one is installed with its driver; how they drive the study page."""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import shutil
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.studies import cases

SHOTS = os.environ.get("FUSIONINN_SCREENSHOTS")  # a folder that keeps what the tests saw
PATIENCE = 60  # seconds that a page may take to open on a busy machine


def missing() -> str:
    """What a browser test lacks here, in words; empty where nothing is lacking."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed: pip install selenium"
    for names in (("chromium", "chromium-browser", "google-chrome"), ("chromedriver",)):
        if not any(map(shutil.which, names)):
            return f"no {names[0]} on this machine: apt-get install chromium chromium-driver"
    return ""


@contextlib.contextmanager
def opened(page: pathlib.Path, width: int, height: int) -> Iterator[Any]:
    """A driver with a page that has opened, without a network."""
    if missing():
        pytest.skip(missing())
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = next(
        path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path
    )
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        driver.get(page.as_uri())
        end = time.time() + PATIENCE
        while not driver.execute_script("return document.body.dataset.ready") and time.time() < end:
            time.sleep(0.2)
        yield driver
    finally:
        driver.quit()


def complaints(driver: Any) -> list[str]:
    """Warnings and errors of the console."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("WARNING", "SEVERE")]


def canvases(driver: Any) -> list[Any]:
    return driver.find_elements("css selector", "#stage canvas")


def settle(driver: Any) -> None:
    """Waits until what was asked for is drawn."""
    driver.execute_async_script("const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done));")


def press(driver: Any, key: str) -> None:
    driver.find_element("tag name", "body").send_keys(key)
    settle(driver)


def pixels(driver: Any, index: int = 0) -> np.ndarray:
    """A canvas as the screen shows it, (H, W, 3)."""
    canvas = canvases(driver)[index]
    return np.asarray(Image.open(io.BytesIO(canvas.screenshot_as_png)).convert("RGB")).astype(int)


def keep(driver: Any, name: str) -> None:
    if SHOTS:
        pathlib.Path(SHOTS).mkdir(parents=True, exist_ok=True)
        driver.save_screenshot(f"{SHOTS}/{name}.png")


def state(driver: Any, name: str) -> Any:
    return driver.execute_script(f"return viewer.state.{name}")


def slide(driver: Any, control: str, value: int) -> None:
    driver.execute_script(
        "const control = document.getElementById(arguments[0]); control.value = arguments[1];"
        "control.dispatchEvent(new Event('input', {bubbles: true}))",
        control,
        value,
    )
    settle(driver)


def choose(driver: Any, control: str, value: str) -> None:
    driver.execute_script(
        "const control = document.getElementById(arguments[0]); control.value = arguments[1];"
        "control.dispatchEvent(new Event('change', {bubbles: true}))",
        control,
        value,
    )
    settle(driver)


def study_page(folder: pathlib.Path) -> pathlib.Path:
    """A page of a small study whose slices, sources and label differ from one another."""
    from fusioninn_jax import report
    from fusioninn_jax.studies import slice_scores

    shape = (64, 56, 7)
    paths = []
    for seed in (1, 2):
        content = np.zeros(shape, np.int16)
        content[8:56, 8:48] = np.maximum(cases.voxels(seed, (48, 40, 7)), 0)
        paths.append(str(cases.save(folder / f"{seed}.nii.gz", content * (np.arange(7) + 3) // 3)))
    mask = np.zeros(shape, np.uint8)
    mask[20:34, 16:32, 1:5], mask[24:28, 20:26, 2:4] = 2, 4
    seg, model = cases.save(folder / "seg.nii.gz", mask), cases.save_model(folder / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slice_scores, "TABLE1", ("q_ssim", "q_ncie"))
        report.main(
            [
                "study",
                *paths,
                "--mask",
                str(seg),
                "--labels",
                "T1-Gd",
                "T2-FLAIR",
                "--samples",
                "2",
                "-o",
                str(folder / "page.html"),
                "--checkpoint",
                str(model),
            ]
        )
    return folder / "page.html"
