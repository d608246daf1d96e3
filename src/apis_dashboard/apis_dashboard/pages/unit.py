"""One unit: meters, scenario, the past in charts, its deals and faults, its local mode."""

from __future__ import annotations

from fastapi import Request
from nicegui import ui

from apis_dashboard import charts, widgets
from apis_dashboard.confirm import local_mode_question
from apis_dashboard.formatting import MODE_WORDS
from apis_dashboard.model import GridView, UnitView
from apis_dashboard.operator_commands import OperatorCommands
from apis_dashboard.page_layout import Page, ask, order, page_frame
from apis_dashboard.records import Mode
from apis_dashboard.views.deals import deal_state
from apis_dashboard.views.events import event_state
from apis_dashboard.views.unit import bands_state, meters_state

__all__ = ["add_page"]

SPANS = {"6 h": 6 * 3600.0, "24 h": 86_400.0, "7 d": 7 * 86_400.0, "30 d": 30 * 86_400.0}
CHARTS_S = 5.0
LOCAL = {Mode.UNSET: "As the cluster", Mode.SOFT_STOP: "Soft stop", Mode.FORCE_STOP: "Force stop"}


def add_page(commands: OperatorCommands) -> None:
    """Serve it at ``/unit/<id>``."""
    ids = commands.source.site.unit_ids

    @ui.page("/unit/{unit_id}")
    def unit(request: Request, unit_id: str) -> None:
        with page_frame(commands, request, "/units", unit_id) as page:
            if unit_id not in ids:
                with widgets.card(f"There is no unit {unit_id}"):
                    widgets.tag("p", f"The grid has {', '.join(ids[:20])}.", "empty")
                return
            _head(page, unit_id)
            meters = widgets.Meters()
            page.keep(lambda view: meters.show(meters_state(_of(view, unit_id), view)))
            _charts(page, unit_id)
            with ui.element("div").classes("apis-columns"):
                bands = widgets.Bands()
                events = widgets.Events()
            table = widgets.DealTable()
            site = commands.source.site
            page.keep(
                lambda view: bands.show(bands_state(_of(view, unit_id), site, view.ros_time_s))
            )

            def show_past(view: GridView) -> None:
                status = _of(view, unit_id).status
                present = set(status.fault_codes) if status else set()
                found = commands.history.events(unit_id=unit_id, limit=40)
                rows = [event_state(event, site.zone) for event in found]
                seen: set[str] = set()
                for row in rows:  # the newest word on a fault says whether it is there now
                    row["present"] = row["code"] in present and row["code"] not in seen
                    seen.add(row["code"])
                events.show({"events": rows})
                deals = commands.history.deals(unit_id=unit_id, limit=60)
                table.show(
                    {
                        "title": f"Deals of {unit_id}",
                        "deals": [deal_state(deal, view.ros_time_s, site.zone) for deal in deals],
                    }
                )

            page.keep(show_past, every=2)


def _of(view: GridView, unit_id: str) -> UnitView:
    return next(unit for unit in view.units if unit.unit_id == unit_id)


def _head(page: Page, unit_id: str) -> None:
    commands = page.commands
    ids = commands.source.site.unit_ids
    at = ids.index(unit_id)
    with ui.element("div").classes("apis-unit-head"):
        widgets.tag("h1", unit_id)
        chips = ui.element("div").classes("chips")
        with ui.element("div").classes("apis-local"):
            note = ui.label().classes("note")
            with (
                ui.element("div")
                .classes("apis-switch")
                .props('role="group" aria-label="Local mode"')
            ):
                buttons = {
                    mode: ui.button(words, color=None).props(
                        "flat no-caps aria-pressed=false"
                        + ("" if page.who.may_operate else " disable")
                    )
                    for mode, words in LOCAL.items()
                }
        with ui.element("nav").classes("steps").props('aria-label="Other units"'):
            for step, word in ((at - 1, "‹"), (at + 1, "›")):
                other = ids[step % len(ids)]
                with ui.element("a").props(
                    f'href="{widgets.root()}/unit/{other}" aria-label="{other}"'
                ):
                    ui.label(word)

    async def change(mode: Mode) -> None:
        question = local_mode_question(mode, unit_id, commands.source.view())
        if question is None or await ask(question):
            order(lambda: commands.set_mode(page.who, mode, unit_id))
            page.refresh()

    for mode, button in buttons.items():
        button.on_click(lambda mode=mode: change(mode))
    shown: list[object] = []

    def show(view: GridView) -> None:
        unit = _of(view, unit_id)
        status = unit.status
        note.text = f"goes by {MODE_WORDS[status.effective_mode]}" if status else "not heard of"
        for mode, button in buttons.items():
            is_pressed = status is not None and status.local_mode is mode
            pressed = str(is_pressed).lower()
            if button.props.get("aria-pressed") != pressed:
                button.props(f"aria-pressed={pressed}")
        state = meters_state(unit, view)
        words = [
            ("reference", "⚓ holds the voltage") if state["reference"] else None,
            ("master", "★ grid master") if state["master"] else None,
            *(("bad", f"⚠ {code}") for code in state["faults"]),
            ("bad", f"⚠ {state['note']}") if not state["present"] else None,
            ("info", state["note"]) if state["present"] and state["note"] else None,
        ]
        found = [chip for chip in words if chip]
        if found != shown:
            shown[:] = found
            chips.clear()
            with chips:
                for kind, text in found:
                    widgets.tag("span", text, f"chip {kind}")

    page.keep(show)


def _charts(page: Page, unit_id: str) -> None:
    commands = page.commands
    zone = commands.source.site.zone
    chosen = {"span": "24 h"}
    with ui.element("section").classes("apis-card apis-charts"):
        with ui.element("div").classes("head"):
            widgets.tag("h2", "The past")
            toggle = (
                ui.toggle(list(SPANS), value="24 h")
                .props(
                    "no-caps unelevated toggle-color=chosen toggle-text-color=chosen "
                    'aria-label="How far back"'
                )
                .classes("apis-toggle")
            )
        with ui.element("div").classes("four"):
            boxes = {
                name: _chart_box(name)
                for name in (
                    "State of charge [%]",
                    "Power [W]",
                    "Voltage at the bus [V]",
                    "Prices [pt/Wh]",
                )
            }

    def draw() -> None:
        now_s = commands.source.view().ros_time_s
        if now_s is None:
            return
        span = (now_s - SPANS[chosen["span"]], now_s)
        series = commands.history.series(unit_id, *span)
        deals = commands.history.deals(unit_id=unit_id, from_s=span[0], limit=500)
        options = {
            "State of charge [%]": charts.time_chart(
                series,
                [("charge", "soc_ratio", "battery", 100.0)],
                zone=zone,
                span=span,
                lowest=0,
                highest=100,
            ),
            "Power [W]": charts.time_chart(
                series,
                [
                    ("sun", "solar_w", "sun", 1.0),
                    ("load", "load_w", "load", 1.0),
                    ("mains", "mains_w", "mains", 1.0),
                    ("from the bus", "grid_w", "bus", 1.0),
                ],
                zone=zone,
                span=span,
            ),
            "Voltage at the bus [V]": charts.time_chart(
                series,
                [("voltage", "grid_v", "voltage", 1.0)],
                zone=zone,
                span=span,
                lowest=0,
                highest=400,
            ),
            "Prices [pt/Wh]": charts.price_chart(series, deals, zone=zone, span=span),
        }
        for name, content in options.items():
            box = boxes[name]
            if dict(box.options) != content:
                box.options.clear()
                box.options.update(content)
                box.update()

    def choose(value: str) -> None:
        chosen["span"] = value
        draw()

    toggle.on_value_change(lambda event: choose(event.value))
    draw()
    ui.timer(CHARTS_S, draw)


def _chart_box(name: str) -> ui.echart:
    with ui.element("figure"):
        widgets.tag("figcaption", name)
        return ui.echart({"series": []}, renderer="svg").classes("apis-chart")
