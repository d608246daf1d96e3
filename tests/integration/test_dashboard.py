"""The dashboard on a running four-unit grid, steered in a browser as an operator does."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

playwright = pytest.importorskip("playwright.sync_api")

from apis_dashboard.screenshot import ScreenshotError, find_chromium, open_page, run_browser  # noqa: E402

pytestmark = [
    pytest.mark.ros,
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.timeout(300),
]

expect = playwright.expect
expect.set_options(timeout=30_000)
SOON_MS, LATE_MS = 30_000, 120_000


@pytest.fixture
def url(apisctl) -> str:
    try:
        find_chromium()
    except ScreenshotError as error:
        pytest.skip(str(error))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = apisctl.start("run", "--speed", "30", "--port", str(port))
    running.read_until("is the grid master")
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def page(url) -> Iterator[playwright.Page]:
    """The steering page; at the end nothing may have complained or left the machine."""
    complaints: list[str] = []
    with run_browser() as browser, open_page(browser, width=1280, height=900) as page:
        page.set_default_timeout(SOON_MS)
        page.set_default_navigation_timeout(LATE_MS)

        def check(request: playwright.Request) -> None:
            if urlsplit(request.url).hostname not in ("127.0.0.1", None):
                complaints.append(f"request to {request.url}")

        def listen(message: playwright.ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                complaints.append(message.text)

        page.on("request", check)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", listen)
        page.goto(url)
        expect(page.locator(".apis-grid .house:not(.absent)")).to_have_count(4, timeout=SOON_MS)
        page.goto(f"{url}/steering")
        page.wait_for_selector("main:not([inert])", timeout=SOON_MS)
        yield page
    assert complaints == []


def choose_mode(page: playwright.Page, name: str) -> None:
    """Click, confirm where that is asked, and wait until the units report it."""
    button = page.locator(".apis-mode").get_by_role("button", name=name)
    button.click()
    if name in ("Force stop", "Manual"):
        page.get_by_role("alertdialog").get_by_role("button", name=name).click()
    expect(button).to_have_attribute("aria-pressed", "true", timeout=SOON_MS)


def choose(page: playwright.Page, label: str, option: str) -> None:
    """Choose from a list and wait until it is gone: a closing one still has its options."""
    page.get_by_label(label, exact=True).last.click()
    page.get_by_role("option", name=option, exact=True).click()
    expect(page.get_by_role("option")).to_have_count(0)


def on_the_graph(apisctl, key: str) -> dict[str, object]:
    """What another program hears of every unit."""
    done = apisctl("status", "--json")
    assert done.returncode == 0, done.stderr
    return {unit["unit_id"]: unit.get(key) for unit in json.loads(done.stdout)}


def test_an_operator_deals_operates_converters_and_stops_everything(page, url, apisctl) -> None:
    choose_mode(page, "Force stop")  # ends what the units have agreed on by now
    page.goto(f"{url}/deals")
    expect(page.get_by_role("heading", name="Running deals 0")).to_be_visible(timeout=SOON_MS)
    page.goto(f"{url}/steering")
    page.wait_for_selector("main:not([inert])", timeout=SOON_MS)
    choose_mode(page, "Soft stop")  # so that nobody deals by itself
    assert set(on_the_graph(apisctl, "mode").values()) == {"soft-stop"}

    choose(page, "From", "E003")
    choose(page, "To", "E002")
    page.get_by_label("Energy [Wh]").fill("20")
    page.get_by_role("button", name="Make the deal").click()
    order = page.locator(".apis-orders li").filter(has_text="deal E003 → E002: 20 Wh")
    expect(order).to_contain_text(re.compile("done|refused"), timeout=LATE_MS)
    moved = re.search(r"([\d.]+) Wh moved", order.inner_text())
    assert moved is not None, order.inner_text()
    assert float(moved[1]) == pytest.approx(20.0, rel=0.01)

    choose(page, "What", "Sensor reads wrong")
    choose(page, "Whose", "E004")
    page.get_by_role("button", name="Break it…").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Break it").click()
    expect(page.locator(".broken")).to_contain_text("sensor offset E004 grid current a +0.2")
    assert "sensor_offset E004" in apisctl("world", "show").stdout
    page.get_by_role("button", name="Repair F1").click()
    expect(page.locator(".broken")).to_have_text("Nothing is broken.")

    choose_mode(page, "Manual")
    choose(page, "E003 does", "Hold the voltage")
    choose(page, "E002 does", "Take")
    hold = page.locator(".apis-hold")
    expect(hold).to_be_enabled(timeout=LATE_MS)  # the bus has to run down first
    hold.scroll_into_view_if_needed()
    hold.hover()
    page.mouse.down()
    reading = page.locator(".by-hand .unit-row").filter(has_text="E002").locator(".reading")
    expect(reading).to_have_text(re.compile(r"charging, 3[45]\d V, 1\.00 A"), timeout=SOON_MS)
    page.mouse.up()
    expect(reading).to_contain_text("waiting", timeout=SOON_MS)
    holder = page.locator(".by-hand .unit-row").filter(has_text="E003").locator(".reading")
    expect(holder).to_contain_text("waiting", timeout=SOON_MS)

    choose(page, "Who", "E004")  # the last of that name: the programs'
    page.get_by_role("button", name="Shut down…").click()
    dialog = page.get_by_role("alertdialog")
    dialog.get_by_label("Type E004 to go on").fill("E004")
    dialog.get_by_role("button", name="Shut down").click()
    apisctl.background[0].read_until("unit E004 has been shut down")

    page.get_by_role("button", name="Emergency stop").click()
    dialog = page.get_by_role("alertdialog")
    dialog.get_by_role("button", name="Stop everything now").click()
    expect(dialog.locator("li.ok")).to_have_count(3, timeout=SOON_MS)
    modes = on_the_graph(apisctl, "mode")
    assert [modes[unit] for unit in ("E001", "E002", "E003")] == ["force-stop"] * 3
    dialog.get_by_role("button", name="Close").click()

    page.goto(f"{url}/deals")
    rows = page.locator(".apis-table.past tbody").filter(has_text="E003")
    expect(rows.filter(has_text="E002").first).to_be_visible(timeout=SOON_MS)
    past = json.loads(apisctl("deals", "--unit", "E003", "--json").stdout)
    by_hand = [deal for deal in past if deal["agreed_wh"] == 20.0]
    assert [deal["state"] for deal in by_hand] == ["completed"]
