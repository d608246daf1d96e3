"""Whether the counts of both units of a deal can be true together."""

from __future__ import annotations

import pytest
from deal_run import GIVER, TAKER, TIMING

from apis_core.converter.energy_limit import Sample
from apis_core.grid_master.deal.count_comparison import why_counts_differ
from apis_core.grid_master.deal.progress import DealProgress
from apis_core.model.messages import ControlReply, Deal
from apis_core.model.units import SECOND_NS

HEARD_NS = 100 * SECOND_NS


def progress(policy, sent_wh, received_wh, battery_wh):
    deal = Deal(
        deal_id="d",
        request_unit_id=TAKER,
        accept_unit_id=GIVER,
        discharge_unit_id=GIVER,
        charge_unit_id=TAKER,
        energy_wh=50.0,
        current_a=2.0,
        meter=policy.meter,
    )
    made = DealProgress(deal, policy, TIMING, 0)
    for side, grid_wh, own_wh in (
        (made.giver, sent_wh, sent_wh),
        (made.taker, received_wh, battery_wh),
    ):
        reply = ControlReply(grid_moved_wh=grid_wh, battery_moved_wh=own_wh)
        side.hear(Sample(reply, HEARD_NS, HEARD_NS))
    return made


@pytest.mark.parametrize(
    ("sent_wh", "received_wh", "battery_wh"),
    [
        (20.0, 19.6, 17.6),
        (2.0, 0.0, 0.0),  # asked a moment later
        (None, 20.0, 18.0),
        (20.0, None, None),
        (20.0, 19.6, None),
    ],
)
def test_what_meters_lines_and_converters_explain_is_no_fault(
    policy, sent_wh, received_wh, battery_wh
):
    assert why_counts_differ(progress(policy, sent_wh, received_wh, battery_wh)) == ""


@pytest.mark.parametrize(("sent_wh", "received_wh"), [(20.0, 10.0), (10.0, 20.0), (20.0, 0.0)])
def test_two_counts_that_differ_are_both_named(policy, sent_wh, received_wh):
    words = why_counts_differ(progress(policy, sent_wh, received_wh, 0.9 * received_wh))
    assert words.startswith(
        f"{GIVER} has counted {sent_wh:.2f} Wh sent, {TAKER} {received_wh:.2f} Wh received"
    )


@pytest.mark.parametrize("battery_wh", [5.0, 40.0])
def test_a_battery_s_count_that_no_loss_explains_is_named(policy, battery_wh):
    words = why_counts_differ(progress(policy, 20.0, 20.0, battery_wh))
    assert words.startswith(f"{TAKER} has counted 20.00 Wh at the bus and {battery_wh:.2f} Wh")
