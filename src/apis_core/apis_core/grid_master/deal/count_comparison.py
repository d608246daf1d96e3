"""Both units of a deal count its energy: whether the two counts can be true together.

What one sends and the other receives differs by the meters' errors and the loss of the lines; what
a unit counts at its battery differs from what it counts at the bus by the loss of its converter.
Whatever is beyond that, one of the meters lies.
"""

from __future__ import annotations

from apis_core.converter.energy_limit import Sample
from apis_core.grid_master.deal.progress import DealProgress
from apis_core.grid_master.deal.side import DealSide
from apis_core.model.types import Meter
from apis_core.model.units import wh_from_w

__all__ = ["why_counts_differ"]

_BUS_RATIO = 0.15  # errors of two meters and the loss of the lines, of what flows
_CONVERTER_RATIO = 0.3  # of what flows: more than any converter loses that carries a deal
_STANDBY_W = 50.0  # what a converter may take for itself, however little flows
_LEAST_RATIO = 0.02  # of the agreed energy: less says nothing
_LATE_POLLS = 2  # readings of two units may be so far apart in time


def why_counts_differ(progress: DealProgress) -> str:
    """Both figures, if they cannot be true together; empty = they can, or too little is known."""
    giver, taker = progress.giver, progress.taker
    sent, received = giver.sample, taker.sample
    if sent is None or received is None:
        return ""
    sent_wh, received_wh = sent.reply.grid_moved_wh, received.reply.grid_moved_wh
    if sent_wh is None or received_wh is None:
        return ""
    apart_ns = abs(sent.middle_ns - received.middle_ns) + sent.doubt_ns + received.doubt_ns
    in_doubt_wh = wh_from_w(progress.flow_w, apart_ns + _LATE_POLLS * progress.timing.poll_ns) + (
        _LEAST_RATIO * progress.deal.energy_wh
    )
    if abs(sent_wh - received_wh) > _BUS_RATIO * max(sent_wh, received_wh) + in_doubt_wh:
        return (
            f"{giver.unit_id} has counted {sent_wh:.2f} Wh sent, {taker.unit_id} "
            f"{received_wh:.2f} Wh received: more apart than meters and lines explain"
        )
    if progress.deal.meter is Meter.GRID:
        return ""
    meter = progress.meter
    return _why_battery_differs(progress, meter, received if meter is taker else sent, in_doubt_wh)


def _why_battery_differs(
    progress: DealProgress, side: DealSide, sample: Sample, in_doubt_wh: float
) -> str:
    bus_wh, battery_wh = sample.grid_wh, sample.reply.battery_moved_wh
    if battery_wh is None:
        return ""
    standby_wh = wh_from_w(_STANDBY_W, max(sample.heard_ns - progress.began_ns, 0))
    loss_wh = _CONVERTER_RATIO * max(bus_wh, battery_wh) + standby_wh
    if abs(bus_wh - battery_wh) <= loss_wh + in_doubt_wh:
        return ""
    return (
        f"{side.unit_id} has counted {bus_wh:.2f} Wh at the bus and {battery_wh:.2f} Wh at its "
        "battery: more apart than its converter can lose"
    )
