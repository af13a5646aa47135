"""A headless Chromium for the tests of pages, where one is installed with its driver."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest

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
