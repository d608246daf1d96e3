"""Orders to a converter and what it says, on the wire."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("apis_interfaces.msg", reason="needs the ROS environment")

from apis_core.converter.driver_contract import Complaint, is_wait
from apis_core.model.messages import (
    ClaimKind,
    ConverterOperation,
    ConverterOrder,
    ConverterReading,
    ConverterReply,
)
from apis_core.model.types import ConverterError, ConverterMode, FaultLevel
from apis_interfaces import msg, srv
from apis_ros.conversions import Untranslatable
from apis_ros.converter_messages import (
    claim_of,
    fault_message,
    order_of,
    reading_message,
    reply_message,
)

Request = srv.ConverterCommand.Request
NUMBERS = (
    "grid_voltage_v",
    "grid_current_a",
    "droop_ratio",
    "energy_limit_wh",
    "next_current_a",
    "hold_s",
)


def request(**fields: object) -> Request:
    return Request(**{**dict.fromkeys(NUMBERS, math.nan), **fields})


def test_an_order_is_read_with_what_is_left_open():
    asked = request(operation=Request.OPERATION_CURRENT, grid_current_a=2.0, term=3, deal_id="d")
    assert order_of(asked) == ConverterOrder(
        operation=ConverterOperation.CURRENT, grid_current_a=2.0, term=3, deal_id="d"
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"operation": 7}, "operation is 7; it must be one of 0 READ, 1 MODE"),
        ({"operation": Request.OPERATION_MODE, "mode": 9}, "mode is 9; it must be one of"),
        ({"grid_current_a": math.inf}, "grid_current_a is inf; it must be a finite number"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would_be_right(fields, words):
    with pytest.raises(Untranslatable, match=words):
        order_of(request(**fields))


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("number", [0.0, math.inf, math.nan])
def test_whoever_says_wait_is_understood(name, number):
    asked = request(
        operation=Request.OPERATION_MODE, mode=msg.ConverterState.MODE_WAIT, **{name: number}
    )
    order = order_of(asked)
    assert is_wait(order)
    assert order == ConverterOrder(operation=ConverterOperation.MODE, mode=ConverterMode.WAIT)


def test_every_reply_says_whose_converter_it_is_of():
    reading = ConverterReading(stamp_ns=1_500_000_000, mode=ConverterMode.CHARGE)
    reply = ConverterReply(error=ConverterError.REFUSED, message="no", reading=reading)
    response = reply_message(reply, "E001")
    assert (response.error_code, response.error_msg) == (int(ConverterError.REFUSED), "no")
    for state in (response.state, reading_message(reading, "E001")):
        assert (state.unit_id, state.mode) == ("E001", state.MODE_CHARGE)
        assert (state.stamp.sec, state.stamp.nanosec) == (1, 500_000_000)
    assert math.isnan(response.state.grid_current_a)
    assert reply_message(ConverterReply(), "E001").state.unit_id == "E001"


def test_a_claim_that_makes_no_sense_is_none():
    claim = msg.GridMasterClaim(kind=msg.GridMasterClaim.KIND_MASTER, unit_id="E001", term=3)
    assert claim_of(claim) == (ClaimKind.MASTER, 3)
    claim.kind = 99
    assert claim_of(claim) is None


def test_a_complaint_becomes_a_fault_of_the_hardware():
    fault = fault_message("E001", Complaint("code", "why", FaultLevel.WARN), "d", 2_000_000_000)
    assert (fault.unit_id, fault.reporter_id) == ("E001", "E001/driver")
    assert (fault.category, fault.extent) == (fault.CATEGORY_HARDWARE, fault.EXTENT_LOCAL)
    assert (fault.level, fault.code, fault.message) == (fault.LEVEL_WARN, "code", "why")
    assert (fault.deal_id, fault.stamp.sec) == ("d", 2)
