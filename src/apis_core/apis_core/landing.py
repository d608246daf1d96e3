"""Landing on the agreed energy: where the current side's own counter is to stop it.

What counts is the reference unit's meter, but what can stop in time is the converter that holds
the current. So its own counter at the bus terminal gets a limit, from the ratio of both meters.
The two are never read at the same moment: what a unit answers was so at some time between asking
and hearing. The energy that may have flowed in that doubt is left out, so the limit, refined with
every answer, ends early rather than late. Once both stand still there is no doubt, and a short
second run brings the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from apis_core.messages import ControlReply, ConverterReading, Deal
from apis_core.types import Meter
from apis_core.units import wh_from_w

__all__ = ["Sample", "first_limit_wh", "flowing_limit_wh", "is_comparable", "resting_limit_wh"]

_COMPARABLE = 0.1  # of the agreed energy on both meters, before their ratio is trusted ...
_CAP_RATIO = 1.25  # ... until then the current side may give this many times what is owed ...
_CAP_RATIO_BATTERY = 2.0  # ... or this many, where the converter's loss comes on top


@dataclass(frozen=True, slots=True)
class Sample:
    """The newest answer of a unit, with when it was asked for and when it was heard. [ns]"""

    reply: ControlReply
    asked_ns: int
    heard_ns: int

    @property
    def reading(self) -> ConverterReading:
        """The converter's reading in it."""
        return self.reply.reading

    @property
    def grid_wh(self) -> float:
        """What the unit has moved over its bus terminal for the deal. [Wh]"""
        return self.reply.grid_moved_wh or 0.0

    def metered_wh(self, meter: Meter) -> float | None:
        """What it has moved on the side that counts; None = no account yet. [Wh]"""
        is_battery = meter is Meter.BATTERY
        return self.reply.battery_moved_wh if is_battery else self.reply.grid_moved_wh

    @property
    def middle_ns(self) -> int:
        """The best guess at when it was so."""
        return (self.asked_ns + self.heard_ns) // 2

    @property
    def doubt_ns(self) -> int:
        """How far that guess may be off."""
        return (self.heard_ns - self.asked_ns) // 2


def is_comparable(deal: Deal, own: Sample, meter: Sample) -> bool:
    """Whether enough has moved on both meters for their ratio to be trusted."""
    least_wh = _COMPARABLE * deal.energy_wh
    return min(own.grid_wh, meter.metered_wh(deal.meter) or 0.0) >= least_wh


def first_limit_wh(deal: Deal, own_wh: float) -> float:
    """A generous limit for as long as nothing better is known. [Wh]"""
    ratio = _CAP_RATIO if deal.meter is Meter.GRID else _CAP_RATIO_BATTERY
    return own_wh + max(deal.energy_wh - deal.moved_wh, 0.0) * ratio


def resting_limit_wh(deal: Deal, own: Sample, meter: Sample) -> float:
    """The limit for a further run, from meters that stand still or are one and the same. [Wh]"""
    metered_wh = meter.metered_wh(deal.meter) or 0.0
    return own.grid_wh + (deal.energy_wh - metered_wh) * own.grid_wh / metered_wh


def flowing_limit_wh(deal: Deal, own: Sample, meter: Sample) -> float:
    """The limit while energy flows, early by what may have flowed in the doubt. [Wh]"""
    metered_wh = meter.metered_wh(deal.meter) or 0.0
    flow_w = abs(own.reading.grid_power_w or 0.0)
    metered_w = flow_w * metered_wh / own.grid_wh
    metered_wh += wh_from_w(metered_w, own.middle_ns - meter.middle_ns)
    owed_wh = max(deal.energy_wh - metered_wh, 0.0)
    doubt_wh = wh_from_w(flow_w, own.doubt_ns + meter.doubt_ns)
    return own.grid_wh + max(owed_wh * own.grid_wh / metered_wh - doubt_wh, 0.0)
