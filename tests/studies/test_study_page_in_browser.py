"""The study page driven in headless Chromium: slider, keys, comparison, narrow windows; skipped without a browser."""

import pathlib
import time

import numpy as np
import pytest

from tests.studies import browser
from tests.studies.browser import canvases, choose, keep, pixels, press, settle, slide, state

pytestmark = pytest.mark.skipif(bool(browser.missing()), reason=browser.missing())


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> pathlib.Path:
    return browser.study_page(tmp_path_factory.mktemp("page"))


def test_slider_and_keys_scroll_all_panels(page):
    from selenium.webdriver.common.keys import Keys

    with browser.opened(page, 1400, 900) as driver:
        settle(driver)
        keep(driver, "grid")
        assert len(canvases(driver)) == 9
        before = [pixels(driver, i) for i in (0, 2, 5)]
        slide(driver, "slice", 0)
        assert driver.find_element("id", "where").text == "1 of 7"
        after = [pixels(driver, i) for i in (0, 2, 5)]
        assert all(np.abs(a - b).max() > 20 for a, b in zip(before, after, strict=True))
        press(driver, Keys.ARROW_UP)
        assert driver.find_element("id", "where").text == "2 of 7"
        press(driver, Keys.END)
        assert driver.find_element("id", "where").text == "6 of 7"  # the last slice is blank
        labels = [canvas.get_attribute("aria-label") for canvas in canvases(driver)]
        assert labels[0] == "T1-Gd, axial, slice 6 of 7" and len(set(labels)) == 9  # no tumour there
        press(driver, Keys.ARROW_DOWN)
        choose(driver, "overlay", "5")
        name = driver.execute_script("return viewer.volumes[5].title")
        labels = [canvas.get_attribute("aria-label") for canvas in canvases(driver)]
        assert labels[0] == f"T1-Gd, axial, slice 5 of 7, tumour outlined, overlay {name}"
        assert labels[5] == f"{name}, axial, slice 5 of 7, tumour outlined"
        press(driver, "o")
        assert canvases(driver)[0].get_attribute("aria-label") == f"T1-Gd, axial, slice 5 of 7, overlay {name}"
        assert browser.complaints(driver) == []


def test_windows_zoom_outline_and_overlay_change_the_picture(page):
    with browser.opened(page, 1400, 900) as driver:
        press(driver, "1")
        keep(driver, "one")
        canvas = driver.find_element("css selector", "#stage canvas")
        assert canvas.size["height"] > 600  # a slice fills the window
        whole = pixels(driver)
        press(driver, "o")
        assert (np.abs(pixels(driver) - whole).max(-1) > 30).sum() > 50, "the outline was there and is gone"
        press(driver, "o")
        press(driver, "]")
        wider = driver.execute_script("return viewer.windows['source-1']")
        before = driver.execute_script("return viewer.volumes[0].window")
        assert wider[1] - wider[0] > 1.05 * (before[1] - before[0])
        press(driver, "+")
        assert state(driver, "zoom") > 1
        press(driver, "r")
        assert state(driver, "zoom") == 1 and (pixels(driver) == whole).all()
        choose(driver, "overlay", "5")
        keep(driver, "overlay")
        coloured = pixels(driver)
        assert (np.ptp(coloured, -1) > 40).sum() > (np.ptp(whole, -1) > 40).sum() + 100
        slide(driver, "opacity", 0)
        assert (pixels(driver) == whole).all()
        assert browser.complaints(driver) == []


def in_sight(driver, element) -> bool:
    """Whether an element lies wholly between the bar and the end of the window."""
    return driver.execute_script(
        "const {top, bottom} = arguments[0].getBoundingClientRect();"
        "return top >= document.getElementById('bar').getBoundingClientRect().bottom && bottom <= innerHeight",
        element,
    )


def test_what_is_enlarged_further_down_the_page_comes_into_sight(page):
    from selenium.webdriver import ActionChains

    def down(driver):
        driver.execute_script("document.querySelectorAll('#stage figure')[8].scrollIntoView({block: 'center'})")

    with browser.opened(page, 1400, 700) as driver:
        for enlarge in (
            lambda: driver.find_elements("css selector", ".enlarge")[8].click(),
            lambda: ActionChains(driver).double_click(canvases(driver)[8]).perform(),
            lambda: press(driver, "9"),
        ):
            down(driver)
            enlarge()
            settle(driver)
            assert [state(driver, "layout"), state(driver, "panel")] == ["one", 8]
            assert in_sight(driver, driver.find_element("css selector", "#stage figure"))
            press(driver, "g")
            assert in_sight(driver, canvases(driver)[8]) and not in_sight(driver, canvases(driver)[0])
        for key in "wd":
            driver.execute_script("window.scrollTo(0, document.body.scrollHeight)")
            press(driver, key)
            keep(driver, f"from-below-{key}")
            assert all(in_sight(driver, canvas) for canvas in canvases(driver))
        driver.execute_script("window.scrollTo(0, 0)")
        press(driver, "1")
        press(driver, "g")
        assert in_sight(driver, canvases(driver)[0])
        assert browser.complaints(driver) == []


def scales(driver) -> list[list[str]]:
    """What the colour bars of each figure are called."""
    return driver.execute_script(
        "return [...document.querySelectorAll('#stage figure')].map(figure =>"
        "[...figure.querySelectorAll('.scale:not([hidden])')].map(scale => scale.getAttribute('aria-label')))"
    )


def test_an_overlay_has_a_colour_bar_wherever_it_is_shown(page):
    with browser.opened(page, 1400, 900) as driver:
        settle(driver)
        alone = scales(driver)
        assert [len(bars) for bars in alone] == [1] * 9
        choose(driver, "overlay", "5")
        keep(driver, "overlay-grid")
        name = driver.execute_script("return viewer.volumes[5].title")
        bars = alone[5][0].replace("colour bar", f"colour bar of the overlay {name}")
        assert scales(driver) == [own if k == 5 else [*own, bars] for k, own in enumerate(alone)]
        painted = driver.find_element("css selector", ".scale.over .bar").value_of_css_property("background-image")
        assert painted.count("rgb(") == 9
        driver.execute_script("viewer.setWindow(viewer.volumes[5].group, [1, 3])")
        settle(driver)
        shown = driver.find_element("css selector", ".scale.over .numbers").text.split()
        assert [float(shown[0]), float(shown[-1])] == [1, 3] and driver.execute_script("return viewer.volumes[5].unit")
        for key in "1wd":
            press(driver, key)
            keep(driver, f"overlay-{key}")
            assert all(figure[-1].startswith("colour bar of the overlay") for figure in scales(driver))
            figures = driver.find_elements("css selector", "#stage figure")
            assert all(in_sight(driver, figure) for figure in figures), key
        choose(driver, "overlay", "-1")
        assert [len(bars) for bars in scales(driver)] == [1, 1]
        assert browser.complaints(driver) == []


def test_crosshair_is_linked_over_planes_and_panels(page):
    from selenium.webdriver import ActionChains

    with browser.opened(page, 1400, 900) as driver:
        press(driver, "t")
        keep(driver, "three")
        assert len(canvases(driver)) == 27
        sagittal = canvases(driver)[2]
        assert "sagittal" in sagittal.get_attribute("aria-label")
        before = state(driver, "cursor")
        values = [cell.text for cell in driver.find_elements("css selector", ".value")]
        ActionChains(driver).move_to_element_with_offset(sagittal, 30, 6).click().perform()
        settle(driver)
        after = state(driver, "cursor")
        assert after[2] == before[2] and after[:2] != before[:2]  # a sagittal plane keeps its x
        assert [cell.text for cell in driver.find_elements("css selector", ".value")] != values
        assert browser.complaints(driver) == []


def test_any_two_panels_compared_by_slider_and_blink(page):
    with browser.opened(page, 1400, 900) as driver:
        press(driver, "h")
        press(driver, "o")
        press(driver, "w")
        driver.execute_script("viewer.lay({a: 0, b: 6})")
        slide(driver, "wipe", 50)
        keep(driver, "slider")
        half = pixels(driver)
        middle = half.shape[1] // 2
        slide(driver, "wipe", 100)
        first = pixels(driver)
        slide(driver, "wipe", 0)
        second = pixels(driver)
        rows = slice(40, -40)  # names stand at the top
        assert (half[rows, : middle - 3] == first[rows, : middle - 3]).all()
        assert (half[rows, middle + 3 :] == second[rows, middle + 3 :]).all()
        assert np.abs(first[rows] - second[rows]).max() > 50
        press(driver, "b")
        choose(driver, "rate", "2.5")
        seen, end = set(), time.time() + 20
        while len(seen) < 2 and time.time() < end:
            seen.add(driver.execute_script("return viewer.state.second"))
            time.sleep(0.05)
        assert seen == {False, True}
        assert browser.complaints(driver) == []


def test_the_curve_goes_to_a_slice_and_the_table_holds_every_one(page):
    from selenium.webdriver import ActionChains

    with browser.opened(page, 1400, 900) as driver:
        curve = driver.find_element("css selector", "#curve svg")
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", curve)
        keep(driver, "curve")
        ActionChains(driver).move_to_element_with_offset(curve, -curve.size["width"] // 2 + 70, 0).click().perform()
        settle(driver)
        assert driver.find_element("id", "where").text == "1 of 7"
        assert len(driver.find_elements("css selector", "#curve rect")) == 6
        drawn = driver.execute_script(
            "return ['.legend path', '#curve > svg > path'].map(lines => [...document.querySelectorAll(lines)].map("
            "line => line.getAttribute('stroke') + line.getAttribute('stroke-dasharray')))"
        )
        assert len(set(drawn[0])) == 7 and set(drawn[1]) < set(drawn[0])  # the legend shows each line as it is drawn
        colours = driver.execute_script("return Array.from({length: 24}, (_, k) => Object.values(lineStyle(k)).join())")
        assert len(set(colours)) == 24
        driver.find_element("css selector", "#every summary").click()
        settle(driver)
        assert len(driver.find_elements("css selector", "#every tr")) == 7
        assert browser.complaints(driver) == []


def test_a_narrow_window_shows_everything_without_sideways_scrolling(page):
    with browser.opened(page, 360, 740) as driver:
        for key, name in (("g", "narrow-grid"), ("t", "narrow-three"), ("w", "narrow-slider")):
            press(driver, key)
            keep(driver, name)
            assert driver.execute_script("return document.documentElement.scrollWidth") <= 360, name
            boxes = [canvas.rect for canvas in canvases(driver)]
            assert boxes and all(box["x"] >= 0 and box["x"] + box["width"] <= 361 for box in boxes)
            assert min(box["width"] for box in boxes) > 100
        bar = driver.find_element("id", "bar").rect
        assert bar["height"] < 300
        choose(driver, "overlay", "5")
        for key in "db":
            press(driver, key)
            keep(driver, f"narrow-{key}")
            assert driver.find_element("id", "bar").rect["height"] < 300
        cut = driver.execute_script(
            "return ['plane', 'layout', 'compare', 'outline'].filter(id => {"
            "const select = document.getElementById(id), free = select.cloneNode(true); free.id = '';"
            "free.style.maxWidth = 'none'; select.parentElement.append(free);"
            "const lacking = free.offsetWidth > select.offsetWidth; free.remove(); return lacking})"
        )
        assert cut == []  # the longest choice fits
        curve = driver.find_element("css selector", "#curve > svg")
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", curve)
        settle(driver)
        keep(driver, "narrow-curve")
        texts = [text.rect for text in curve.find_elements("css selector", "text")]
        assert min(text["height"] for text in texts) >= 12
        assert all(text["x"] >= curve.rect["x"] for text in texts)
        assert max(text["x"] + text["width"] for text in texts) <= curve.rect["x"] + curve.rect["width"] + 1
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 360
        assert browser.complaints(driver) == []


def test_every_control_has_a_name(page):
    with browser.opened(page, 1000, 700) as driver:
        nameless = driver.execute_script(
            "return [...document.querySelectorAll('input, select, button, canvas, svg[role=img]')]"
            ".filter(e => !(e.labels && e.labels.length) && !e.textContent.trim() && !e.getAttribute('aria-label'))"
            ".map(e => e.outerHTML)"
        )
        assert nameless == []
        assert driver.execute_script("return document.documentElement.lang") == "en"
