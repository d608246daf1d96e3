"""What a report says of a deal: its phases, and both sides' receipts."""

from __future__ import annotations

from datetime import timezone

import pytest

pytest.importorskip("rclpy")

from builtin_interfaces.msg import Time

from apis_bringup.observer import Step
from apis_bringup.records import phase_records, receipt_records
from apis_core.model.receipt import Receipt
from apis_interfaces.msg import Deal

pytestmark = pytest.mark.ros
DEAL = Deal(deal_id="d", discharge_unit_id="E001", charge_unit_id="E002")


def step(state, sec, *, term=1, master="E001"):
    return Step(state, term, master, Time(sec=sec, nanosec=500_000_000))


def test_phases_have_a_length_and_the_last_one_has_none():
    steps = [
        step(Deal.STATE_RUNNING, 100),
        step(Deal.STATE_RUNNING, 130, term=2, master="E003"),
        step(Deal.STATE_COMPLETED, 150, term=2, master="E003"),
    ]

    phases = phase_records(steps, timezone.utc)

    assert [(p["state"], p["seconds"], p["term"], p["grid_master_id"]) for p in phases] == [
        ("running", 30.0, 1, "E001"),
        ("running", 20.0, 2, "E003"),
        ("completed", None, 2, "E003"),
    ]
    assert phases[0]["at"] == "1970-01-01T00:01:40.500+00:00"


def test_a_clock_of_another_master_that_is_behind_makes_no_negative_length():
    steps = [step(Deal.STATE_RUNNING, 100), step(Deal.STATE_RUNNING, 99, term=2)]

    assert phase_records(steps, timezone.utc)[0]["seconds"] == 0.0


def test_receipts_of_both_sides_and_how_far_they_are_apart():
    receipts = {
        "E001": {"d": Receipt("d", 104.0, 110.0)},
        "E002": {"d": Receipt("d", 100.0, 94.0)},
    }

    found = receipt_records(DEAL, receipts)

    assert found["discharge"] == {"grid_wh": 104.0, "battery_wh": 110.0, "reason": ""}
    assert found["charge"] == {"grid_wh": 100.0, "battery_wh": 94.0, "reason": ""}
    assert found["apart_ratio"] == pytest.approx(4.0 / 104.0)


@pytest.mark.parametrize(
    "receipts",
    [
        {},
        {"E001": {"d": Receipt("d", 104.0, 110.0)}},
        {"E001": {"d": Receipt("d", 0.0, 0.0)}, "E002": {"d": Receipt("d", 0.0, 0.0)}},
    ],
)
def test_nothing_is_said_of_receipts_that_cannot_be_compared(receipts):
    assert receipt_records(DEAL, receipts)["apart_ratio"] is None
