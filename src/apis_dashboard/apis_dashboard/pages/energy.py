"""Energy of a day, a week, a month: where it came from, how much of it was one's own."""

from __future__ import annotations

from datetime import datetime

from fastapi import Request
from nicegui import ui

from apis_dashboard import charts, formatting, widgets
from apis_dashboard.history import Energy, days_back
from apis_dashboard.operator_commands import OperatorCommands
from apis_dashboard.page_layout import page_frame
from apis_dashboard.views.energy import energy_tiles

__all__ = ["add_page"]

PERIODS = {"Today": 1, "7 days": 7, "30 days": 30}
REFRESH_S = 3.0


def add_page(commands: OperatorCommands) -> None:
    """Serve it at ``/energy``."""
    zone = commands.source.site.zone

    @ui.page("/energy")
    def energy(request: Request) -> None:
        with page_frame(commands, request, "/energy", "Energy"):
            widgets.tag("h1", "Energy", "hidden")
            chosen = {"period": "Today"}
            with ui.element("div").classes("apis-filter"):
                toggle = (
                    ui.toggle(list(PERIODS), value="Today")
                    .props(
                        "no-caps unelevated toggle-color=chosen toggle-text-color=chosen "
                        'aria-label="Period"'
                    )
                    .classes("apis-toggle")
                )
            tiles = widgets.Tiles()
            with widgets.card("By day [kWh]", "apis-charts"):
                chart = ui.echart({"series": []}, renderer="svg").classes("apis-chart")
            table = widgets.EnergyTable()

            def show() -> None:
                now_s = commands.source.view().ros_time_s
                if now_s is None:
                    tiles.show(energy_tiles(Energy()))
                    table.show({"rows": []})
                    return
                today = datetime.fromtimestamp(now_s, zone).date()
                days = days_back(today, PERIODS[chosen["period"]])
                by_unit = commands.history.energy(days[0], days[-1])
                whole = Energy()
                for part in by_unit.values():
                    whole.add(part)
                tiles.show(energy_tiles(whole))
                table.show({"rows": [_row(unit_id, part) for unit_id, part in by_unit.items()]})
                shown = days_back(today, max(PERIODS[chosen["period"]], 7))
                known = commands.history.energy_by_day(shown[0], shown[-1])
                options = charts.day_bars({day: known.get(day, Energy()) for day in shown})
                if options != dict(chart.options):
                    chart.options.clear()
                    chart.options.update(options)
                    chart.update()

            def choose(value: str) -> None:
                chosen["period"] = value
                show()

            toggle.on_value_change(lambda event: choose(event.value))
            show()
            ui.timer(REFRESH_S, show)


def _row(unit_id: str, energy: Energy) -> dict[str, str]:
    return {
        "id": unit_id,
        "sun": formatting.energy(energy.solar_wh),
        "load": formatting.energy(energy.load_wh),
        "mains": formatting.energy(energy.mains_wh),
        "received": formatting.energy(energy.charged_wh),
        "given": formatting.energy(energy.discharged_wh),
        "own": formatting.percent(energy.own_sun_ratio),
        "with": formatting.percent(energy.self_sufficiency_ratio),
        "without": formatting.percent(energy.alone_ratio),
        "earned": formatting.amount(energy.earned_pt, "pt"),
        "paid": formatting.amount(energy.paid_pt, "pt"),
    }
