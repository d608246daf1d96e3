"""The energy limit of a deal: the count at which the current side stops itself.

What counts is the reference unit's meter, but what can stop in time is the converter that holds
the current. So its own counter at the bus terminal gets a limit, from the ratio of both meters.
The two are never read at the same moment: what a unit answers was so at some time between asking
and hearing. The energy that may have flowed in that doubt is left out, so the limit, refined with
every answer, ends early rather than late. Once both stand still there is no doubt, and a short
second run brings the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from apis_core.model.messages import ControlReply, ConverterReading, Deal
from apis_core.model.receipt import Receipt
from apis_core.model.types import Meter
from apis_core.model.units import wh_from_w

__all__ = [
    "OwnMeterLimit",
    "Sample",
    "first_limit_wh",
    "flowing_limit_wh",
    "is_comparable",
    "resting_limit_wh",
]

_COMPARABLE = 0.1  # of the agreed energy on both meters, before their ratio is trusted ...
_TELLING = 0.002  # of the agreed energy between two answers tells the ratio of the day
# A converter that carries a deal loses less than 15 %. A meter that says less was disturbed: what
# other deals start and stop runs through the reference, and it will not stay so. Of one that does
# lose more the limit is early, and with every answer less so.
_LEAST_RATIO = 0.85
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
    def flow_w(self) -> float:
        """The deal's part of what flows over the unit's bus terminal. [W, >= 0]"""
        total_w = abs(self.reading.grid_power_w or 0.0)
        total_a, share_a = self.reading.grid_current_setpoint_a, self.reply.deal_current_a
        if not total_a or not share_a:
            return total_w
        return total_w * min(share_a / total_a, 1.0)

    @property
    def middle_ns(self) -> int:
        """The best guess at when it was so."""
        return (self.asked_ns + self.heard_ns) // 2

    @property
    def doubt_ns(self) -> int:
        """How far that guess may be off."""
        return (self.heard_ns - self.asked_ns) // 2


@dataclass(slots=True)
class OwnMeterLimit:
    """Where a unit's own share ends that its own meter counts.

    Its loss depends on the load, and that changes with the other deals on the same converter; so
    the ratio of what flowed last is better than that of the whole deal.

    Attributes:
        energy_wh: Agreed. [Wh]
        meter: Which side of its converter counts.
    """

    energy_wh: float
    meter: Meter
    _mark: Receipt | None = None
    _ratio: float | None = None

    def limit_wh(self, receipt: Receipt) -> float | None:
        """The limit at the bus terminal, after what the deal has moved so far. [Wh]

        None = too little has moved to tell.
        """
        if receipt.grid_moved_wh < _COMPARABLE * self.energy_wh or self._metered_wh(receipt) <= 0:
            return None
        mark = self._mark
        if mark is None:
            self._mark = receipt
            self._ratio = self._metered_wh(receipt) / receipt.grid_moved_wh
        elif receipt.grid_moved_wh - mark.grid_moved_wh > _TELLING * self.energy_wh:
            newly_wh = self._metered_wh(receipt) - self._metered_wh(mark)
            self._ratio = newly_wh / (receipt.grid_moved_wh - mark.grid_moved_wh)
            self._mark = receipt
        if not self._ratio:
            return None
        return receipt.grid_moved_wh + (self.energy_wh - self._metered_wh(receipt)) / self._ratio

    def _metered_wh(self, receipt: Receipt) -> float:
        is_battery = self.meter is Meter.BATTERY
        return receipt.battery_moved_wh if is_battery else receipt.grid_moved_wh


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


def flowing_limit_wh(
    deal: Deal, own: Sample, meter: Sample, earlier: tuple[Sample, Sample] | None = None
) -> float:
    """The limit while energy flows, early by what may have flowed in the doubt. [Wh]

    Args:
        deal: With what is agreed.
        own: Newest answer of the unit that is to stop.
        meter: Newest answer of the metering unit.
        earlier: The answers before, of both; the ratio of late is better than that of the whole
            deal, because losses change with the other deals on the same converters.
    """
    flow_w = own.flow_w
    metered_wh, grid_wh = meter.metered_wh(deal.meter) or 0.0, own.grid_wh
    ratio = metered_wh / grid_wh
    doubt_ns = own.doubt_ns + meter.doubt_ns
    if earlier is not None:
        own_before, meter_before = earlier
        newly_wh = grid_wh - own_before.grid_wh
        metered_newly_wh = metered_wh - (meter_before.metered_wh(deal.meter) or 0.0)
        skew_ns = own.middle_ns - meter.middle_ns - own_before.middle_ns + meter_before.middle_ns
        metered_newly_wh += wh_from_w(flow_w * ratio, skew_ns)
        if newly_wh > _TELLING * deal.energy_wh and metered_newly_wh > 0.0:
            ratio = metered_newly_wh / newly_wh
            doubt_ns += own_before.doubt_ns + meter_before.doubt_ns
    metered_wh += wh_from_w(flow_w * ratio, own.middle_ns - meter.middle_ns)
    owed_wh = max(deal.energy_wh - metered_wh, 0.0)
    return grid_wh + max(owed_wh / max(ratio, _LEAST_RATIO) - wh_from_w(flow_w, doubt_ns), 0.0)
