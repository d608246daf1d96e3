"""Deals: the running ones, the past ones with a filter, and all of them as CSV."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta

from fastapi import Request
from fastapi.responses import Response
from nicegui import app, ui

from apis_viz.dashboard import parts, text
from apis_viz.dashboard.desk import Desk
from apis_viz.dashboard.frame import page_frame
from apis_viz.dashboard.state import deal_state, deals_total
from apis_viz.model import GridView
from apis_viz.records import DealRecord, DealState

__all__ = ["add", "deals_csv"]

STATES = {
    "any end": None,
    "completed": DealState.COMPLETED,
    "ended early": DealState.ABORTED,
    "emergency stop": DealState.SCRAMMED,
}
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


def add(desk: Desk) -> None:
    """Serve it at ``/deals``, and the table at ``/deals.csv``."""
    site = desk.source.site

    @ui.page("/deals")
    def deals(request: Request) -> None:
        with page_frame(desk, request, "/deals", "Deals") as page:
            parts.tag("h1", "Deals", "hidden")
            cards = parts.DealCards()
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
            table = parts.DealTable()

            def show(view: GridView) -> None:
                cards.show(
                    {
                        "deals": [
                            deal_state(deal, view.ros_time_s, site.zone) for deal in view.running
                        ]
                    }
                )
                found = desk.history.deals(
                    unit_id="" if chosen["unit"] == "any unit" else chosen["unit"],
                    state=STATES[chosen["state"]],
                    from_s=_first_s(desk, PERIODS[chosen["period"]], view.ros_time_s),
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
                show(desk.source.view())
                _point()

            def _point() -> None:
                unit = "" if chosen["unit"] == "any unit" else chosen["unit"]
                state = STATES[chosen["state"]]
                link.props(
                    f'href="/deals.csv?unit={unit}&state={state.name if state else ""}'
                    f'&days={PERIODS[chosen["period"]]}"'
                )

            _point()
            page.keep(show)

    @app.get("/deals.csv")
    def table(unit: str = "", state: str = "", days: int = 0) -> Response:
        found = desk.history.deals(
            unit_id=unit if unit in site.unit_ids else "",
            state=DealState[state] if state in DealState.__members__ else None,
            from_s=_first_s(desk, days, desk.source.view().ros_time_s),
            limit=100_000,
        )
        return Response(
            deals_csv(found, desk),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="deals_{site.cluster}.csv"'},
        )


def deals_csv(deals: list[DealRecord], desk: Desk) -> str:
    """All fields of some deals, times in ISO 8601 with the place's offset; unknown is empty."""
    zone = desk.source.site.zone
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
                value = text.harmless(value)
            row.append("" if value is None else value)
        writer.writerow(row)
    return out.getvalue()


def _first_s(desk: Desk, days: int, ros_time_s: float | None) -> float | None:
    """Midnight of the first of the last `days` days at the place; None = no limit. [s]"""
    if not days or ros_time_s is None:
        return None
    now = datetime.fromtimestamp(ros_time_s, desk.source.site.zone)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight - timedelta(days=days - 1)).timestamp()
