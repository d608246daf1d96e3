"""Every message there and back again, also as bytes, and what cannot be translated."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from enum import IntEnum
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy")

from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message, serialize_message

from apis_core.model import messages as core
from apis_core.model.types import ConverterError, ConverterMode, Direction, OperationMode
from apis_core.model.units import SECOND_NS
from apis_interfaces import msg, srv
from apis_ros.conversions import MESSAGES, Instants, Untranslatable, from_ros, to_ros

pytestmark = pytest.mark.ros

SERVICES = {
    core.ControlRequest: srv.UnitControl.Request,
    core.ControlReply: srv.UnitControl.Response,
    core.ConverterOrder: srv.ConverterCommand.Request,
    core.ConverterReply: srv.ConverterCommand.Response,
    core.DealSubmission: srv.SubmitDeal.Request,
    core.SubmitReply: srv.SubmitDeal.Response,
}
TYPES = {**MESSAGES, **SERVICES}
NOW_NS = 5_000 * SECOND_NS
INSTANTS = Instants(agent_ns=NOW_NS, ros_ns=1_800_000_000 * SECOND_NS)

texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=9)
names = texts.filter(bool)
floats = st.floats(allow_nan=False, allow_infinity=False)
unsigned = st.integers(0, 2**64 - 1)
instants = st.integers(0, 10**8 * SECOND_NS)  # a stamp ends in 2038
durations = st.integers(0, 2**50)


def values(hint: Any, name: str, type_: type) -> st.SearchStrategy[Any]:
    """Values of a field, from its type and what its name says."""
    if get_origin(hint) is UnionType:
        parts = get_args(hint)
        return st.one_of(
            *(st.none() if part is NoneType else values(part, name, type_) for part in parts)
        )
    if hint is str:
        return names if name == "deal_id" and type_ is core.Deal else texts
    if hint is bool:
        return st.booleans()
    if hint is float:
        return floats
    if hint is int:
        if name.endswith("_ns"):
            is_instant = type_ is core.Deal or name == "stamp_ns"
            return instants if is_instant else durations
        return st.integers(0, 2**32 - 1) if name == "slot_capacity" else unsigned
    if get_origin(hint) is tuple:
        return st.lists(texts, max_size=3).map(tuple)
    if issubclass(hint, IntEnum):
        known = [m for m in hint if m.name != "NO_ANSWER"]  # silence does not travel
        return st.sampled_from(known)
    if hint is core.ConverterReading:  # one without mode and stamp was never filled in
        return whole(hint).filter(lambda reading: reading.mode or reading.stamp_ns)
    return whole(hint)


def whole(type_: type) -> st.SearchStrategy[Any]:
    hints = get_type_hints(type_)
    return st.builds(
        type_, **{f.name: values(hints[f.name], f.name, type_) for f in fields(type_)}
    )


def example(type_: type, **changes: Any) -> Any:
    """A message in which everything is in order."""
    value = {
        core.InterchangeRequest: core.InterchangeRequest(
            request_id="r",
            unit_id="E001",
            type=Direction.CHARGE,
            energy_wh=50.0,
            current_a=2.0,
            window_ns=2 * SECOND_NS,
        ),
        core.InterchangeAccept: core.InterchangeAccept(request_id="r", unit_id="E", type=None),
        core.ConverterReading: core.ConverterReading(),
        core.Deal: DEAL,
        core.GridMasterClaim: core.GridMasterClaim(
            kind=core.ClaimKind.MASTER,
            unit_id="E001",
            instance_id="i",
            term=1,
            sequence=1,
            lease_ns=4 * SECOND_NS,
        ),
        core.OperationModeOrder: core.OperationModeOrder(unit_id="", mode=OperationMode.RUN),
        core.UnitStatus: core.UnitStatus(
            unit_id="E001",
            instance_id="i",
            sequence=1,
            global_mode=OperationMode.RUN,
            global_mode_version=1,
            local_mode=OperationMode.UNSET,
            effective_mode=OperationMode.RUN,
            capacity_wh=4800.0,
        ),
        core.ControlRequest: core.ControlRequest(
            operation=core.ControlOperation.HOLD,
            grid_master_id="E001",
            term=1,
            deal_id="d",
            hold_ns=SECOND_NS,
        ),
        core.ConverterOrder: core.ConverterOrder(operation=core.ConverterOperation.READ),
    }[type_]
    message = to_ros(value, INSTANTS, NOW_NS)
    for name, changed in changes.items():
        setattr(message, name, changed)
    return message


DEAL = core.Deal(
    deal_id="d",
    request_unit_id="E001",
    accept_unit_id="E002",
    discharge_unit_id="E002",
    charge_unit_id="E001",
    energy_wh=50.0,
    current_a=2.0,
)


# --- there and back ---


@pytest.mark.parametrize("type_", TYPES, ids=lambda type_: type_.__name__)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_value_comes_back_from_the_wire_as_it_was(type_, data):
    value = data.draw(whole(type_))
    message = to_ros(value, INSTANTS, NOW_NS)
    assert type(message) is TYPES[type_]
    arrived = deserialize_message(serialize_message(message), TYPES[type_])
    assert from_ros(arrived, type_, INSTANTS) == value


def test_every_message_of_the_core_can_be_translated():
    assert set(MESSAGES) == {*get_args(core.Message), core.ConverterReading}


@pytest.mark.parametrize("type_", TYPES, ids=lambda type_: type_.__name__)
def test_no_field_of_a_message_is_forgotten(type_):
    """Names on both sides agree, but for what is renamed on purpose."""
    ours = {field.name for field in fields(type_)}
    theirs = set(TYPES[type_].get_fields_and_field_types())
    renamed = {
        "created_ns": "created_at",
        "started_ns": "started_at",
        "stopped_ns": "stopped_at",
        "ended_ns": "ended_at",
        "stamp_ns": "stamp",
        "window_ns": "window_s",
        "lease_ns": "lease_s",
        "hold_ns": "hold_s",
        "age_ns": "age_s",
    }
    if "error_code" in theirs:
        renamed |= {"error": "error_code", "message": "error_msg", "reading": "state"}
    only_theirs = theirs - {renamed.get(name, name) for name in ours}
    assert {renamed.get(name, name) for name in ours} <= theirs
    # a stamp is for people; a unit's own reading needs no name; no signature reaches the core
    assert only_theirs <= {"stamp", "unit_id", "signature"}


@pytest.mark.parametrize("value", [None, 0.0, -0.0, 1.5, -1e300, 5e-324])
def test_what_is_not_known_is_nan_and_nothing_else_is(value):
    reading = core.ConverterReading(grid_current_a=value)
    message = to_ros(reading, INSTANTS, NOW_NS)
    assert math.isnan(message.grid_current_a) is (value is None)
    assert from_ros(message, core.ConverterReading, INSTANTS).grid_current_a == value


def test_a_reading_inside_a_message_names_its_unit():
    assert example(core.UnitStatus).converter.unit_id == "E001"
    reply = to_ros(core.ControlReply(), INSTANTS, NOW_NS, "E002")
    assert reply.state.unit_id == "E002"
    # no reading stays none
    assert from_ros(reply, core.ControlReply, INSTANTS) == core.ControlReply()


def test_a_whole_number_of_a_configuration_becomes_a_float():
    message = to_ros(replace(DEAL, energy_wh=50), INSTANTS, NOW_NS)
    assert message.energy_wh == 50.0
    assert isinstance(message.energy_wh, float)


def test_a_declined_request_has_no_direction():
    no = core.InterchangeAccept(request_id="r", unit_id="E001", type=None, reason="is short")
    message = to_ros(no, INSTANTS, NOW_NS)
    assert message.type == msg.InterchangeAccept.TYPE_DECLINE
    assert math.isnan(message.energy_wh)
    assert from_ros(message, core.InterchangeAccept, INSTANTS) == no


def test_an_order_without_a_deal_has_none():
    message = example(core.ControlRequest)
    assert message.deal.deal_id == ""
    assert from_ros(message, core.ControlRequest, INSTANTS).deal is None


@pytest.mark.parametrize(
    ("type_", "target", "seconds"),
    [
        (core.InterchangeRequest, "window_s", 2.0),
        (core.GridMasterClaim, "lease_s", 4.0),
        (core.ControlRequest, "hold_s", 1.0),
    ],
)
def test_durations_travel_in_seconds(type_, target, seconds):
    assert getattr(example(type_), target) == seconds


# --- stamps ---


@pytest.mark.parametrize(
    ("agent_ns", "sec", "nanosec"),
    [
        (0, 0, 0),  # has not happened
        (NOW_NS, 1_800_000_000, 0),
        (NOW_NS + 1, 1_800_000_000, 1),
        (NOW_NS - 1, 1_799_999_999, 999_999_999),
        (1, 1_799_995_000, 1),
    ],
)
def test_an_instant_as_a_stamp(agent_ns, sec, nanosec):
    stamp = Time(sec=sec, nanosec=nanosec)
    assert INSTANTS.to_stamp(agent_ns) == stamp
    assert INSTANTS.from_stamp(stamp) == agent_ns


@given(st.integers(1, 10**8 * SECOND_NS), st.integers(10**9, 10**9 + 10**8), instants)
def test_two_shells_with_different_clocks_mean_the_same_instant(agent_ns, ros_s, other_ns):
    sender = Instants(agent_ns, ros_s * SECOND_NS)
    receiver = Instants(other_ns, ros_s * SECOND_NS)
    stamp = sender.to_stamp(agent_ns)
    assert receiver.from_stamp(stamp) == other_ns
    assert sender.from_stamp(stamp) == agent_ns


def test_messages_for_people_are_stamped_with_the_present():
    now = INSTANTS.to_stamp(NOW_NS)
    assert example(core.UnitStatus).stamp == now
    assert example(core.InterchangeRequest).stamp == now
    assert example(core.InterchangeAccept).stamp == now


def test_a_reading_keeps_the_drivers_stamp():
    message = to_ros(core.ConverterReading(stamp_ns=NOW_NS - SECOND_NS), INSTANTS, NOW_NS)
    assert message.stamp == INSTANTS.to_stamp(NOW_NS - SECOND_NS)
    assert to_ros(core.ConverterReading(), INSTANTS, NOW_NS).stamp == Time()


# --- what no value can be made of ---


@pytest.mark.parametrize(
    ("type_", "changes", "told"),
    [
        (
            core.InterchangeRequest,
            {"type": 0},
            "type is 0; it must be one of 1 CHARGE, 2 DISCHARGE",
        ),
        (
            core.InterchangeAccept,
            {"type": 3},
            "type is 3; it must be one of 1 CHARGE, 2 DISCHARGE",
        ),
        (
            core.OperationModeOrder,
            {"mode": 9},
            "mode is 9; it must be one of 0 UNSET, 1 RUN, 2 SOFT_STOP, 3 FORCE_STOP, 4 MANUAL",
        ),
        (
            core.ConverterReading,
            {"alarm": 255},
            "alarm is 255; it must be one of 0 UNKNOWN, 1 NONE, 2 LIGHT, 3 HEAVY",
        ),
        (core.Deal, {"state": 8}, "state is 8; it must be one of 0 UNKNOWN, 1 QUEUED"),
        (core.Deal, {"energy_wh": math.nan}, "energy_wh is nan; it must be a finite number"),
        (core.Deal, {"energy_wh": math.inf}, "energy_wh is inf; it must be a finite number"),
        (core.Deal, {"sent_wh": -math.inf}, "sent_wh is -inf; it must be a finite number"),
        (
            core.ConverterReading,
            {"grid_current_a": math.inf},
            "grid_current_a is inf; it must be a finite number",
        ),
        (
            core.InterchangeRequest,
            {"window_s": math.nan},
            "window_s is nan; it must be a finite number",
        ),
        (
            core.GridMasterClaim,
            {"lease_s": math.inf},
            "lease_s is inf; it must be a finite number",
        ),
        (core.GridMasterClaim, {"kind": 0}, "kind is 0; it must be one of 1 CANDIDATE, 2 MASTER"),
        (core.ControlRequest, {"operation": 99}, "operation is 99; it must be one of 1 ACQUIRE"),
        (
            core.UnitStatus,
            {"converter": msg.ConverterState(mode=5)},
            "mode is 5; it must be one of 0 UNKNOWN",
        ),
        (
            core.ControlRequest,
            {"deal": msg.Deal(deal_id="d", meter=7)},
            "meter is 7; it must be one of 0 BATTERY, 1 GRID",
        ),
    ],
)
def test_a_message_that_says_what_the_protocol_does_not_know(type_, changes, told):
    with pytest.raises(Untranslatable) as caught:
        from_ros(example(type_, **changes), type_, INSTANTS)
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def test_a_refusal_of_an_unknown_code_is_untranslatable():
    with pytest.raises(Untranslatable, match="error_code is 42; it must be one of 0 NONE, 201"):
        from_ros(srv.UnitControl.Response(error_code=42), core.ControlReply, INSTANTS)


def test_an_unread_converter_is_no_converter_in_wait():
    message = to_ros(core.ConverterReading(), INSTANTS, NOW_NS)
    assert message.mode == ConverterMode.UNKNOWN == msg.ConverterState.MODE_UNKNOWN


def test_a_refusal_without_a_reading_is_no_reading_of_zeros():
    silent = core.ConverterReply(error=ConverterError.TIMEOUT, message="nobody there")
    message = to_ros(silent, INSTANTS, NOW_NS)
    assert math.isnan(message.state.grid_charged_wh)
    assert from_ros(message, core.ConverterReply, INSTANTS) == silent
    bare = srv.UnitControl.Response()  # as a peer leaves it that refuses before it reads
    assert from_ros(bare, core.ControlReply, INSTANTS).reading == core.ConverterReading()


def test_a_droop_of_nan_means_none_as_the_interface_says():
    message = srv.ConverterCommand.Request(operation=4, droop_ratio=math.nan)
    assert from_ros(message, core.ConverterOrder, INSTANTS).droop_ratio == 0.0
