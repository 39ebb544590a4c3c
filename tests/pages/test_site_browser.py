"""The site in a real browser, opened from its files: Debian's Chromium, driven by Selenium."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from suite.boards.board import board
from suite.pages.render import render
from tests.pages.shown import everything
from tests.pages.sites import workspace, write

pytestmark = [
    pytest.mark.journey,
    pytest.mark.skipif(
        shutil.which("chromium") is None or shutil.which("chromedriver") is None,
        reason="there is no chromium with its chromedriver here (apt-get install chromium chromium-driver)",
    ),
]

#: How long a page may take to do what it is asked.
PATIENCE = 20.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "site"
    write(workspace(tmp_path_factory.mktemp("records")), out)
    return out


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path_factory.mktemp("downloads"))})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: Any) -> Iterator[Any]:
    """A browser that must end without an error on its console and without a request that leaves the site."""
    for log in ("browser", "performance"):
        chromium.get_log(log)
    yield chromium
    assert [entry["message"] for entry in chromium.get_log("browser")] == []
    asked = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    addresses = [m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"]
    assert addresses
    assert [a for a in addresses if not a.startswith(("file:", "data:", "blob:file:", "blob:null"))] == []


def visit(browser: Any, file: Path, fragment: str = "") -> None:
    browser.get("about:blank")
    browser.get(file.as_uri() + fragment)


def until(condition: Callable[[], object]) -> None:
    """Waits until a condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def models(browser: Any) -> list[str]:
    """The models of the first table that is shown, from the top."""
    return browser.execute_script(
        "const table = [...document.querySelectorAll('table')].find(t => t.offsetParent);"
        "return table ? [...table.tBodies[0].rows].filter(r => !r.hidden).map(r => r.dataset.m) : []"
    )


def click(browser: Any, selector: str) -> None:
    browser.execute_script("document.querySelector(arguments[0]).click()", selector)


def choose(browser: Any, name: str, value: str) -> None:
    browser.execute_script(
        "const e = document.forms[0].elements[arguments[0]]; e.value = arguments[1];"
        "e.dispatchEvent(new Event('input', {bubbles: true})); e.dispatchEvent(new Event('change', {bubbles: true}))",
        name,
        value,
    )


def address(browser: Any) -> str:
    return browser.execute_script("return location.hash")


def test_every_page_opens_without_an_error(browser: Any, site: Path) -> None:
    for file in ("index.html", "charts.html", "images.html", "models/vae.html", "tasks/reconstruction.html"):
        visit(browser, site / file)
        assert browser.execute_script("return document.querySelector('h1').offsetHeight") > 0
        wide, window = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert wide <= window, file


def test_a_heading_sorts_from_the_best_and_again_from_the_worst(browser: Any, site: Path) -> None:
    visit(browser, site / "board.html")
    for column, best in (("reconstruction.1", "vae"), ("linear_probe.1", "tied")):
        head = f"th[data-c='{column}']"
        click(browser, f"{head} button")
        assert models(browser)[0] == best
        up = browser.execute_script("return document.querySelector(arguments[0]).getAttribute('aria-sort')", head)
        assert up == ("ascending" if column.startswith("reconstruction") else "descending")
        assert address(browser) == f"#sort={column}"
        first = models(browser)
        click(browser, f"{head} button")
        assert models(browser)[0] != best
        assert sorted(models(browser)) == sorted(first)
        assert address(browser) == f"#sort={column}%2Cworst"


def test_a_board_of_one_file_sorts_from_the_best_too(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "board.html").write_text(render(board(everything()), "html", anchors={}))
    visit(browser, tmp_path / "board.html")
    script = (
        "const th = [...document.querySelectorAll('table:first-of-type thead th')].find(t => t.innerText.includes("
        "arguments[0])); th.querySelector('button').click(); return [...th.closest('table').tBodies[0].rows]"
        ".map(row => row.cells[th.cellIndex].dataset.v).filter(v => v !== undefined).map(Number)"
    )
    for column, higher in (("reconstruction", False), ("linear_probe", True)):
        values = browser.execute_script(script, column)
        assert len(values) > 5
        assert values == sorted(values, reverse=higher)
        assert browser.execute_script(script, column) == values[::-1]


def test_filters_and_the_search_leave_what_fits(browser: Any, site: Path) -> None:
    visit(browser, site / "board.html")
    everyone = models(browser)
    choose(browser, "q", "TIED")
    assert models(browser) == ["tied"]
    choose(browser, "q", "nobody")
    assert models(browser) == []
    assert "Nothing fits" in browser.execute_script("return document.getElementById('told').textContent")
    choose(browser, "q", "")
    assert models(browser) == everyone
    choose(browser, "supervision", "labels")
    assert models(browser) == ["conditional_vae_5"]
    choose(browser, "supervision", "")
    choose(browser, "dataset", "colored:digits")
    assert models(browser) == ["vae"]
    hidden = "return getComputedStyle(document.querySelector('th.other')).display"
    assert browser.execute_script(hidden) == "none"
    click(browser, "input[name=official]")
    assert browser.execute_script(hidden) != "none"


def test_an_address_opens_its_view(browser: Any, site: Path) -> None:
    visit(
        browser, site / "board.html", "#q=conditional&sort=linear_probe.1%2Cworst&official=0&family=conditional_vae_3"
    )
    assert models(browser) == ["conditional_vae_3"]
    assert not browser.execute_script("return document.forms[0].elements.official.checked")
    browser.execute_script("location.hash = '#dataset=colored%3Adigits'")
    until(lambda: models(browser) == ["vae"])


def test_two_pinned_models_are_compared_with_the_interval_of_their_difference(browser: Any, site: Path) -> None:
    visit(browser, site / "board.html")
    for name in ("vae", "conditional_vae_1"):
        click(browser, f"tr[data-m='{name}'] button.pin")
    until(lambda: "reconstruction: nats" in compared(browser))
    assert address(browser) == "#pin=vae&pin=conditional_vae_1"
    assert "vae" in compared(browser) and "separated" in compared(browser)
    assert "\u00a0to\u00a0-" in compared(browser) and "(not paired)" in compared(browser)
    visit(browser, site / "board.html", "#pin=tied&pin=conditional_vae_1")
    until(lambda: "neither" in compared(browser))
    assert "tied" in compared(browser)


def compared(browser: Any) -> str:
    return browser.execute_script("return document.getElementById('comparison').innerText")


def test_what_is_shown_can_be_taken_along_as_data(browser: Any, site: Path) -> None:
    visit(browser, site / "board.html", "#q=tied")
    rows = browser.execute_script("return shownRows()")
    assert {row["task"] for row in rows} >= {"reconstruction", "linear_probe"}
    assert {row["model"] for row in rows} == {"tied"}
    lines = browser.execute_script("return csv(shownRows())").splitlines()
    assert len(lines) == 1 + len(rows)
    assert lines[0].startswith("section,model,family")


def test_the_image_browser_shows_the_hardest_images_of_two_models(browser: Any, site: Path) -> None:
    visit(browser, site / "images.html")
    until(lambda: browser.execute_script("return !document.getElementById('browser').hidden"))
    hardest = browser.execute_script("return [...document.querySelectorAll('#hard-a button')].map(b => b.innerText)")
    scores = [float(text.split("\n")[-1]) for text in hardest]
    assert len(scores) == 12
    assert scores == sorted(scores, reverse=True)
    assert {len(text.split(".")[-1]) for text in hardest} == {1}
    click(browser, "#hard-b button")
    until(lambda: "image=" in address(browser))
    assert browser.execute_script("return document.querySelectorAll('#everyone tr').length") == 2


def test_the_board_can_be_used_by_keyboard_alone(browser: Any, site: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    visit(browser, site / "board.html")
    button = browser.find_element("css selector", "th[data-c='reconstruction.1'] button")
    browser.execute_script("arguments[0].focus()", button)
    button.send_keys(Keys.ENTER)
    assert address(browser) == "#sort=reconstruction.1"
    pin = browser.find_element("css selector", "tr[data-m='tied'] button.pin")
    pin.send_keys(Keys.SPACE)
    assert pin.get_attribute("aria-pressed") == "true"


def test_a_phone_s_page_is_no_wider_than_the_phone(browser: Any, site: Path) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        for file in (
            "index.html",
            "board.html",
            "charts.html",
            "images.html",
            "models/vae.html",
            "tasks/reconstruction.html",
        ):
            visit(browser, site / file)
            if file == "images.html":  # its form is shown when the values are there
                until(lambda: browser.execute_script("return !document.getElementById('browser').hidden"))
            assert browser.execute_script("return document.documentElement.scrollWidth") <= 390, file
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
