"""What a watt-hour in a unit's battery is worth to it, by the energy in the battery.

One more watt-hour waits in the battery until the battery is empty or full, whichever comes first.
If it is empty first, the watt-hour saves the mains (or an hour in the dark); if it is full first,
a watt-hour of sun is curtailed for it. So each way in which the next days may go has one energy
below which a watt-hour is worth what it saves, and above which it is worth nothing. The mean over
all ways falls from the one to the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apis_core.config.value_rule import ValueRule
from apis_core.trading.energy_history import DAY_H, DayAhead

__all__ = ["CELLS", "EnergyWorth", "energy_worth", "turning_energy_wh"]

CELLS = 40  # of equal size; the worth is one number in each
_LATER_DAYS = 2  # that a forecast goes on with the mean day, after the day ahead


@dataclass(frozen=True, slots=True)
class EnergyWorth:
    """The worth of a watt-hour at the battery's terminals.

    Attributes:
        cell_wh: Size of a cell of energy. [Wh]
        cells: Worth in each of them, from the empty battery to the full one; it never rises.
            [point/Wh]
        most: What it is worth to a unit that cannot do without. [point/Wh]
    """

    cell_wh: float
    cells: tuple[float, ...]
    most: float

    def at(self, energy_wh: float) -> float:
        """The worth at an energy. [point/Wh]"""
        return self.cells[min(max(int(energy_wh / self.cell_wh), 0), CELLS - 1)]


def energy_worth(rule: ValueRule, capacity_wh: float, days: Sequence[DayAhead]) -> EnergyWorth:
    """Reckon what a watt-hour is worth.

    Args:
        rule: What the unit knows of its house.
        capacity_wh: Of its battery, > 0. [Wh]
        days: The ways in which the next 24 hours may go; none = nothing is known of them.
    """
    empty_wh, full_wh = rule.carries_above_ratio * capacity_wh, rule.full_ratio * capacity_wh
    price = rule.mains_point_per_wh if rule.has_mains else rule.dark_point_per_wh
    most = price * rule.battery_efficiency_ratio
    cell_wh = capacity_wh / CELLS
    if not days:
        saves = most * _saved_ratio(rule, rule.inverter_loss_w + rule.controls_w)
        span_wh = max(full_wh - empty_wh, 1e-9)
        left = [(full_wh - (cell + 0.5) * cell_wh) / span_wh for cell in range(CELLS)]
        return EnergyWorth(cell_wh, tuple(saves * min(max(x, 0.0), 1.0) for x in left), saves)
    nets = [_net_wh(rule, day) for day in days]
    count = len(nets)
    mean_wh = [sum(hour) / count for hour in zip(*nets, strict=True)]
    later_wh = mean_wh * _LATER_DAYS
    mean_load_w = sum(sum(day.load_wh) for day in days) / (count * DAY_H)
    load_now_w = sum(day.load_wh[0] for day in days) / count
    saves = most * _saved_ratio(rule, mean_load_w)
    saves_now = most * _saved_ratio(rule, load_now_w)
    turns_wh = [turning_energy_wh(net, later_wh, empty_wh, full_wh) for net in nets]
    whole, part = [0] * (CELLS + 1), [0.0] * CELLS  # of the ways that turn in a cell
    for turn_wh in turns_wh:
        cell = min(int(turn_wh / cell_wh), CELLS)
        whole[cell] += 1
        if cell < CELLS:
            part[cell] += turn_wh / cell_wh - cell
    first = int((empty_wh + 1e-6) / cell_wh)  # in which the battery carries the load
    below = whole[CELLS]  # ways that turn above the cell
    worths = []
    for cell in range(CELLS - 1, first - 1, -1):
        worths.append(saves * (below + part[cell]) / count)
        below += whole[cell]
    worths += [saves_now] * (CELLS - len(worths))
    return EnergyWorth(cell_wh, tuple(reversed(worths)), max(saves, saves_now))


def turning_energy_wh(
    net_wh: Sequence[float], later_wh: Sequence[float], empty_wh: float, full_wh: float
) -> float:
    """The energy below which the battery is empty before it is full, and above which full first.

    Args:
        net_wh: What each hour brings the battery, as long as it is neither. [Wh]
        later_wh: The same for the hours behind. [Wh]
        empty_wh: Where it no longer carries the load. [Wh]
        full_wh: Where it can take no more. [Wh]
    """
    level_wh = lowest_wh = highest_wh = 0.0
    turn_wh = empty_wh
    for hours in (net_wh, later_wh):
        for wh in hours:
            level_wh += wh
            if level_wh < lowest_wh:
                lowest_wh = level_wh
            elif level_wh > highest_wh:
                highest_wh = level_wh
            else:
                continue
            empty_first_wh, full_first_wh = empty_wh - lowest_wh, full_wh - highest_wh
            if empty_first_wh >= full_first_wh:
                return max(turn_wh, min(empty_first_wh, full_first_wh))
            turn_wh = empty_first_wh
    # between the two it stays for days: in the end it goes where it drifts
    return full_wh - highest_wh if level_wh < 0.0 else turn_wh


def _net_wh(rule: ValueRule, day: DayAhead) -> list[float]:
    fixed_w, factor = rule.controls_w + rule.inverter_loss_w, 1.0 + rule.inverter_loss_ratio
    return [
        solar_wh - factor * load_wh - fixed_w
        for solar_wh, load_wh in zip(day.solar_wh, day.load_wh, strict=True)
    ]


def _saved_ratio(rule: ValueRule, load_w: float) -> float:
    """What the mains, or the dark, would have cost for a watt-hour from the battery."""
    drawn_w = (1.0 + rule.inverter_loss_ratio) * load_w + rule.inverter_loss_w
    if not rule.has_mains:
        return load_w / drawn_w if drawn_w > 0.0 else 1.0
    bought_w = (1.0 + rule.bypass_loss_ratio) * load_w + rule.bypass_loss_w
    return bought_w / drawn_w if drawn_w > 0.0 else 1.0
