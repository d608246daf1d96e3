"""From what a watt-hour is worth to what a unit asks for and gives: the section of the value rule.

The section has the form of any scenario's. Its bands are the ranges of energy in which the unit
would say the same, its prices are what a watt-hour at the meter of a deal must cost at most, or
bring at least, so that the unit gains by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, pairwise

from apis_core.config.policy import Policy
from apis_core.config.scenario import Band, Rule, Rules, Section
from apis_core.config.value_rule import ValueRule
from apis_core.model.types import Direction, Meter, SelectionStrategy
from apis_core.model.units import DAY_S
from apis_core.trading.energy_worth import CELLS, EnergyWorth

__all__ = ["Transfer", "transfer", "value_section"]

_LEAST_GAIN = 0.1  # of what a watt-hour may be worth: less is not worth a deal
_EQUAL = 1e-9


@dataclass(frozen=True, slots=True)
class Transfer:
    """What becomes of energy on its way from one battery to another.

    Attributes:
        given_ratio: What leaves the giver's battery for each watt-hour at the meter, > 0.
        taken_ratio: What the taker's battery keeps of it, > 0.
    """

    given_ratio: float
    taken_ratio: float


def transfer(rule: ValueRule, policy: Policy, current_a: float) -> Transfer:
    """What a deal loses, by the loss curves of two converters like the unit's own.

    Args:
        rule: With the curves.
        policy: Says whose meter counts, and on which side of the converter.
        current_a: Of the deal, > 0. [A]
    """
    power_w = policy.grid_voltage_v * current_a
    lost_w = (
        rule.converter_loss_w
        + rule.converter_loss_ratio * power_w
        + rule.converter_loss_per_w * power_w * power_w
    )
    line_w = rule.line_loss_ratio * power_w
    given_w = (power_w + line_w + lost_w) / rule.battery_efficiency_ratio
    arrives_w = max(power_w - lost_w, _EQUAL)
    taken_w = arrives_w * rule.battery_efficiency_ratio
    takers_meter = policy.metering_side is Direction.CHARGE
    if policy.meter is Meter.BATTERY:
        metered_w = arrives_w if takers_meter else power_w + line_w + lost_w
    else:
        metered_w = power_w if takers_meter else power_w + line_w
    return Transfer(given_w / metered_w, taken_w / metered_w)


def value_section(
    worth: EnergyWorth, way: Transfer, policy: Policy, from_s: int = 0, to_s: int = DAY_S
) -> Section:
    """The bands and prices that follow from a worth.

    A watt-hour is asked for at what it is worth once it is there, and given at what it was worth
    before: the next cell of energy decides, not the one in which the battery is.

    Args:
        worth: Of a watt-hour, by energy.
        way: What a deal loses.
        policy: Bounds the states of charge between which deals charge and discharge.
        from_s: Begin of the section. [s after midnight]
        to_s: Its end. [s after midnight]
    """
    runs = _runs(worth.cells)
    least_gain = _LEAST_GAIN * worth.most
    first_giving = _first_cell(policy.discharge_soc_min_ratio)
    end_of_taking = int(policy.charge_soc_max_ratio * CELLS + _EQUAL)

    def charge(cell: int) -> Rule | None:
        price = worth.cells[min(cell + 1, CELLS - 1)] * way.taken_ratio
        if cell + 1 >= end_of_taking or price <= least_gain:
            return None
        end = min(runs[cell + 1].stop, end_of_taking)
        return Rule(end * worth.cell_wh, round(price, 3))

    def discharge(cell: int) -> Rule | None:
        if cell <= first_giving:
            return None
        price = worth.cells[cell - 1] * way.given_ratio + least_gain
        if price >= worth.most:
            return None
        return Rule(max(runs[cell - 1].start, first_giving) * worth.cell_wh, round(price, 3))

    bands: list[Band] = []
    accept: dict[str, Rules] = {}
    request: dict[str, Rules] = {}
    for begin, end in pairwise([*_begins(runs, first_giving, end_of_taking), CELLS]):
        low_wh, high_wh = begin * worth.cell_wh, end * worth.cell_wh
        band = Band(
            f"{low_wh:.0f}-{high_wh:.0f} Wh, worth {_worth_words(worth, begin, end)}",
            low_wh if begin else None,
            high_wh if end < CELLS else None,
        )
        bands.append(band)
        accept[band.name] = rules = Rules(charge(begin), discharge(begin))
        request[band.name] = _asked(rules, worth)
    return Section(from_s, to_s, tuple(bands), request, accept, SelectionStrategy.VALUE)


def _worth_words(worth: EnergyWorth, begin: int, end: int) -> str:
    most, least = worth.cells[begin], worth.cells[end - 1]
    return f"{most:.2f}" if most - least < _EQUAL else f"{most:.2f} to {least:.2f}"


def _asked(rules: Rules, worth: EnergyWorth) -> Rules:
    """A unit to which a watt-hour is worth much asks for some, another one offers some."""
    price = rules.charge.price_point_per_wh if rules.charge is not None else None
    is_needy = price is not None and price >= 0.5 * worth.most
    return Rules(charge=rules.charge) if is_needy else Rules(discharge=rules.discharge)


def _runs(cells: tuple[float, ...]) -> list[range]:
    """For each cell, the cells around it with the same worth."""
    runs: list[range] = []
    for _, group in groupby(cells):
        run = range(len(runs), len(runs) + len(list(group)))
        runs += [run] * len(run)
    return runs


def _begins(runs: list[range], first_giving: int, end_of_taking: int) -> list[int]:
    """Where a unit begins to say something else: where a worth begins just above or just below."""
    starts = [run.start for run in dict.fromkeys(runs)]
    edges = {0, first_giving + 1, end_of_taking - 1}
    edges |= {start + beside for start in starts[1:] for beside in (-1, 1)}
    return sorted(edge for edge in edges if 0 <= edge < CELLS)


def _first_cell(ratio: float) -> int:
    """The first cell that lies above a state of charge."""
    return int(-(-(ratio * CELLS - _EQUAL) // 1))
