"""What every page has: header, navigation, the switch of the mode, the emergency stop, and the
timer that keeps the page up to date.

Once a second each open page looks at the grid and shows what has changed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from fastapi import Request
from nicegui import ui

from apis_dashboard import widgets
from apis_dashboard.access import LOCAL, Identity
from apis_dashboard.confirm import Question, mode_question
from apis_dashboard.formatting import MODE_WORDS
from apis_dashboard.model import GridView
from apis_dashboard.operator_commands import OperatorCommands
from apis_dashboard.order_log import Refused
from apis_dashboard.records import Mode
from apis_dashboard.views.common import State
from apis_dashboard.views.header import header_state, stop_state

__all__ = ["Page", "ask", "order", "page_frame"]

REFRESH_S = 1.0  # readings come no faster
LINKS = (
    ("/", "Grid", "hub"),
    ("/units", "Units", "home"),
    ("/deals", "Deals", "swap_horiz"),
    ("/energy", "Energy", "bolt"),
    ("/steering", "Steering", "tune"),
)
THEMES = {
    None: ("brightness_auto", "follows the system"),
    True: ("dark_mode", "dark"),
    False: ("light_mode", "light"),
}
THEME_KEY = "apis-theme"


@dataclass
class Page:
    """A page that is being built: who looks, and what keeps it up to date."""

    commands: OperatorCommands
    who: Identity
    parts: list[tuple[Callable[[GridView], None], int]] = field(default_factory=list)
    refreshes: int = 0
    first: GridView = field(init=False)

    def __post_init__(self) -> None:
        self.first = self.commands.source.view()

    def keep(self, show: Callable[[GridView], None], *, every: int = 1) -> None:
        """Call `show` with the present view now and at every refresh, or every so many."""
        self.parts.append((show, every))
        show(self.first)

    def refresh(self) -> None:
        """Look at the grid and show what is due."""
        self.refreshes += 1
        view = self.commands.source.view()
        for show, every in self.parts:
            if self.refreshes % every == 0:
                show(view)


@contextmanager
def page_frame(
    commands: OperatorCommands, request: Request, here: str, title: str
) -> Iterator[Page]:
    """Build a page round what is built inside the ``with``.

    Args:
        commands: The operator's.
        request: For who looks.
        here: The link that is the present page's.
        title: Heading, for those who do not see the picture.
    """
    who: Identity = request.scope.get("apis.identity") or LOCAL
    page = Page(commands, who)
    ui.page_title(f"{title} · {commands.source.site.cluster}")
    ui.add_css(widgets.STATIC / "dashboard.css")
    ui.add_body_html('<script>document.documentElement.lang = "en"</script>')
    _header(page, here)
    # What is typed before the browser is connected would be shown here and not known there.
    with ui.element("main").classes("apis-page").props("inert") as main:
        yield page
    ui.context.client.on_connect(lambda: main.props(remove="inert"))

    ui.timer(REFRESH_S, page.refresh)


def _header(page: Page, here: str) -> None:
    commands, who, root = page.commands, page.who, widgets.root()
    with ui.element("header").classes("apis-header"):
        with ui.element("a").classes("apis-brand").props(f'href="{root}/" aria-label="Grid"'):
            ui.html(widgets.ICON, sanitize=False)
            with ui.element("div"):
                widgets.tag("div", commands.source.site.cluster, "title")
                widgets.tag("div", "APIS energy exchange", "sub")
        with ui.element("nav").classes("apis-nav").props('aria-label="Pages"'):
            for link, name, icon in LINKS:
                current = ' aria-current="page"' if link == here else ""
                with ui.element("a").props(f'href="{root}{link}"{current}'):
                    ui.icon(icon).props('aria-hidden="true"')
                    ui.label(name)
        with ui.element("div").classes("apis-time"):
            time = ui.label()
            speed = ui.label().classes("sub")
        show_mode = _mode_switch(page)
        _stop_button(page)
        _theme_button()
        if who.session:
            form = ui.element("form").props(f'method="post" action="{root}/logout"')
            with form.classes("apis-user"), ui.element("button").props('type="submit"'):
                ui.label(f"Log out {who.name}")

    def show(view: GridView) -> None:
        state = header_state(view, commands.source.site.zone)
        time.text = state["time"]
        speed.text = state["speed"]
        speed.classes(**{"add" if state["stale"] else "remove": "stale"})
        show_mode(state["mode"])

    page.keep(show)


def _mode_switch(page: Page) -> Callable[[State], None]:
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
                    + ("" if page.who.may_operate else " disable")
                )
                for mode in (Mode.RUN, Mode.SOFT_STOP, Mode.FORCE_STOP, Mode.MANUAL)
            }

    async def change(mode: Mode) -> None:
        question = mode_question(mode, page.commands.source.view())
        if question is None or await ask(question):
            order(lambda: page.commands.set_mode(page.who, mode))
            page.refresh()  # that it was ordered is seen at once

    for mode, button in buttons.items():
        button.on_click(lambda mode=mode: change(mode))
        button.classes("stop" if mode is Mode.FORCE_STOP else "")

    def show(state: State) -> None:
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


def _stop_button(page: Page) -> None:
    """Two clicks, whatever else is going on: works without the grid master and without the units'
    programs; what each unit has made of it stays on the screen.
    """
    with (
        ui.dialog() as dialog,
        ui.element("div").classes("apis-dialog wide").props('role="alertdialog"'),
    ):
        widgets.tag("h2", "Stop everything now?")
        with ui.element("ul"):
            for words in (
                "Every converter is told to switch off, straight and not through the grid master.",
                "The mode becomes Force stop: all deals end, none is made.",
                "The houses go on with their own batteries, sun and mains.",
            ):
                widgets.tag("li", words)
        listing = widgets.StopList()
        with ui.element("div").classes("actions"):
            ui.button("Close", color=None, on_click=dialog.close).props("flat no-caps").classes(
                "back"
            )
            ui.button(
                "Stop everything now",
                color=None,
                on_click=lambda: order(lambda: page.commands.emergency_stop(page.who)),
            ).props("unelevated no-caps").classes("sure big")
    button = ui.button("Emergency stop", color=None, on_click=dialog.open).props(
        "unelevated no-caps"
    )
    button.classes("apis-stop")
    if not page.who.may_operate:
        button.set_visibility(False)
    page.keep(lambda view: listing.show(stop_state(page.commands, view)) if dialog.value else None)
    listing.show(stop_state(page.commands, page.commands.source.view()))


def order(give: Callable[[], None]) -> bool:
    """Give an order; say so if it is refused. Whether it was passed on."""
    try:
        give()
    except Refused as refused:
        ui.notify(f"Refused: {refused}", type="negative", position="top", timeout=8000)
        return False
    return True


async def ask(question: Question) -> bool:
    """Ask before something that should not happen by mistake; whether it is wanted."""
    with (
        ui.dialog() as dialog,
        ui.element("div").classes("apis-dialog").props('role="alertdialog"'),
    ):
        widgets.tag("h2", question.title)
        with ui.element("ul"):
            for line in question.consequences:
                widgets.tag("li", line)
        word = None
        if question.type_to_confirm:
            word = ui.input(f"Type {question.type_to_confirm} to go on").props(
                'outlined dense autocomplete="off"'
            )
            word.classes("confirm")
        with ui.element("div").classes("actions"):
            ui.button("Cancel", color=None, on_click=lambda: dialog.submit(False)).props(
                "flat no-caps"
            ).classes("back")
            sure = (
                ui.button(question.button, color=None, on_click=lambda: dialog.submit(True))
                .props("unelevated no-caps")
                .classes("sure")
            )
            if word is not None:
                sure.set_enabled(False)
                word.on_value_change(
                    lambda event: sure.set_enabled(event.value == question.type_to_confirm)
                )
    answer = await dialog
    dialog.delete()
    return bool(answer)


def _theme_button() -> None:
    """Cycle through: as the system says, dark, light; the browser remembers."""
    theme = ui.dark_mode(None)
    button = ui.button(icon=THEMES[None][0], color=None).props("flat round").classes("apis-theme")
    button.props(f'aria-label="Colours: {THEMES[None][1]}"')

    def choose(value: bool | None) -> None:
        theme.value = value
        icon, words = THEMES[value]
        button.props(f'icon={icon} aria-label="Colours: {words}"')

    def cycle() -> None:
        order = list(THEMES)
        choose(order[(order.index(theme.value) + 1) % len(order)])
        ui.run_javascript(f"localStorage.setItem('{THEME_KEY}', '{THEMES[theme.value][1]}')")

    button.on_click(cycle)

    async def recall() -> None:
        words = await ui.run_javascript(f"localStorage.getItem('{THEME_KEY}')", timeout=5.0)
        known = next((value for value, theme in THEMES.items() if theme[1] == words), None)
        if known is not None:
            choose(known)

    ui.context.client.on_connect(_quietly(recall))


def _quietly(do: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    async def wrapped() -> None:
        with suppress(TimeoutError):  # the page was left before it could answer
            await do()

    return wrapped
