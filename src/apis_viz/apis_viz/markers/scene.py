"""What stands in the picture: houses, batteries, lines, flows, deals, words. Pure.

East is x, north is y, up is z, in metres of the grid file. Houses are as large as their distances
allow. Colours are Okabe and Ito's, which colour-blind people can tell apart too; what a colour
says also stands in words or in a size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import hypot, isfinite

from visualization_msgs.msg import Marker

from apis_site.plan import GridPlan, Line
from apis_viz.markers import shapes
from apis_viz.markers.shapes import Colour, Point3

__all__ = ["BusLook", "DealLook", "HouseLook", "scene"]

GREY = Colour(0.55, 0.55, 0.58)
WALL = Colour(0.84, 0.82, 0.78)
ROOF = Colour(0.35, 0.33, 0.36)
SUNNY = Colour(0.94, 0.89, 0.26)
FILL = Colour(0.0, 0.62, 0.45)
LOW = Colour(0.84, 0.37, 0.0)
CASE = Colour(0.75, 0.78, 0.82, 0.25)
FLOW = Colour(0.0, 0.45, 0.70)
DEAL = Colour(0.80, 0.47, 0.65)
WORDS = Colour(1.0, 1.0, 1.0)
IDLE, HALF, FULL = Colour(0.45, 0.50, 0.55), Colour(0.90, 0.62, 0.0), Colour(0.84, 0.15, 0.0)

LOW_SOC_RATIO = 0.2
FLOWS_FROM_A = 0.05  # less is a meter's noise
FULL_ARROW_A = 10.0  # where nothing says what a line may carry


@dataclass(frozen=True)
class HouseLook:
    """One house. None = not known. Positive flows from the bus into the unit."""

    unit_id: str
    is_present: bool = False
    soc_ratio: float | None = None
    current_a: float | None = None
    voltage_v: float | None = None
    solar_w: float | None = None
    solar_peak_w: float | None = None
    holds_reference: bool = False
    is_grid_master: bool = False
    mode: str = ""
    remark: str = ""


@dataclass(frozen=True)
class DealLook:
    """A deal that is under way."""

    deal_id: str
    discharge_unit_id: str
    charge_unit_id: str
    current_a: float
    energy_wh: float
    moved_wh: float
    is_flowing: bool


@dataclass(frozen=True)
class BusLook:
    """What is said of the bus as a whole."""

    title: str
    voltage_v: float | None = None
    transported_w: float | None = None
    loss_w: float | None = None


def scene(
    plan: GridPlan,
    houses: Mapping[str, HouseLook],
    deals: Sequence[DealLook],
    bus: BusLook,
    *,
    bus_limit_a: float | None = None,
) -> list[Marker]:
    """All markers of this moment; header and lifetime are the caller's.

    Args:
        plan: Where the houses stand, and how the bus runs.
        houses: By unit id; one that is missing has not been heard of.
        deals: Under way.
        bus: For the title.
        bus_limit_a: What a line may carry if the plan does not say; None = not known. [A]
    """
    at = {place.unit_id: Point3(place.east_m, place.north_m, 0.0) for place in plan.places}
    size = _house_size_m(plan, at)
    markers: list[Marker] = []
    for place in plan.places:
        look = houses.get(place.unit_id, HouseLook(place.unit_id))
        markers += _house(look, at[place.unit_id], size)
    currents_a = {look.unit_id: look.current_a for look in houses.values() if look.is_present}
    for line in plan.lines:
        limit_a = line.capacity_a or bus_limit_a
        markers += _line(line, at, size, line.net(currents_a), limit_a)
    for rank, deal in enumerate(deals):
        if deal.discharge_unit_id in at and deal.charge_unit_id in at:
            markers += _deal(deal, at, size, rank)
    if at:
        markers.append(_title(bus, at.values(), size))
    return markers


def _house_size_m(plan: GridPlan, at: Mapping[str, Point3]) -> float:
    """Width of a house: a quarter of the way to the nearest neighbour. [m]"""
    far = [
        hypot(at[line.from_id].x - at[line.to_id].x, at[line.from_id].y - at[line.to_id].y)
        for line in plan.lines
    ]
    return max(min((m for m in far if m > 0.0), default=20.0) / 4.0, 0.5)


def _house(look: HouseLook, at: Point3, size: float) -> list[Marker]:
    alpha = 1.0 if look.is_present else 0.25
    wall_m, name = 0.55 * size, look.unit_id
    sun = (look.solar_w or 0.0) / (look.solar_peak_w or 4000.0)
    roof = ROOF.mixed(SUNNY, min(max(sun, 0.0), 1.0)) if look.is_present else GREY
    case = at.moved(x=0.75 * size)
    markers = [
        shapes.box("house", name, at, (size, size, wall_m), WALL.faded(alpha)),
        shapes.roof("roof", name, at.moved(z=wall_m), size, 0.4 * size, roof.faded(alpha)),
        shapes.box("battery", name, case, (0.28 * size, 0.28 * size, size), CASE),
        shapes.text("words", name, at.moved(z=1.7 * size), 0.28 * size, _words(look), WORDS),
    ]
    if look.soc_ratio is not None and isfinite(look.soc_ratio):
        ratio = min(max(look.soc_ratio, 0.01), 1.0)
        colour = LOW if ratio < LOW_SOC_RATIO else FILL
        filled = (0.24 * size, 0.24 * size, ratio * size)
        markers.append(shapes.box("fill", name, case, filled, colour.faded(alpha)))
    return markers


def _words(look: HouseLook) -> str:
    soc = "" if look.soc_ratio is None else f"  {look.soc_ratio:.0%}"
    lines = [f"{look.unit_id}{soc}"]
    if not look.is_present:
        return "\n".join([*lines, "silent"])
    electrical = [
        f"{value:+.2f} A" if unit == "A" else f"{value:.1f} V"
        for value, unit in ((look.current_a, "A"), (look.voltage_v, "V"))
        if value is not None
    ]
    roles = [
        role
        for role, has in (
            ("grid master", look.is_grid_master),
            ("holds the voltage", look.holds_reference),
        )
        if has
    ]
    lines += ["  ".join(electrical), ", ".join(roles), look.mode, look.remark]
    return "\n".join(line for line in lines if line)


def _line(
    line: Line, at: Mapping[str, Point3], size: float, net_a: float | None, limit_a: float | None
) -> list[Marker]:
    start, end = at[line.from_id].moved(z=0.08 * size), at[line.to_id].moved(z=0.08 * size)
    flow_a = net_a or 0.0
    loading = min(abs(flow_a) / (limit_a or FULL_ARROW_A), 1.0)
    colour = GREY.faded(0.5) if net_a is None else _loading_colour(loading)
    markers = [shapes.strip("line", line.id, (start, end), 0.10 * size, colour)]
    if abs(flow_a) >= FLOWS_FROM_A:
        tail, head = (start, end) if flow_a > 0.0 else (end, start)
        a, b = tail.towards(head, 0.36).moved(z=0.1 * size), tail.towards(head, 0.68)
        width_m = size * (0.10 + 0.30 * loading)
        markers.append(shapes.arrow("flow", line.id, a, b.moved(z=0.1 * size), width_m, FLOW))
        of_limit = f"\n{loading:.0%} of {limit_a:g} A" if limit_a else ""
        words = f"{abs(flow_a):.2f} A{of_limit}"
        place = start.towards(end, 0.5).moved(x=0.8 * size, y=-0.3 * size, z=0.3 * size)
        markers.append(shapes.text("flow words", line.id, place, 0.24 * size, words, WORDS))
    return markers


def _loading_colour(loading: float) -> Colour:
    """Grey when idle, orange at half, red when full."""
    if loading < 0.5:
        return IDLE.mixed(HALF, 2.0 * loading)
    return HALF.mixed(FULL, 2.0 * loading - 1.0)


def _deal(deal: DealLook, at: Mapping[str, Point3], size: float, rank: int) -> list[Marker]:
    """An arc over the houses, from the one that gives to the one that takes."""
    start = at[deal.discharge_unit_id].moved(z=size)
    end = at[deal.charge_unit_id].moved(z=size)
    height_m = size * (3.0 + 0.5 * rank)
    points = []
    for step in range(25):
        t = step / 24.0
        points.append(start.towards(end, t).moved(z=4.0 * height_m * t * (1.0 - t)))
    colour = DEAL if deal.is_flowing else DEAL.faded(0.45)
    done = min(max(deal.moved_wh / deal.energy_wh, 0.0), 1.0) if deal.energy_wh > 0.0 else 0.0
    words = (
        f"{deal.discharge_unit_id} → {deal.charge_unit_id}  {deal.current_a:g} A\n"
        f"{deal.moved_wh:.0f} of {deal.energy_wh:.0f} Wh"
    )
    top = points[12].moved(z=0.7 * size)
    return [
        shapes.strip("deal", deal.deal_id, points, 0.05 * size, colour),
        shapes.strip(
            "deal done", deal.deal_id, points[: 1 + max(1, round(24 * done))], 0.11 * size, colour
        ),
        shapes.arrow("deal end", deal.deal_id, points[-3], points[-1], 0.16 * size, colour),
        shapes.text("deal words", deal.deal_id, top, 0.28 * size, words, WORDS),
    ]


def _title(bus: BusLook, places: Iterable[Point3], size: float) -> Marker:
    places = list(places)
    middle_m = (min(p.x for p in places) + max(p.x for p in places)) / 2.0
    north_m = max(p.y for p in places)
    facts = [
        f"{value:.{digits}f} {unit}"
        for value, digits, unit in (
            (bus.voltage_v, 1, "V"),
            (bus.transported_w, 0, "W over the bus"),
            (bus.loss_w, 0, "W lost in the lines"),
        )
        if value is not None
    ]
    words = "\n".join(part for part in (bus.title, ", ".join(facts)) if part)
    place = Point3(middle_m, north_m + 1.5 * size, 4.4 * size)
    return shapes.text("title", "bus", place, 0.34 * size, words, WORDS)
