"""A picture of the page, for the README and the documentation."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["ScreenshotError", "find_chromium", "open_page", "run_browser", "take_screenshot"]

# The browser is for our page only: it must not look for updates or news.
BROWSER_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--lang=en-GB",
)
READY_TIMEOUT_S = 30.0


class ScreenshotError(Exception):
    """No picture; the text is one line that says what is missing."""


def find_chromium() -> str:
    """Give the path of Debian's chromium, or of the one named in ``CHROMIUM``.

    Raises:
        ScreenshotError: There is none.
    """
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser")
    path = next((found for name in names if name and (found := shutil.which(name))), None)
    if path is None:
        raise ScreenshotError(
            "no chromium on this machine; install chromium: apt install chromium"
        )
    return path


@contextmanager
def run_browser() -> Iterator[Browser]:
    """Run a headless browser; every page of :func:`open_page` starts with a fresh profile."""
    try:
        from playwright.sync_api import (
            sync_playwright,
        )  # only those who want a picture need it installed
    except ImportError:
        raise ScreenshotError(
            "no playwright in this environment; install it: pip install playwright"
        ) from None
    chromium = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            headless=True,
            args=list(BROWSER_ARGS),
            env={**os.environ, "LANGUAGE": "en_GB"},
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_page(browser: Browser, *, width: int, height: int, dark: bool = False) -> Iterator[Page]:
    """Open a window with nothing remembered from others.

    Args:
        browser: From :func:`run_browser`.
        width: Of the window. [px]
        height: Of the window. [px]
        dark: What the browser says the system prefers.
    """
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        locale="en-GB",  # 24 hours, the day before the month: as the page itself writes them
    )
    try:
        yield context.new_page()
    finally:
        context.close()


def take_screenshot(
    url: str,
    path: Path,
    *,
    width: int = 1440,
    height: int = 900,
    dark: bool = False,
    browser: Browser | None = None,
) -> None:
    """Take a picture of the running dashboard, as soon as it has heard of a unit.

    Args:
        url: Address of the page, such as ``http://127.0.0.1:4382``.
        path: PNG file to write.
        width: Of the window. [px]
        height: Of the window. [px]
        dark: Dark colours instead of light ones.
        browser: One that runs; None = one of its own.

    Raises:
        ScreenshotError: No browser, no page, or a page to which no unit has spoken.
    """
    with ExitStack() as stack:
        from playwright.sync_api import Error

        browser = browser or stack.enter_context(run_browser())
        page = stack.enter_context(open_page(browser, width=width, height=height, dark=dark))
        try:
            page.goto(url)
            page.wait_for_selector(
                ".apis-grid .house:not(.absent)", state="attached", timeout=READY_TIMEOUT_S * 1000
            )
            page.wait_for_function("document.fonts.status === 'loaded'")
            page.wait_for_timeout(600)  # [ms] transitions end
            page.screenshot(path=path)
        except Error as error:
            reason = error.message.splitlines()[0]
            raise ScreenshotError(f"no picture of {url}: {reason}") from error
