"""Charts of the past, drawn by ECharts as SVG: its texts and axes take the page's colours from the
style sheet, light or dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timezone, tzinfo
from typing import Any

from apis_dashboard.history import Energy, Series
from apis_dashboard.records import DealRecord

__all__ = ["COLOURS", "day_bars", "price_chart", "time_chart"]

# After Okabe and Ito; the dashed line is for those who see no colour at all.
COLOURS = {
    "battery": "#009e73",
    "sun": "#e69f00",
    "load": "#8a5fbf",
    "mains": "#c04d00",
    "bus": "#0072b2",
    "voltage": "#0072b2",
}
ASKS_AGAIN_S = 3600.0  # a unit that has not named a price for longer has none
GAP = 3.0  # times the usual distance: the line breaks


def time_chart(
    series: Series,
    lines: Sequence[tuple[str, str, str, float]],
    *,
    zone: tzinfo,
    span: tuple[float, float],
    lowest: float | None = None,
    highest: float | None = None,
) -> dict[str, Any]:
    """Lines over time.

    Args:
        series: From the history.
        lines: Name for people, quantity, key of :data:`COLOURS`, factor.
        zone: Of the place.
        span: First and last instant of the axis. [s]
        lowest: Of the axis; None = as the values ask.
        highest: The same.
    """
    options = _options(zone, span)
    if len(lines) > 1:
        options["legend"]["show"] = True
        options["grid"]["top"] = 30
    options["yAxis"] |= {"min": lowest, "max": highest, "scale": lowest is None}
    for number, (name, quantity, colour, factor) in enumerate(lines):
        options["series"].append(
            {
                "name": name,
                "type": "line",
                "showSymbol": False,
                "data": _points(series, quantity, factor, zone),
                "lineStyle": {"width": 2, "type": ("solid", "dashed", "dotted")[number % 3]},
                "color": COLOURS[colour],
                "areaStyle": {"opacity": 0.12} if len(lines) == 1 else None,
            }
        )
    return options


def price_chart(
    series: Series, deals: Sequence[DealRecord], *, zone: tzinfo, span: tuple[float, float]
) -> dict[str, Any]:
    """What a unit asked, what it offered, and at what price it dealt, over time."""
    options = _options(zone, span)
    options["yAxis"] |= {"min": 0}
    options["legend"]["show"] = True
    options["grid"]["top"] = 30
    for name, quantity, colour, dash in (
        ("asked, to give", "asked_pt", "sun", "solid"),
        ("offered, to take", "offered_pt", "bus", "dashed"),
    ):
        known = [
            (t, value)
            for t, value in zip(series.t, series.values[quantity], strict=True)
            if value is not None
        ]
        options["series"].append(
            {
                "name": name,
                "type": "line",
                "step": "end",
                "symbol": "circle",
                "symbolSize": 3,
                "data": _broken(known, ASKS_AGAIN_S, zone),
                "lineStyle": {"width": 2, "type": dash},
                "color": COLOURS[colour],
            }
        )
    options["series"].append(
        {
            "name": "dealt",
            "type": "scatter",
            "symbolSize": 10,
            "z": 5,
            "itemStyle": {"opacity": 1},
            "color": COLOURS["battery"],
            "data": [
                [_local_ms(deal.created_at_s, zone), deal.price_point_per_wh]
                for deal in deals
                if deal.created_at_s and deal.price_point_per_wh is not None
            ],
        }
    )
    return options


def day_bars(days: dict[date, Energy]) -> dict[str, Any]:
    """Where each day's energy came from and went, in kWh."""
    quantities = (
        ("Sun", "solar_wh", "sun"),
        ("Load", "load_wh", "load"),
        ("Mains", "mains_wh", "mains"),
        ("Over the bus", "charged_wh", "bus"),
    )
    return {
        "animation": False,
        "grid": {"left": 48, "right": 12, "top": 34, "bottom": 26},
        "legend": {"top": 0, "left": 0, "itemWidth": 14, "itemHeight": 10},
        "tooltip": {"trigger": "axis", "confine": True},
        "xAxis": {
            "type": "category",
            "data": [f"{day:%d %b}" for day in days],
            "axisTick": {"show": False},
        },
        "yAxis": {"type": "value"},
        "series": [
            {
                "name": name,
                "type": "bar",
                "barMaxWidth": 18,
                "color": COLOURS[colour],
                "data": [round(getattr(energy, field) / 1000.0, 2) for energy in days.values()],
            }
            for name, field, colour in quantities
        ],
    }


def _options(zone: tzinfo, span: tuple[float, float]) -> dict[str, Any]:
    return {
        "animation": False,
        "useUTC": True,
        "grid": {"left": 52, "right": 14, "top": 12, "bottom": 24},
        "legend": {"show": False, "top": 0, "left": 0, "itemWidth": 22, "itemHeight": 8},
        "tooltip": {"trigger": "axis", "confine": True},
        "xAxis": {
            "type": "time",
            "min": _local_ms(span[0], zone),
            "max": _local_ms(span[1], zone),
            "splitNumber": 6,
        },
        "yAxis": {"type": "value"},
        "series": [],
    }


def _points(
    series: Series, quantity: str, factor: float, zone: tzinfo
) -> list[list[float | None]]:
    """The values, with a break where nothing was heard."""
    points: list[list[float | None]] = []
    steps = sorted(b - a for a, b in zip(series.t, series.t[1:], strict=False))
    usual_s = steps[len(steps) // 2] if steps else 0.0
    last_s: float | None = None
    for t, value in zip(series.t, series.values[quantity], strict=True):
        if last_s is not None and t - last_s > GAP * usual_s:
            points.append([_local_ms(last_s + usual_s, zone), None])
        points.append([_local_ms(t, zone), None if value is None else round(value * factor, 2)])
        last_s = t
    return points


def _broken(
    known: Sequence[tuple[float, float]], longest_s: float, zone: tzinfo
) -> list[list[float | None]]:
    """Points with a break where the next one is too far."""
    points: list[list[float | None]] = []
    last_s: float | None = None
    for t, value in known:
        if last_s is not None and t - last_s > longest_s:
            points.append([_local_ms(last_s + 1.0, zone), None])
        points.append([_local_ms(t, zone), round(value, 3)])
        last_s = t
    return points


def _local_ms(t: float, zone: tzinfo) -> float:
    """An instant as the chart wants it: milliseconds, as if the place's clock were UTC."""
    local = datetime.fromtimestamp(t, zone).replace(tzinfo=timezone.utc)
    return local.timestamp() * 1000.0
