"""The page in a real browser, on the demo's invented data."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from apis_viz.dashboard.screenshot import (
    ScreenshotError,
    find_chromium,
    open_browser,
    take_screenshot,
)

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def _chromium() -> None:
    try:
        find_chromium()
    except ScreenshotError as error:
        pytest.skip(str(error))


@contextmanager
def quiet_page(url: str, **size: int) -> Iterator[playwright.Page]:
    """Open the page; fail at the end if the console complained or a request left the machine."""
    complaints: list[str] = []
    with open_browser(**{"width": 1280, "height": 900} | size) as context:
        page = context.pages[0]

        def check(request: playwright.Request) -> None:
            host = urlsplit(request.url).hostname
            if host not in ("127.0.0.1", None):  # data: and blob: have no host
                complaints.append(f"request to {host}: {request.url}")

        page.on("request", check)
        page.on(
            "websocket", lambda socket: check(socket) if "127.0.0.1" not in socket.url else None
        )
        page.on("pageerror", lambda error: complaints.append(f"script error: {error}"))
        page.on(
            "console",
            lambda message: (
                complaints.append(message.text) if message.type in ("error", "warning") else None
            ),
        )
        page.goto(url)
        page.wait_for_selector(".apis-grid .house:not(.absent)", state="attached")
        yield page
    assert complaints == []


def start_with_run(page: playwright.Page) -> None:
    """The tests share a demo: undo what another one ordered."""
    run = page.get_by_role("button", name="Run")
    run.click()
    playwright.expect(run).to_have_attribute("aria-pressed", "true", timeout=10_000)
    playwright.expect(page.get_by_role("status")).to_have_text("")


def test_loads_without_errors_and_without_leaving_the_machine(demo_url: str) -> None:
    with quiet_page(demo_url) as page:
        playwright.expect(page).to_have_title("APIS · village")
        playwright.expect(page.locator(".apis-table.units tbody tr")).to_have_count(4)
        assert page.locator("link[rel='shortcut icon']").get_attribute("href").startswith("data:")


def test_values_change_without_rebuilding_the_page(demo_url: str) -> None:
    with quiet_page(demo_url) as page:
        page.evaluate(
            "for (const e of document.querySelectorAll('.apis-grid .house, .units tr'))"
            " e.dataset.mine = 1"
        )
        marked = page.locator("[data-mine]").count()
        before = page.locator(".apis-time").inner_text()
        playwright.expect(page.locator(".apis-time")).not_to_have_text(before)
        page.wait_for_timeout(1500)
        assert page.locator("[data-mine]").count() == marked


def test_soft_stop_shows_that_it_changes_until_all_units_report_it(demo_url: str) -> None:
    with quiet_page(demo_url) as page:
        soft = page.get_by_role("button", name="Soft stop")
        start_with_run(page)
        soft.click()
        playwright.expect(page.get_by_role("status")).to_contain_text("changing to Soft stop…")
        playwright.expect(soft).to_have_class(re.compile("wanted"))
        playwright.expect(soft).to_have_attribute("aria-pressed", "false")
        playwright.expect(soft).to_have_attribute("aria-pressed", "true", timeout=10_000)
        playwright.expect(page.get_by_role("status")).to_have_text("")


@pytest.mark.parametrize("name", ["Force stop", "Manual"])
def test_what_does_harm_is_asked_again(demo_url: str, name: str) -> None:
    with quiet_page(demo_url) as page:
        switch = page.locator(".apis-switch").get_by_role("button", name=name)
        dialog = page.get_by_role("alertdialog")
        start_with_run(page)
        switch.click()
        playwright.expect(dialog).to_contain_text(
            re.compile("Running deals end now|No deal is running")
        )
        dialog.get_by_role("button", name="Cancel").click()
        playwright.expect(dialog).to_have_count(0)
        playwright.expect(page.get_by_role("status")).to_have_text("")
        switch.click()
        dialog.get_by_role("button", name=name).click()
        playwright.expect(switch).to_have_attribute("aria-pressed", "true", timeout=10_000)


def test_colours_follow_the_system_and_can_be_chosen(demo_url: str) -> None:
    with open_browser(width=1280, height=900, dark=True) as context:
        page = context.pages[0]
        page.goto(demo_url)
        playwright.expect(page.locator("body")).to_have_class(re.compile("body--dark"))
        button = page.get_by_role("button", name="Colours")
        button.click()
        playwright.expect(page.locator("body")).to_have_class(re.compile("body--dark"))
        button.click()
        playwright.expect(page.locator("body")).to_have_class(re.compile("body--light"))


def test_a_page_whose_server_has_gone_does_not_look_alive(
    short_lived_demo: tuple[str, subprocess.Popen[str]],
) -> None:
    url, process = short_lived_demo
    with open_browser(width=1280, height=900) as context:
        page = context.pages[0]
        page.goto(url)
        playwright.expect(page.locator(".apis-page")).to_have_css("opacity", "1")
        process.terminate()
        assert process.wait(timeout=10.0) == 0, "an open page must not keep the server alive"
        playwright.expect(page.get_by_text("Connection lost")).to_be_visible(timeout=10_000)
        playwright.expect(page.locator(".apis-page")).to_have_css("opacity", "0.4")


@pytest.mark.parametrize("width", [360, 768, 1920])
def test_nothing_sticks_out_at_any_width(large_demo_url: str, width: int) -> None:
    with quiet_page(large_demo_url, width=width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(
    ("name", "width", "height", "dark"),
    [("desktop", 1440, 1000, False), ("phone", 390, 844, False), ("dark", 1440, 1000, True)],
)
def test_screenshots_can_be_taken(
    demo_url: str, tmp_path: Path, name: str, width: int, height: int, dark: bool
) -> None:
    path = tmp_path / f"{name}.png"
    take_screenshot(demo_url, path, width=width, height=height, dark=dark)
    header = path.read_bytes()[:24]
    assert header.startswith(b"\x89PNG")
    assert int.from_bytes(header[16:20], "big") == width


def test_a_page_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ScreenshotError, match="no picture of"):
        take_screenshot("http://127.0.0.1:9", tmp_path / "none.png", width=400, height=300)
