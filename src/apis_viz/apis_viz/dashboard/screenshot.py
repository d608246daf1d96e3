"""A picture of the page, for the README and the documentation."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

__all__ = ["ScreenshotError", "find_chromium", "open_browser", "take_screenshot"]

# The browser is for our page only: it must not look for updates or news.
BROWSER_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
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
def open_browser(*, width: int, height: int, dark: bool = False) -> Iterator[BrowserContext]:
    """Run a headless browser with a fresh profile.

    Args:
        width: Of the window. [px]
        height: Of the window. [px]
        dark: What the browser says the system prefers.
    """
    try:
        from playwright.sync_api import (
            sync_playwright,
        )  # only those who want a picture need it installed
    except ImportError:
        raise ScreenshotError(
            "no playwright in this environment; install it: pip install playwright"
        ) from None
    chromium = find_chromium()
    with (
        tempfile.TemporaryDirectory(prefix="apis-browser-") as profile,
        sync_playwright() as playwright,
    ):
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=chromium,
            headless=True,
            args=list(BROWSER_ARGS),
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
        )
        try:
            yield context
        finally:
            context.close()


def take_screenshot(
    url: str,
    path: Path,
    *,
    width: int = 1440,
    height: int = 900,
    dark: bool = False,
    full_page: bool = False,
) -> None:
    """Take a picture of the running dashboard, as soon as it has heard of a unit.

    Args:
        url: Address of the page, such as ``http://127.0.0.1:4382``.
        path: PNG file to write.
        width: Of the window. [px]
        height: Of the window. [px]
        dark: Dark colours instead of light ones.
        full_page: The page from top to bottom instead of what the window shows.

    Raises:
        ScreenshotError: No browser, no page, or a page to which no unit has spoken.
    """
    with open_browser(width=width, height=height, dark=dark) as context:
        from playwright.sync_api import Error

        page = context.pages[0]
        try:
            page.goto(url)
            page.wait_for_selector(
                ".apis-grid .house:not(.absent)", state="attached", timeout=READY_TIMEOUT_S * 1000
            )
            page.wait_for_timeout(1500)  # [ms] lets fonts load and transitions end
            page.screenshot(path=path, full_page=full_page)
        except Error as error:
            reason = error.message.splitlines()[0]
            raise ScreenshotError(f"no picture of {url}: {reason}") from error
