"""The page: a :class:`Source` knows the grid, components draw what :func:`page_state` says.

Twice a second each open page compares its sections with what they showed before and sends
those that changed; the components (``static/*.js``) then touch only the texts and attributes
that differ. To add a section: a slice in ``state.py``, a component beside the others, a class
in ``SECTIONS``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from pathlib import Path
from typing import Any, ClassVar, Protocol

from nicegui import ui

from apis_viz.dashboard.confirm import confirmation
from apis_viz.dashboard.state import page_state
from apis_viz.dashboard.text import MODE_WORDS
from apis_viz.model import GridView
from apis_viz.records import Mode

__all__ = ["ICON", "Source", "add_page"]

STATIC = Path(__file__).parent / "static"
ICON = (STATIC / "icon.svg").read_text(encoding="utf-8").strip()
REFRESH_S = 0.5
THEMES = {
    None: ("brightness_auto", "follows the system"),
    True: ("dark_mode", "dark"),
    False: ("light_mode", "light"),
}


class Source(Protocol):
    """Where the picture comes from and where the operator's word goes. Called from one thread."""

    @property
    def cluster(self) -> str:
        """Name of the cluster."""

    @property
    def zone(self) -> tzinfo:
        """Timezone of the place."""

    def view(self) -> GridView:
        """Give the grid as it is now."""

    def set_mode(self, mode: Mode) -> None:
        """Order the mode for the whole cluster; the view tells when the units have followed."""


class _Section(ui.element):
    """A part of the page that shows one slice of the state."""

    key: ClassVar[str]

    def refresh(self, state: dict[str, Any]) -> None:
        """Send this section's slice to the browser if it differs from what is there."""
        if self._props.get("state") != state[self.key]:
            self._props["state"] = state[self.key]
            self.update()


class _Tiles(_Section, component=STATIC / "tiles.js"):
    key = "summary"


class _Grid(_Section, component=STATIC / "grid.js"):
    key = "grid"


class _Deals(_Section, component=STATIC / "deals.js"):
    key = "deals"


class _Units(_Section, component=STATIC / "units.js"):
    key = "units"


class _Events(_Section, component=STATIC / "events.js"):
    key = "events"


SECTIONS: tuple[type[_Section], ...] = (_Tiles, _Grid, _Deals, _Units, _Events)


def add_page(source: Source) -> None:
    """Serve the page at ``/``."""

    @ui.page("/", title=f"APIS · {source.cluster}")
    def dashboard() -> None:
        ui.add_css(STATIC / "dashboard.css")
        parts = [_header(source)]
        with ui.element("main").classes("apis-page"):
            parts += [section().refresh for section in SECTIONS]

        def refresh() -> None:
            state = page_state(source.view(), source.zone)
            for show in parts:
                show(state)

        refresh()
        ui.timer(REFRESH_S, refresh)


def _header(source: Source) -> Callable[[dict[str, Any]], None]:
    """Build the header and give back the function that refreshes it."""
    with ui.element("header").classes("apis-header"):
        with ui.element("div").classes("apis-brand"):
            ui.html(ICON, sanitize=False)
            with ui.element("div"):
                _text("h1", source.cluster)
                _text("div", "APIS energy exchange").classes("sub")
        with ui.element("div").classes("apis-time"):
            time = ui.label()
            speed = ui.label().classes("sub")
        show_mode = _mode_switch(source)
        _theme_button()

    def show(state: dict[str, Any]) -> None:
        time.text = state["header"]["time"]
        speed.text = state["header"]["speed"]
        show_mode(state["header"]["mode"])

    return show


def _mode_switch(source: Source) -> Callable[[dict[str, Any]], None]:
    """Four buttons. The pressed one is what the units report, not what was clicked last."""
    with ui.element("div").classes("apis-mode"):
        note = ui.label().classes("note").props('role="status"')
        with (
            ui.element("div")
            .classes("apis-switch")
            .props('role="group" aria-label="Global operation mode"')
        ):
            buttons = {
                mode: ui.button(MODE_WORDS[mode], color=None).props(
                    "flat no-caps aria-pressed=false"
                )
                for mode in (Mode.RUN, Mode.SOFT_STOP, Mode.FORCE_STOP, Mode.MANUAL)
            }
    for mode, button in buttons.items():
        button.on_click(lambda mode=mode: _order(source, mode))
        button.classes("stop" if mode is Mode.FORCE_STOP else "")

    def show(state: dict[str, Any]) -> None:
        note.text = state["note"]
        note.classes(add="overdue") if state["overdue"] else note.classes(remove="overdue")
        for mode, button in buttons.items():
            pressed = str(mode.name == state["reported"]).lower()
            if button.props.get("aria-pressed") != pressed:
                button.props(f"aria-pressed={pressed}")
            wanted = mode.name == state["wanted"]
            if wanted != ("wanted" in button.classes):
                button.classes(**{"add" if wanted else "remove": "wanted"})

    return show


async def _order(source: Source, mode: Mode) -> None:
    """Pass on the operator's word; what does harm when clicked by mistake is asked again."""
    question = confirmation(mode, source.view())
    if question is not None:
        with (
            ui.dialog() as dialog,
            ui.element("div").classes("apis-dialog").props('role="alertdialog"'),
        ):
            _text("h2", question.title)
            with ui.element("ul"):
                for line in question.consequences:
                    _text("li", line)
            with ui.element("div").classes("actions"):
                ui.button("Cancel", color=None, on_click=lambda: dialog.submit(False)).props(
                    "flat no-caps"
                ).classes("back")
                ui.button(question.button, color=None, on_click=lambda: dialog.submit(True)).props(
                    "unelevated no-caps"
                ).classes("sure")
        sure = await dialog
        dialog.delete()
        if not sure:
            return
    source.set_mode(mode)


def _theme_button() -> None:
    """Cycle through: as the system says, dark, light."""
    theme = ui.dark_mode(None)
    button = ui.button(icon=THEMES[None][0], color=None).props("flat round").classes("apis-theme")
    button.props(f'aria-label="Colours: {THEMES[None][1]}"').tooltip(
        "Colours: system, dark, light"
    )

    def cycle() -> None:
        order = list(THEMES)
        theme.value = order[(order.index(theme.value) + 1) % len(order)]
        icon, words = THEMES[theme.value]
        button.props(f'icon={icon} aria-label="Colours: {words}"')

    button.on_click(cycle)


def _text(tag: str, text: str) -> ui.element:
    """Make an element of a tag with nothing but text in it; text is never read as HTML."""
    with ui.element(tag) as element:
        ui.label(text).style("display: inline")
    return element
