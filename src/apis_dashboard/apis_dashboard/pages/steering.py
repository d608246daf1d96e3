"""Steering: what an operator may order, with what will happen said before, and how far each order
is beside it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from fastapi import Request
from nicegui import ui

from apis_core.trading.negotiation import MOST_CURRENT_A, MOST_ENERGY_WH
from apis_dashboard import formatting, widgets
from apis_dashboard.confirm import shutdown_question
from apis_dashboard.grid_source import DealWish
from apis_dashboard.model import GridView
from apis_dashboard.operator_commands import OperatorCommands
from apis_dashboard.page_layout import Page, ask, order, page_frame
from apis_dashboard.pages.faults import add_broken_hardware, add_made_faults
from apis_dashboard.pages.manual_control import add_manual_control
from apis_dashboard.records import Mode
from apis_dashboard.views.steering import steering_state

__all__ = ["add_page"]

CLUSTER = "the whole cluster"


def add_page(commands: OperatorCommands) -> None:
    """Serve it at ``/steering``."""

    @ui.page("/steering")
    def steering(request: Request) -> None:
        with page_frame(commands, request, "/steering", "Steering") as page:
            widgets.tag("h1", "Steering", "hidden")
            if page.who.may_operate:
                with ui.element("div").classes("apis-steer"):
                    _deal(page)
                    _schedule(page)
                    if page.who.may_maintain:
                        add_manual_control(page)
                    _programs(page)
                    if page.who.may_maintain and commands.source.site.is_simulated:
                        add_made_faults(page)
                        add_broken_hardware(page)
            else:
                with widgets.card("You may look"):
                    widgets.tag("p", "Only an operator gives orders. Log in as one.", "empty")
            log = widgets.Orders()
            page.keep(lambda _: log.show(steering_state(commands)))


def _deal(page: Page) -> None:
    commands = page.commands
    ids = list(commands.source.site.unit_ids)
    with widgets.card("Deal by hand"):
        widgets.tag(
            "p",
            "Two units exchange energy, whatever their scenarios say. Modes, limits and faults "
            "still hold. It takes Run or Soft stop.",
            "hint",
        )
        with ui.element("div").classes("fields"):
            giver = ui.select(ids, value=ids[0], label="From").props(widgets.FIELD)
            taker = ui.select(ids, value=ids[-1], label="To").props(widgets.FIELD)
            # Without `min`: the field would put that in the place of what was typed, and order it.
            energy = ui.number("Energy [Wh]", value=50).props(widgets.FIELD)
            current = ui.number("Current [A]", placeholder="policy").props(
                f"{widgets.FIELD} stack-label"
            )
            price = ui.number("Price [pt/Wh]", placeholder="none").props(
                f"{widgets.FIELD} stack-label"
            )
        complaint = widgets.tag("p", "", "complaint")

        def give() -> None:
            complaint.clear()
            wish = DealWish(
                giver_id=giver.value,
                taker_id=taker.value,
                energy_wh=float(energy.value or 0.0),
                current_a=current.value,
                price_point_per_wh=price.value,
            )
            if words := _deal_problem(wish):
                with complaint:
                    ui.label(words)
                return
            order(lambda: commands.deal(page.who, wish))

        with ui.element("div").classes("actions"):
            ui.button("Make the deal", color=None, on_click=give).props(
                "unelevated no-caps"
            ).classes("do")
            running = ui.select({}, label="End a deal").props(widgets.FIELD).classes("grow")
            ui.button(
                "End it",
                color=None,
                on_click=lambda: (
                    running.value and order(lambda: commands.end_deal(page.who, running.value))
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


def _deal_problem(wish: DealWish) -> str:
    if wish.giver_id == wish.taker_id:
        return "A unit makes no deal with itself."
    if not 0.0 < wish.energy_wh <= MOST_ENERGY_WH:
        return f"The energy must be more than 0 Wh, and at most {MOST_ENERGY_WH:,.0f} Wh."
    if wish.current_a is not None and not 0.0 < wish.current_a <= MOST_CURRENT_A:
        return (
            f"The current must be more than 0 A, and at most {MOST_CURRENT_A:g} A; "
            "empty means the policy's."
        )
    if wish.price_point_per_wh is not None and wish.price_point_per_wh < 0.0:
        return "The price must not be below 0 pt/Wh; empty means none."
    return ""


def _schedule(page: Page) -> None:
    commands = page.commands
    zone = commands.source.site.zone
    now_s = commands.source.view().ros_time_s
    soon = datetime.fromtimestamp(now_s, zone) + timedelta(hours=1) if now_s else None
    with widgets.card("Soft stop, later"):
        widgets.tag(
            "p",
            "At that time no new deals are made any more, and running ones finish. The dashboard "
            "must be running then; a restart in between does no harm.",
            "hint",
        )
        with ui.element("div").classes("fields few"):
            whom = ui.select([CLUSTER, *commands.source.site.unit_ids], value=CLUSTER, label="Who")
            whom.props(widgets.FIELD)
            day = ui.input("Day", value=f"{soon:%Y-%m-%d}" if soon else "").props(
                f"{widgets.FIELD} type=date stack-label"
            )
            time = ui.input("Time at the place", value=f"{soon:%H:%M}" if soon else "").props(
                f"{widgets.FIELD} type=time stack-label"
            )
        complaint = widgets.tag("p", "", "complaint")

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
            order(lambda: commands.set_schedule(page.who, unit(), due.timestamp()))

        with ui.element("div").classes("actions"):
            ui.button("Schedule", color=None, on_click=give).props("unelevated no-caps").classes(
                "do"
            )
            ui.button(
                "Clear",
                color=None,
                on_click=lambda: order(lambda: commands.clear_schedule(page.who, unit())),
            ).props("outline no-caps").classes("quiet")
        listing = ui.element("ul").classes("plain")
        shown: list[str] = ["?"]

        def show(_: GridView) -> None:
            lines = [
                f"{formatting.date_time(item.due_s, zone)}: {item.unit_id or CLUSTER}, "
                f"by {item.who}"
                for item in commands.history.schedules()
            ] or ["Nothing is scheduled."]
            if lines != shown:
                shown[:] = lines
                listing.clear()
                with listing:
                    for line in lines:
                        widgets.tag("li", line)

        page.keep(show)


def _read_again(page: Page) -> None:
    ui.button(
        "Read all again",
        color=None,
        on_click=lambda: order(lambda: page.commands.flush(page.who)),
    ).props("outline no-caps").classes("quiet")


def _programs(page: Page) -> None:
    commands = page.commands
    ids = commands.source.site.unit_ids
    if not page.who.may_maintain:
        with widgets.card("Maintenance"):
            widgets.tag(
                "p",
                "Converters by hand, log levels, shutting down and faults for tests take the role "
                "maintainer.",
                "hint",
            )
            _read_again(page)
        return
    with widgets.card("Programs"):
        widgets.tag(
            "p",
            "Shutting down is for maintenance, in Manual only. Reading again forgets what this "
            "dashboard has heard and asks for all of it.",
            "hint",
        )
        with ui.element("div").classes("fields few"):
            whom = ui.select([CLUSTER, *ids], value=CLUSTER, label="Who").props(widgets.FIELD)
            level = ui.select(["debug", "info", "warn", "error"], value="info", label="Log level")
            level.props(widgets.FIELD)

        def chosen() -> tuple[str, ...]:
            return ids if whom.value == CLUSTER else (whom.value,)

        async def shut_down() -> None:
            if await ask(shutdown_question(chosen(), commands.source.view())):
                order(lambda: commands.shut_down(page.who, chosen()))

        with ui.element("div").classes("actions"):
            ui.button(
                "Set log level",
                color=None,
                on_click=lambda: order(
                    lambda: commands.set_log_level(page.who, chosen(), level.value)
                ),
            ).props("outline no-caps").classes("quiet")
            _read_again(page)
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
