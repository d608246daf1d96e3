"""Steering: what an operator may order, with what will happen said before, and how far each order
is beside it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from fastapi import Request
from nicegui import ui

from apis_viz.dashboard import parts, text
from apis_viz.dashboard.by_hand import Setting, Stage, why_not
from apis_viz.dashboard.confirm import fault_question, shutdown_question
from apis_viz.dashboard.desk import Desk
from apis_viz.dashboard.frame import Page, ask, order, page_frame
from apis_viz.dashboard.source import DealWish, FaultWish
from apis_viz.dashboard.state import steering_state
from apis_viz.model import GridView
from apis_viz.records import ConverterMode, FaultCategory, FaultExtent, FaultLevel, Mode

__all__ = ["add"]

CLUSTER = "the whole cluster"
FIELD = "outlined dense options-dense"
DOING = {
    "Stopped": ConverterMode.WAIT,
    "Hold the voltage": ConverterMode.VOLTAGE_REFERENCE,
    "Give": ConverterMode.DISCHARGE,
    "Take": ConverterMode.CHARGE,
}
ROWS_BY_HAND = 12  # converters on one screen; more are chosen from a list


def add(desk: Desk) -> None:
    """Serve it at ``/steering``."""

    @ui.page("/steering")
    def steering(request: Request) -> None:
        with page_frame(desk, request, "/steering", "Steering") as page:
            parts.tag("h1", "Steering", "hidden")
            if page.who.may_operate:
                with ui.element("div").classes("apis-steer"):
                    _deal(page)
                    _schedule(page)
                    _by_hand(page)
                    _programs(page)
                    if desk.source.site.is_simulated:
                        _fault(page)
            else:
                with parts.card("You may look"):
                    parts.tag("p", "Only an operator gives orders. Log in as one.", "empty")
            log = parts.Orders()
            page.keep(lambda _: log.show(steering_state(desk)))


def _deal(page: Page) -> None:
    desk = page.desk
    ids = list(desk.source.site.unit_ids)
    with parts.card("Deal by hand"):
        parts.tag(
            "p",
            "Two units exchange energy, whatever their scenarios say. Modes, limits and faults "
            "still hold. It takes Run or Soft stop.",
            "hint",
        )
        with ui.element("div").classes("fields"):
            giver = ui.select(ids, value=ids[0], label="From").props(FIELD)
            taker = ui.select(ids, value=ids[-1], label="To").props(FIELD)
            energy = ui.number("Energy [Wh]", value=50, min=1, max=100_000).props(FIELD)
            current = ui.number("Current [A]", placeholder="policy", min=0.1, max=100).props(
                f"{FIELD} stack-label"
            )
            price = ui.number("Price [pt/Wh]", placeholder="none", min=0).props(
                f"{FIELD} stack-label"
            )
        complaint = parts.tag("p", "", "complaint")

        def give() -> None:
            complaint.clear()
            words = _deal_problem(giver.value, taker.value, energy.value, current.value)
            if words:
                with complaint:
                    ui.label(words)
                return
            wish = DealWish(
                giver_id=giver.value,
                taker_id=taker.value,
                energy_wh=float(energy.value),
                current_a=current.value,
                price_point_per_wh=price.value,
            )
            order(lambda: desk.deal(page.who, wish))

        with ui.element("div").classes("actions"):
            ui.button("Make the deal", color=None, on_click=give).props(
                "unelevated no-caps"
            ).classes("do")
            running = ui.select({}, label="End a deal").props(FIELD).classes("grow")
            ui.button(
                "End it",
                color=None,
                on_click=lambda: (
                    running.value and order(lambda: desk.end_deal(page.who, running.value))
                ),
            ).props("outline no-caps").classes("quiet")

        def show(view: GridView) -> None:
            choices = {
                deal.deal_id: f"{deal.discharge_unit_id} → {deal.charge_unit_id}, "
                f"{deal.moved_wh:.0f} / {deal.energy_wh:.0f} Wh"
                for deal in view.running
            }
            if choices != running.options:
                kept = running.value if running.value in choices else None
                running.set_options(choices, value=kept)

        page.keep(show)


def _deal_problem(giver: str, taker: str, energy: float | None, current: float | None) -> str:
    if giver == taker:
        return "A unit makes no deal with itself."
    if energy is None or energy <= 0.0:
        return "The energy must be more than 0 Wh."
    if current is not None and current <= 0.0:
        return "The current must be more than 0 A; empty means the policy's."
    return ""


def _schedule(page: Page) -> None:
    desk = page.desk
    zone = desk.source.site.zone
    now_s = desk.source.view().ros_time_s
    soon = datetime.fromtimestamp(now_s, zone) + timedelta(hours=1) if now_s else None
    with parts.card("Soft stop, later"):
        parts.tag(
            "p",
            "At that time no new deals are made any more, and running ones finish. The dashboard "
            "must be running then; a restart in between does no harm.",
            "hint",
        )
        with ui.element("div").classes("fields"):
            whom = ui.select([CLUSTER, *desk.source.site.unit_ids], value=CLUSTER, label="Who")
            whom.props(FIELD)
            day = ui.input("Day", value=f"{soon:%Y-%m-%d}" if soon else "").props(
                f"{FIELD} type=date stack-label"
            )
            time = ui.input("Time at the place", value=f"{soon:%H:%M}" if soon else "").props(
                f"{FIELD} type=time stack-label"
            )
        complaint = parts.tag("p", "", "complaint")

        def unit() -> str:
            return "" if whom.value == CLUSTER else whom.value

        def give() -> None:
            complaint.clear()
            try:
                due = datetime.fromisoformat(f"{day.value}T{time.value}").replace(tzinfo=zone)
            except ValueError:
                with complaint:
                    ui.label("The day or the time is missing.")
                return
            order(lambda: desk.set_schedule(page.who, unit(), due.timestamp()))

        with ui.element("div").classes("actions"):
            ui.button("Schedule", color=None, on_click=give).props("unelevated no-caps").classes(
                "do"
            )
            ui.button(
                "Clear",
                color=None,
                on_click=lambda: order(lambda: desk.clear_schedule(page.who, unit())),
            ).props("outline no-caps").classes("quiet")
        listing = ui.element("ul").classes("plain")
        shown: list[str] = ["?"]

        def show(_: GridView) -> None:
            lines = [
                f"{text.date_time(item.due_s, zone)}: {item.unit_id or CLUSTER}, by {item.who}"
                for item in desk.history.schedules()
            ] or ["Nothing is scheduled."]
            if lines != shown:
                shown[:] = lines
                listing.clear()
                with listing:
                    for line in lines:
                        parts.tag("li", line)

        page.keep(show)


def _by_hand(page: Page) -> None:
    desk = page.desk
    site = desk.source.site
    ids = list(site.unit_ids)[:ROWS_BY_HAND]
    low, high, usual = 320.0, 380.0, 350.0
    if site.policy:
        low, high = site.policy.grid_voltage_min_v, site.policy.grid_voltage_max_v
        usual = site.policy.grid_voltage_v
    rows: dict[str, tuple[ui.select, ui.number, ui.label]] = {}
    with parts.card("Converters by hand", "wide"):
        parts.tag(
            "p",
            "In Manual only. Choose what each converter does, then hold the button: one holds the "
            f"voltage ({low:g} to {high:g} V, on a dead bus), the others give or take a current. "
            "Let go, or lose the connection, and all of them switch off, currents first.",
            "hint",
        )
        with ui.element("div").classes("by-hand"):
            for unit_id in ids:
                hardware = site.units[unit_id].hardware if unit_id in site.units else None
                most_a = hardware.grid_current_capacity_a if hardware else 10.0
                with ui.element("div").classes("unit-row"):
                    parts.tag("b", unit_id)
                    doing = ui.select(list(DOING), value="Stopped").props(
                        f'{FIELD} aria-label="{unit_id} does"'
                    )
                    setpoint = ui.number(value=None).props(
                        f'{FIELD} aria-label="{unit_id} set point"'
                    )
                    reading = ui.label().classes("reading")
                    rows[unit_id] = (doing, setpoint, reading)

                def suit(
                    _: object = None,
                    doing: ui.select = doing,
                    setpoint: ui.number = setpoint,
                    most_a: float = most_a,
                ) -> None:
                    mode = DOING[doing.value]
                    setpoint.set_enabled(mode is not ConverterMode.WAIT)
                    is_voltage = mode is ConverterMode.VOLTAGE_REFERENCE
                    setpoint.props(f"suffix={'V' if is_voltage else 'A'}")
                    # The limits first: each change of one forces the value between them.
                    setpoint.min, setpoint.max = (low, high) if is_voltage else (0.1, most_a)
                    setpoint.value = (
                        None if mode is ConverterMode.WAIT else usual if is_voltage else 1.0
                    )

                doing.on_value_change(suit)
                suit()
        why = ui.element("ul").classes("complaint plain")
        button = parts.HoldButton(state={"enabled": False, "words": "Hold to run"})
        stage = ui.label().classes("note").props('role="status"')

    def settings() -> dict[str, Setting]:
        found = {}
        for unit_id, (doing, setpoint, _) in rows.items():
            mode = DOING[doing.value]
            is_voltage = mode is ConverterMode.VOLTAGE_REFERENCE
            value = setpoint.value
            found[unit_id] = Setting(
                mode, value if is_voltage else None, None if is_voltage else value
            )
        return found

    button.on("press", lambda: order(lambda: desk.press(page.who, settings())))
    button.on("held", desk.still_held)
    button.on("release", desk.release)
    ui.context.client.on_disconnect(lambda: desk.by_hand.who == page.who.name and desk.release())
    shown: list[str] = []

    def show(view: GridView) -> None:
        for unit in view.units:
            if unit.unit_id in rows and unit.converter:
                reading = unit.converter
                words = (
                    f"{text.CONVERTER_WORDS[reading.mode]}, "
                    f"{text.amount(reading.grid_voltage_v, 'V', 0)}, "
                    f"{text.amount(reading.grid_current_a, 'A', 2)}"
                )
                rows[unit.unit_id][2].set_text(words)
        is_mine = desk.by_hand.stage is not Stage.IDLE
        reasons = [] if is_mine else why_not(settings(), view, site)
        if view.mode.reported is not Mode.MANUAL and not is_mine:
            reasons = ["The cluster is not in Manual. Choose Manual above."]
        if reasons != shown:
            shown[:] = reasons
            why.clear()
            with why:
                for reason in reasons:
                    parts.tag("li", reason)
        button.show({"enabled": is_mine or not reasons, "words": "Hold to run"})
        ended = f"ended: {desk.by_hand.reason}" if desk.by_hand.reason else ""
        stage.text = f"{desk.by_hand.stage.value}, by {desk.by_hand.who}" if is_mine else ended

    page.keep(show)


def _programs(page: Page) -> None:
    desk = page.desk
    ids = desk.source.site.unit_ids
    with parts.card("Programs"):
        parts.tag(
            "p",
            "Shutting down is for maintenance, in Manual only. Reading again forgets what this "
            "dashboard has heard and asks for all of it.",
            "hint",
        )
        with ui.element("div").classes("fields"):
            whom = ui.select([CLUSTER, *ids], value=CLUSTER, label="Who").props(FIELD)
            level = ui.select(["debug", "info", "warn", "error"], value="info", label="Log level")
            level.props(FIELD)

        def chosen() -> tuple[str, ...]:
            return ids if whom.value == CLUSTER else (whom.value,)

        async def shut_down() -> None:
            if await ask(shutdown_question(chosen(), desk.source.view())):
                order(lambda: desk.shut_down(page.who, chosen()))

        with ui.element("div").classes("actions"):
            ui.button(
                "Set log level",
                color=None,
                on_click=lambda: order(
                    lambda: desk.set_log_level(page.who, chosen(), level.value)
                ),
            ).props("outline no-caps").classes("quiet")
            ui.button(
                "Read all again", color=None, on_click=lambda: order(lambda: desk.flush(page.who))
            ).props("outline no-caps").classes("quiet")
            down = (
                ui.button("Shut down…", color=None, on_click=shut_down)
                .props("unelevated no-caps")
                .classes("danger")
            )
        note = ui.label().classes("note")

        def show(view: GridView) -> None:
            is_manual = view.mode.reported is Mode.MANUAL
            down.set_enabled(is_manual)
            note.text = "" if is_manual else "Shut down waits for Manual."

        page.keep(show)


def _fault(page: Page) -> None:
    desk = page.desk
    ids = list(desk.source.site.unit_ids)
    with parts.card("Make a fault"):
        parts.tag(
            "p",
            "For tests, on an emulated grid: all units hear of a fault that nobody has, and do "
            "what the fault matrix says.",
            "hint",
        )
        with ui.element("div").classes("fields"):
            unit = ui.select(ids, value=ids[0], label="Unit").props(FIELD)
            category = ui.select(
                [c.name for c in FaultCategory if c.value], value="HARDWARE", label="Category"
            ).props(FIELD)
            extent = ui.select(
                [e.name for e in FaultExtent if e.value], value="LOCAL", label="Concerns"
            ).props(FIELD)
            level = ui.select(
                [lv.name for lv in FaultLevel if lv.value], value="WARN", label="Level"
            ).props(FIELD)
            words = ui.input("Message", value="made by hand").props(FIELD)

        async def make() -> None:
            wish = FaultWish(
                unit_id=unit.value,
                category=FaultCategory[category.value],
                extent=FaultExtent[extent.value],
                level=FaultLevel[level.value],
                message=words.value or "made by hand",
            )
            if await ask(fault_question(wish)):
                order(lambda: desk.report_fault(page.who, wish))

        with ui.element("div").classes("actions"):
            ui.button("Make it…", color=None, on_click=make).props("unelevated no-caps").classes(
                "danger"
            )
