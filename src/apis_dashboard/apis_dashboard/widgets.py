"""Parts that the pages are put together from: sections that show a slice of state, and small
helpers for plain elements.

A section compares what it is to show with what the browser has and sends it only if it differs;
its component (``static/*.js``) then touches only what differs on the page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nicegui import ui

from apis_dashboard.login_guard import root_of

__all__ = [
    "FIELD",
    "ICON",
    "STATIC",
    "Bands",
    "DealCards",
    "DealTable",
    "EnergyTable",
    "Events",
    "GridPicture",
    "HoldButton",
    "Meters",
    "Orders",
    "Section",
    "StopList",
    "Tiles",
    "Units",
    "card",
    "root",
    "tag",
]

FIELD = "outlined dense options-dense"  # how a field of a form looks
STATIC = Path(__file__).parent / "static"
ICON = (STATIC / "icon.svg").read_text(encoding="utf-8").strip()
FULL_EVERY = 10  # refreshes: a browser that missed something catches up


def root() -> str:
    """What stands before the path of every link of the page that is being built."""
    request = ui.context.client.request
    return root_of(request.headers) if request else ""


class Section(ui.element):
    """A part of a page that shows one slice of state."""

    def __init__(self, **slices: Any) -> None:
        super().__init__()
        self._props["root"] = root()
        for name, value in slices.items():
            self._props[name] = value

    def show(self, state: dict[str, Any]) -> None:
        """Send the state to the browser if it differs from what is there."""
        if self._props.get("state") != state:
            self._props["state"] = state
            self.update()


class Tiles(Section, component=STATIC / "tiles.js"):
    """Numbers in one row."""


class DealCards(Section, component=STATIC / "deal_cards.js"):
    """Running deals."""


class DealTable(Section, component=STATIC / "deal_table.js"):
    """Past deals, with receipts and phases."""


class Units(Section, component=STATIC / "units.js"):
    """One line per unit."""


class Events(Section, component=STATIC / "events.js"):
    """Faults and what else is worth knowing."""


class Meters(Section, component=STATIC / "meters.js"):
    """What one unit's meters say."""


class EnergyTable(Section, component=STATIC / "energy_table.js"):
    """Energy by unit."""


class Bands(Section, component=STATIC / "bands.js"):
    """The scenario over a day, and the battery in it."""


class Orders(Section, component=STATIC / "orders.js"):
    """Orders and how far they are; the audit log."""


class StopList(Section, component=STATIC / "stop_list.js"):
    """What each unit has made of an emergency stop."""


class HoldButton(Section, component=STATIC / "hold_button.js"):
    """A button that says ``press``, ``held`` (a few times a second) and ``release``."""


class GridPicture(ui.element, component=STATIC / "grid.js"):
    """The picture of the grid: the plan once, then only what has changed."""

    def __init__(self, plan: dict[str, Any], frame: dict[str, Any]) -> None:
        super().__init__()
        self._props["root"] = root()
        self._props["plan"] = plan
        self._props["first"] = frame
        self._sent = frame
        self._count = 0

    def show(self, frame: dict[str, Any]) -> None:
        """Send what differs from the last frame."""
        self._count += 1
        news = frame if self._count % FULL_EVERY == 0 else _news(self._sent, frame)
        self._sent = frame
        if news:
            self.run_method("take", news)


def _news(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    news = {key: new[key] for key in ("lines", "deals", "bus") if old[key] != new[key]}
    units = {
        unit_id: values
        for unit_id, values in new["units"].items()
        if old["units"].get(unit_id) != values
    }
    return news | ({"units": units} if units else {})


def tag(name: str, words: str = "", classes: str = "") -> ui.element:
    """Make an element with nothing but text in it; text is never read as HTML."""
    with ui.element(name).classes(classes) as element:
        if words:
            ui.label(words).style("display: inline")
    return element


def card(title: str, classes: str = "") -> ui.element:
    """Make a card with a heading, to be filled in a ``with``."""
    element = ui.element("section").classes(f"apis-card {classes}")
    with element:
        tag("h2", title)
    return element
