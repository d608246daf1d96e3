"""Deals: the running ones, the past ones with a filter, and all of them as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import Request
from fastapi.responses import PlainTextResponse, Response
from nicegui import app, ui

from apis_dashboard import formatting, widgets
from apis_dashboard.model import GridView
from apis_dashboard.operator_commands import OperatorCommands
from apis_dashboard.page_layout import page_frame
from apis_dashboard.records import DealRecord, DealState
from apis_dashboard.views.deals import deal_state, deals_total

__all__ = ["Asked", "add_page", "asked_for", "deals_csv"]

STATES = {
    "any end": None,
    "completed": DealState.COMPLETED,
    "ended early": DealState.ABORTED,
    "emergency stop": DealState.SCRAMMED,
}
PARAMETERS = ("unit", "state", "days")  # of `/deals.csv`
MOST_DAYS = 36_500
PERIODS = {"today": 1, "7 days": 7, "30 days": 30, "all": 0}
SHOWN = 200
COLUMNS = (
    "deal_id",
    "state",
    "reason",
    "request_unit_id",
    "accept_unit_id",
    "discharge_unit_id",
    "charge_unit_id",
    "voltage_reference_id",
    "grid_master_id",
    "energy_wh",
    "moved_wh",
    "sent_wh",
    "received_wh",
    "current_a",
    "price_point_per_wh",
    "created_at",
    "started_at",
    "stopped_at",
    "ended_at",
)


def add_page(commands: OperatorCommands) -> None:
    """Serve it at ``/deals``, and the table at ``/deals.csv``."""
    site = commands.source.site

    @ui.page("/deals")
    def deals(request: Request) -> None:
        with page_frame(commands, request, "/deals", "Deals") as page:
            widgets.tag("h1", "Deals", "hidden")
            cards = widgets.DealCards()
            chosen = {"unit": "any unit", "state": "any end", "period": "today"}
            with ui.element("div").classes("apis-filter").props('role="search"'):
                for key, name, choices in (
                    ("unit", "Unit", ["any unit", *site.unit_ids]),
                    ("state", "How it ended", list(STATES)),
                    ("period", "When", list(PERIODS)),
                ):
                    ui.select(
                        choices,
                        value=chosen[key],
                        label=name,
                        on_change=lambda event, key=key: _choose(event.value, key),
                    ).props("outlined dense options-dense")
                link = ui.element("a").classes("apis-link").props("download")
                with link:
                    ui.label("Download as CSV")
            table = widgets.DealTable()

            def show(view: GridView) -> None:
                cards.show(
                    {
                        "deals": [
                            deal_state(deal, view.ros_time_s, site.zone) for deal in view.running
                        ]
                    }
                )
                found = commands.history.deals(
                    unit_id="" if chosen["unit"] == "any unit" else chosen["unit"],
                    state=STATES[chosen["state"]],
                    from_s=_first_s(commands, PERIODS[chosen["period"]], view.ros_time_s),
                    limit=SHOWN,
                )
                past = [deal for deal in found if deal.state.is_over]
                table.show(
                    {
                        "title": "Past deals",
                        "total": deals_total(past),
                        "deals": [deal_state(d, view.ros_time_s, site.zone) for d in past],
                    }
                )

            def _choose(value: str, key: str) -> None:
                chosen[key] = value
                show(commands.source.view())
                _point()

            root = widgets.root()

            def _point() -> None:
                unit = "" if chosen["unit"] == "any unit" else chosen["unit"]
                state = STATES[chosen["state"]]
                link.props(
                    f'href="{root}/deals.csv?unit={unit}&state={state.name if state else ""}'
                    f'&days={PERIODS[chosen["period"]]}"'
                )

            _point()
            page.keep(show)

    @app.get("/deals.csv")
    def table(request: Request) -> Response:
        try:
            asked = asked_for(request.query_params.multi_items(), site.unit_ids)
        except ValueError as error:
            return PlainTextResponse(f"{error}\n", 400)
        found = commands.history.deals(
            unit_id=asked.unit_id,
            state=asked.state,
            from_s=_first_s(commands, asked.days, commands.source.view().ros_time_s),
            limit=100_000,
        )
        return Response(
            deals_csv(found, commands),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="deals_{site.cluster}.csv"'},
        )


@dataclass(frozen=True)
class Asked:
    """Which deals somebody asks for; empty, None and 0 = all."""

    unit_id: str = ""
    state: DealState | None = None
    days: int = 0


def asked_for(parameters: Sequence[tuple[str, str]], unit_ids: Sequence[str]) -> Asked:
    """What the query of an address asks for.

    Args:
        parameters: Names and values, as they stand there.
        unit_ids: Of the grid.

    Raises:
        ValueError: With the parameter that is wrong, and what is right.
    """
    values: dict[str, str] = {}
    for name, value in parameters:
        if name not in PARAMETERS:
            raise ValueError(f"{name[:40]} is no parameter; there are {', '.join(PARAMETERS)}")
        if name in values:
            raise ValueError(f"{name} stands there twice; keep one")
        values[name] = value.strip()
    unit, state, days = (values.get(name, "") for name in PARAMETERS)
    if unit and unit.upper() not in unit_ids:
        raise _bad("unit", unit, f"one of {', '.join(unit_ids)}")
    states = [each.name for each in DealState if each is not DealState.UNKNOWN]
    if state and state.upper() not in states:
        raise _bad("state", state, f"one of {', '.join(states)}")
    if days and not (
        days.isascii() and days.isdecimal() and len(days) < 9 and int(days) <= MOST_DAYS
    ):
        raise _bad("days", days, f"a whole number from 0 (all) to {MOST_DAYS}")
    return Asked(unit.upper(), DealState[state.upper()] if state else None, int(days or 0))


def _bad(name: str, value: str, right: str) -> ValueError:
    return ValueError(f"{name} is {value[:40]}, it must be {right}")


def deals_csv(deals: list[DealRecord], commands: OperatorCommands) -> str:
    """All fields of some deals, times in ISO 8601 with the place's offset; unknown is empty."""
    zone = commands.source.site.zone
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for deal in deals:
        row = []
        for name in COLUMNS:
            value = getattr(deal, f"{name}_s") if name.endswith("_at") else getattr(deal, name)
            if name == "state":
                value = deal.state.name
            elif name.endswith("_at") and value:
                value = datetime.fromtimestamp(value, zone).isoformat(timespec="seconds")
            elif isinstance(value, float):
                value = round(value, 4)
            elif isinstance(value, str):
                value = formatting.harmless(value)
            row.append("" if value is None else value)
        writer.writerow(row)
    return out.getvalue()


def _first_s(commands: OperatorCommands, days: int, ros_time_s: float | None) -> float | None:
    """Midnight of the first of the last `days` days at the place; None = no limit. [s]"""
    if not days or ros_time_s is None:
        return None
    now = datetime.fromtimestamp(ros_time_s, commands.source.site.zone)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight - timedelta(days=days - 1)).timestamp()
