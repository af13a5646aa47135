"""Keys of the study page in headless Chromium: which are its own, what they bring back; skipped without a browser."""

import pathlib
import time

import pytest

from tests.studies import browser
from tests.studies.browser import choose, press, state

pytestmark = pytest.mark.skipif(bool(browser.missing()), reason=browser.missing())


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> pathlib.Path:
    return browser.study_page(tmp_path_factory.mktemp("page"))


def test_the_keys_that_scroll_a_page_reach_the_scores(page):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    def seen(key: str) -> tuple[list[int], bool]:
        """The slice after a key went to what has the focus, and whether the page scrolled."""
        before = driver.execute_script("return window.scrollY")
        ActionChains(driver).send_keys(key).perform()
        after, end = None, time.time() + 3
        while (now := driver.execute_script("return window.scrollY")) != after and time.time() < end:
            after = now
            time.sleep(0.3)  # a browser scrolls smoothly
        return state(driver, "cursor")[0], now != before

    with browser.opened(page, 1000, 500) as driver:
        first = state(driver, "cursor")[0]
        assert seen(Keys.ARROW_DOWN) == (first - 1, False)
        assert seen(Keys.END) == (5, False)
        driver.execute_script("document.getElementById('scores-title').scrollIntoView({block: 'start'})")
        assert seen(Keys.PAGE_DOWN) == (5, True)  # no panel is in sight
        assert seen(Keys.ARROW_UP) == (5, True)
        driver.execute_script("document.querySelector('#stage').scrollIntoView({block: 'end'})")
        driver.execute_script("document.querySelector('#help summary').focus({preventScroll: true})")
        assert seen(Keys.ARROW_DOWN) == (5, True)  # the focus is below the panels
        driver.execute_script("window.scrollTo(0, 0); document.activeElement.blur()")
        assert seen(Keys.HOME) == (0, False)
        driver.execute_script("document.getElementById('opacity').focus()")
        assert seen(Keys.HOME) == (0, False) and state(driver, "opacity") == 0
        names = [key.get_attribute("textContent") for key in driver.find_elements("css selector", "#help kbd")]
        assert {"Home", "End"} <= set(names)
        assert browser.complaints(driver) == []


def test_x_swaps_in_every_comparison_and_o_brings_back_what_was_outlined(page):
    with browser.opened(page, 1400, 900) as driver:
        press(driver, "x")
        assert not state(driver, "second")  # nothing is compared
        for key in "wd":
            press(driver, key)
            a, b = state(driver, "a"), state(driver, "b")
            press(driver, "x")
            assert [state(driver, "a"), state(driver, "b")] == [b, a] != [a, b]
            assert driver.find_element("id", "first").get_attribute("value") == str(b)
        driver.execute_script("const box = document.getElementById('running'); if (box.checked) box.click()")
        press(driver, "b")
        before = state(driver, "second")
        press(driver, "x")
        assert state(driver, "second") is not before and [state(driver, "a"), state(driver, "b")] == [a, b][::-1]
        for chosen in ("labels", "tumour"):
            choose(driver, "outline", chosen)
            press(driver, "o")
            assert state(driver, "outline") == "off"
            press(driver, "o")
            assert state(driver, "outline") == driver.find_element("id", "outline").get_attribute("value") == chosen
        choose(driver, "outline", "labels")
        choose(driver, "outline", "off")
        press(driver, "o")
        assert state(driver, "outline") == "labels"
        assert browser.complaints(driver) == []
