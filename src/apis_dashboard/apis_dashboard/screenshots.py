"""Pictures of every page, on the demo's invented data: ``make screenshots``.

Desktop, phone and dark; people look at them, and the documentation shows them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from apis_dashboard.screenshot import ScreenshotError, open_page, run_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["main"]

PAGES = {
    "grid": "/",
    "units": "/units",
    "unit": "/unit/E001",
    "deals": "/deals",
    "energy": "/energy",
    "steering": "/steering",
}
KINDS = {"desktop": (1440, 700, False), "phone": (390, 844, False), "dark": (1440, 700, True)}
PAST_DAYS = 8
TALLEST = {"desktop": 2600, "dark": 2600, "phone": 1700}  # a picture ends there [px]
COLOURS, FREQUENT = 255, 160  # of a picture's palette: looks the same in a third of the bytes
WAIT_MS = 90_000.0


def main(arguments: list[str] | None = None) -> int:
    """Take them; give the exit code."""
    parser = argparse.ArgumentParser(description="Pictures of every page of the dashboard.")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder")
    parser.add_argument("--only", choices=[*PAGES, "hundred"], help="one page only")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    pages = {name: path for name, path in PAGES.items() if options.only in (None, name)}
    try:
        with run_browser() as browser:
            if pages:
                with _demo(units=4, past_days=PAST_DAYS) as url:
                    for kind in KINDS:
                        _take(browser, options.out, url, pages, kind)
            if options.only in (None, "hundred"):
                with _demo(units=100, past_days=0) as url:
                    for kind in ("desktop", "phone"):
                        _take(browser, options.out, url, {"hundred": "/"}, kind)
    except ScreenshotError as error:
        print(f"screenshots: {error}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def _demo(*, units: int, past_days: int) -> Iterator[str]:
    arguments = ("--port", "0", "--units", str(units), "--past-days", str(past_days))
    demo = subprocess.Popen(
        [sys.executable, "-m", "apis_dashboard.demo", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert demo.stdout is not None
        yield demo.stdout.readline().split()[-1]
    finally:
        demo.terminate()
        demo.wait()


def _take(browser: Browser, out: Path, url: str, pages: dict[str, str], kind: str) -> None:
    width, height, dark = KINDS[kind]
    with open_page(browser, width=width, height=height, dark=dark) as page:
        page.set_default_timeout(WAIT_MS)
        page.set_default_navigation_timeout(WAIT_MS)
        for name, path in pages.items():
            page.set_viewport_size({"width": width, "height": height})
            page.goto(url + path)
            page.wait_for_selector("main:not([inert]) .apis-card")
            page.wait_for_function("document.fonts.status === 'loaded'")
            page.wait_for_function(
                "[...document.querySelectorAll('.apis-chart')].every(c => c.querySelector('svg'))"
            )
            if name in ACTS:
                ACTS[name](page)
            # The window grows to the page: what is fixed to its edge, as a phone's navigation,
            # stays there.
            content = page.evaluate("document.documentElement.scrollHeight")
            page.set_viewport_size(
                {"width": width, "height": min(max(content, height), TALLEST[kind])}
            )
            page.wait_for_timeout(1500)  # [ms] charts draw, transitions end
            page.wait_for_selector("#popup[aria-hidden=true]", state="attached")
            file = out / f"page_{name}_{kind}.png"
            page.screenshot(path=str(file))
            _shrink(file)
            print(f"{file} {file.stat().st_size // 1024} kB")


def _open_a_receipt(page: Page) -> None:
    page.locator(".apis-table.past tbody", has_text="✓ completed").first.get_by_role(
        "button"
    ).click()


def _give_some_orders(page: Page) -> None:
    page.get_by_role("button", name="Schedule").click()
    page.get_by_label("Energy [Wh]").fill("120")
    page.get_by_role("button", name="Make the deal").click()
    page.locator(".apis-orders li", has_text="under way").first.wait_for()
    page.mouse.move(0, 0)


ACTS: dict[str, Callable[[Page], None]] = {
    "deals": _open_a_receipt,
    "steering": _give_some_orders,
}


def _shrink(file: Path) -> None:
    """Give a picture a palette of its own: what is frequent stays exactly as it is."""
    import numpy as np
    from PIL import Image

    with Image.open(file) as png:
        picture = png.convert("RGB")
    covering = picture.quantize(COLOURS - FREQUENT, method=Image.Quantize.MAXCOVERAGE)
    pixels = np.asarray(picture, np.int32) @ (1 << 16, 1 << 8, 1)
    colours, inverse, counts = np.unique(pixels, return_inverse=True, return_counts=True)
    colours = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1)
    frequent = colours[np.argsort(-counts)[:FREQUENT]]
    palette = np.concatenate([frequent, np.reshape(covering.getpalette(), (-1, 3))])
    far = ((colours[:, None, :] - palette[None, :, :]) ** 2).sum(axis=2)
    small = Image.fromarray(far.argmin(axis=1).astype(np.uint8)[inverse.reshape(pixels.shape)])
    small.putpalette(palette.astype(np.uint8).tobytes())
    small.save(file, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
