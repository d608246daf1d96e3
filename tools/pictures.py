"""Takes the pictures of the dashboard that the documents show: ``make pictures``.

Nothing in them is invented: an emulated grid runs for a simulated day, its dashboard keeps what it
hears, and then a browser looks at every page: on a desktop, on a phone, and in dark colours.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from apis_dashboard.screenshot import ScreenshotError, open_page, run_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[1]
CLI = (sys.executable, "-m", "apis_bringup.cli")
FOUR, TWENTY = "config/sim_grid.yaml", "config/large_grid.yaml"
PAGES = {
    "units": "/units",
    "unit": "/unit/E001",
    "deals": "/deals",
    "energy": "/energy",
    "steering": "/steering",
}
KINDS = {"desktop": (1440, 700, False), "phone": (390, 844, False), "dark": (1440, 700, True)}
# simulated seconds per second: until a deal flows; for the pictures. Units that were started for a
# high speed say too seldom for a lower one how they are.
WAITING, SHOWING = 30.0, 20.0
TALLEST = {"desktop": 2600, "dark": 2600, "phone": 1700}  # a picture ends there [px]
COLOURS, FREQUENT = 255, 160  # of a picture's palette: looks the same in a third of the bytes
START_WITHIN_S = 90.0
POLL_S = 2.0
LATE = 6.0  # times slower than ordered a busy machine may be
WAIT_MS = 90_000.0
PATIENCE_MS = 45_000.0


def main() -> int:
    """Take them; give the exit code."""
    parser = argparse.ArgumentParser(description="Pictures of every page of the dashboard.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images", help="folder")
    parser.add_argument("--hours", type=float, default=25.0, help="simulated, before the pictures")
    parser.add_argument("--speed", type=float, default=600.0, help="simulated seconds per second")
    parser.add_argument("--only", choices=["four", "twenty"], help="one of the two grids only")
    parser.add_argument("--domain", type=int, default=33, help="ROS domain, nobody else's here")
    parser.add_argument("--record", type=Path, help="also record the day, into this MCAP file")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    os.environ["ROS_DOMAIN_ID"] = str(options.domain)
    for kept in ("history.sqlite*", "audit.jsonl*"):  # of pictures that were taken before
        for old in (ROOT / "build" / "run").glob(f"*-{options.domain}/{kept}"):
            old.unlink()
    try:
        with run_browser() as browser:
            if options.only in (None, "four"):
                with _grid_after_a_day(FOUR, options) as url:
                    _slow_down_in_a_flow(browser, url)
                    for kind in KINDS:  # at once: the flow lasts some minutes of the grid's time
                        _take(browser, options.out, url, {"grid": "/"}, kind)
                    for kind in KINDS:
                        _take(browser, options.out, url, PAGES, kind)
            if options.only in (None, "twenty"):
                options.hours, options.speed = min(options.hours, 2.0), min(options.speed, 60.0)
                options.record = None
                with _grid_after_a_day(TWENTY, options) as url:
                    _slow_down_in_a_flow(browser, url)
                    for kind in ("desktop", "phone"):
                        _take(browser, options.out, url, {"twenty": "/"}, kind)
    except (ScreenshotError, TimeoutError, subprocess.SubprocessError) as error:
        print(f"pictures: {error}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def _grid_after_a_day(config: str, options: argparse.Namespace) -> Iterator[str]:
    """Run a grid until its day is over, then slowly; give its dashboard's address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["--config", config, "--speed", str(options.speed), "--port", str(port)]
    if options.record is not None:
        arguments += ["--record", str(options.record), "--overwrite"]
    grid = subprocess.Popen(
        [*CLI, "run", *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        _wait_until(0.0, START_WITHIN_S)
        print(f"{config}: {options.hours:g} h go by", flush=True)
        day_s = 3600.0 * options.hours
        _wait_until(day_s, LATE * day_s / options.speed)
        _apisctl("world", "speed", f"{WAITING:g}")
        yield f"http://127.0.0.1:{port}"
    finally:
        grid.send_signal(signal.SIGINT)
        grid.wait(timeout=60.0)


def _wait_until(elapsed_s: float, within_s: float) -> None:
    """Wait until so much has been simulated."""
    end_s = time.monotonic() + within_s
    while (seen_s := _elapsed_s()) is None or seen_s < elapsed_s:
        if time.monotonic() > end_s:
            raise TimeoutError(
                f"the grid is at {seen_s} s, not {elapsed_s:g}, in {within_s:.0f} s"
            )
        time.sleep(POLL_S)


def _elapsed_s() -> float | None:
    """What has been simulated so far; None = no grid answers yet. [s]"""
    try:
        said = _apisctl("world", "show")
    except subprocess.CalledProcessError:
        return None
    found = re.search(r"(\d+) s simulated", said)
    return float(found.group(1)) if found else None


def _apisctl(*words: str) -> str:
    done = subprocess.run([*CLI, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def _slow_down_in_a_flow(browser: Browser, url: str) -> None:
    """Let time go slowly as soon as energy flows."""
    with open_page(browser, width=1440, height=700) as page:
        page.goto(url)
        _wait_for(page, ".apis-deal:has-text('energy flows')", "no energy flows")
    _apisctl("world", "speed", f"{SHOWING:g}")


def _wait_for(page: Page, selector: str, complaint: str) -> None:
    from playwright.sync_api import TimeoutError as Late

    try:
        page.wait_for_selector(selector, state="attached", timeout=PATIENCE_MS)
    except Late:  # the pictures show what there is
        print(f"pictures: {complaint} in {PATIENCE_MS / 1000.0:g} s", file=sys.stderr)


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
            print(f"{file} {file.stat().st_size // 1024} kB", flush=True)


def _open_a_receipt(page: Page) -> None:
    row = page.locator(".apis-table.past tbody", has_text="✓ completed").first
    row.get_by_role("button").click()


def _give_some_orders(page: Page) -> None:
    page.get_by_role("button", name="Schedule").click()
    page.get_by_label("Energy [Wh]").fill("120")
    page.get_by_role("button", name="Make the deal").click()
    _wait_for(page, ".apis-orders li:has-text('deal')", "no deal is in the list of orders")
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
