"""Pictures of every page, on the demo's invented data: ``make screenshots``.

Desktop, phone and dark; people look at them, and the documentation shows them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from apis_viz.dashboard.screenshot import ScreenshotError, open_browser

__all__ = ["main"]

PAGES = {
    "grid": "/",
    "units": "/units",
    "unit": "/unit/E001",
    "deals": "/deals",
    "energy": "/energy",
    "steering": "/steering",
}
KINDS = {"desktop": (1440, 900, False), "phone": (390, 844, False), "dark": (1440, 900, True)}
PAST_DAYS = 8
WAIT_MS = 90_000.0


def main(arguments: list[str] | None = None) -> int:
    """Take them; give the exit code."""
    parser = argparse.ArgumentParser(description="Pictures of every page of the dashboard.")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder")
    parser.add_argument("--only", choices=PAGES, help="one page only")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    pages = {options.only: PAGES[options.only]} if options.only else PAGES
    try:
        _take(options.out, pages, units=4, prefix="page_")
        if not options.only:
            _take(options.out, {"hundred": "/"}, units=100, prefix="page_", kinds=("desktop",))
    except ScreenshotError as error:
        print(f"screenshots: {error}", file=sys.stderr)
        return 1
    return 0


def _take(
    out: Path, pages: dict[str, str], *, units: int, prefix: str, kinds: tuple[str, ...] = ()
) -> None:
    days = PAST_DAYS if units < 10 else 0
    arguments = ("--port", "0", "--units", str(units), "--past-days", str(days))
    demo = subprocess.Popen(
        [sys.executable, "-m", "apis_viz.dashboard.demo", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert demo.stdout is not None
        url = demo.stdout.readline().split()[-1]
        for kind in kinds or tuple(KINDS):
            width, height, dark = KINDS[kind]
            with open_browser(width=width, height=height, dark=dark) as context:
                page = context.pages[0]
                page.set_default_timeout(WAIT_MS)
                page.set_default_navigation_timeout(WAIT_MS)
                for name, path in pages.items():
                    page.goto(url + path)
                    page.wait_for_selector("main:not([inert]) .apis-card")
                    page.wait_for_function("document.fonts.status === 'loaded'")
                    page.wait_for_timeout(2500)  # [ms] charts draw, transitions end
                    page.wait_for_selector("#popup[aria-hidden=true]", state="attached")
                    file = out / f"{prefix}{name}_{kind}.png"
                    # a phone's navigation is fixed to its screen: no picture longer than that
                    page.screenshot(path=str(file), full_page=kind != "phone")
                    print(file)
    finally:
        demo.terminate()
        demo.wait()


if __name__ == "__main__":
    sys.exit(main())
