from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apis_driver.errors import (
    BadChecksum,
    BadFrame,
    DeviceBusy,
    DeviceError,
    DeviceRefused,
    DeviceTimeout,
    OutOfRange,
    WrongAddress,
)
from apis_driver.eza2500_protocol import (
    BUSY,
    NOT_ALLOWED,
    Addresses,
    ReplyReader,
    RequestReader,
    encode_refusal,
    encode_reply,
    encode_request,
    table,
)
from apis_driver.frame import REPLY, REQUEST, Frame, FrameReader

COMMANDS = sorted(table().commands)
commands = st.sampled_from(COMMANDS)
byte = st.integers(0, 255)
noise = st.binary(max_size=40)


@st.composite
def replies(draw):
    """A command, counts that it can have, and its reply."""
    command = draw(commands)
    raw = {
        field.name: draw(st.integers(field.least, field.most))
        for field in table()[command].reply.fields
    }
    return command, raw, encode_reply(command, raw)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@given(st.sampled_from([REQUEST, REPLY]), byte, byte, byte, st.binary(max_size=20))
def test_a_frame_survives_the_line(start, converter, host, command, data):
    frame = Frame(start, converter, host, command, data)
    assert FrameReader(start, [len(data)]).feed(frame.encode()) == frame


def test_the_layout_is_that_of_the_document():
    assert encode_request("1-1").hex() == "05000010001000"
    assert encode_reply("1-1", {"mode": 0x14}).hex() == "020200100014002400"
    assert encode_refusal(0x00, BUSY).hex() == "0202001080fcff8b02"


@given(replies(), noise, st.lists(st.integers(0, 90), max_size=6), noise)
def test_a_reply_is_found_behind_noise_in_any_pieces(reply, before, cuts, after):
    command, raw, frame = reply
    reader = ReplyReader(command)
    found = None
    for piece in pieces_of(before + frame + after, cuts):
        if (found := reader.feed(piece)) is not None:
            break
    assert found == raw


@given(replies(), st.integers(0, 10_000), st.integers(0, 7))
def test_no_single_flipped_bit_gets_through(reply, place, bit):
    command, _, frame = reply
    damaged = bytearray(frame)
    damaged[place % len(frame)] ^= 1 << bit
    reader = ReplyReader(command)
    assert reader.feed(bytes(damaged)) is None
    assert isinstance(reader.complaint, (BadFrame, DeviceTimeout))


@given(commands, st.binary(max_size=200))
def test_whatever_comes_the_reader_neither_crashes_nor_hoards(command, data):
    reader = ReplyReader(command)
    try:
        reader.feed(data)
    except DeviceError:
        return
    assert reader.unread <= len(data)
    for _ in range(3):
        try:
            reader.feed(b"\x02" * 100)
        except DeviceError:
            return
    assert reader.unread <= 27


def test_the_beginning_of_a_frame_in_the_noise_does_not_hold_up_the_real_one():
    reader = ReplyReader("10-1")
    raw = dict.fromkeys((f.name for f in table()["10-1"].reply.fields), 0)
    assert reader.feed(b"\x02\x10\x00" + encode_reply("10-1", raw)) == raw


def test_what_went_wrong_is_told_best_first():
    reader = ReplyReader("1-1")
    assert isinstance(reader.complaint, DeviceTimeout)
    assert "no answer" in str(reader.complaint)
    reader.feed(b"\xff")
    assert "1 bytes came" in str(reader.complaint)
    reader.feed(bytes.fromhex("020200100014002500"))
    assert isinstance(reader.complaint, BadChecksum)
    reader.feed(bytes.fromhex("020207090041005100"))
    assert isinstance(reader.complaint, WrongAddress)


@pytest.mark.parametrize(
    ("reason", "kind", "said"),
    [
        (NOT_ALLOWED, DeviceRefused, "does not allow"),
        (BUSY, DeviceBusy, "busy"),
        (0x1234, DeviceBusy, "not documented (code 0x1234)"),
    ],
)
def test_a_refusal_names_its_reason(reason, kind, said):
    with pytest.raises(kind) as raised:
        ReplyReader("4-4").feed(encode_refusal(0x1A, reason))
    assert said in str(raised.value)
    assert type(raised.value) is kind


@given(st.floats(260, 390), st.floats(0, 3.999), st.binary(max_size=30))
def test_the_converters_side_reads_what_the_drivers_side_says(voltage_v, droop, before):
    at = Addresses(converter=3, host=7)
    request = encode_request("4-4", {"dvg": voltage_v, "drg": droop}, at)
    reader = RequestReader(at)
    found = reader.feed(before + request)
    while found is not None and found[0].encode() != request:
        found = reader.feed(b"")
    frame, command, raw = found
    assert (command.name, frame.command) == ("4-4", 0x1A)
    assert ReplyReader("4-4", at).feed(encode_reply("4-4", raw, at)) == raw


def test_requests_to_another_converter_are_not_for_us():
    reader = RequestReader(Addresses(converter=1))
    assert reader.feed(encode_request("1-1", at=Addresses(converter=2))) is None


def test_several_requests_at_once_come_one_after_the_other():
    reader = RequestReader()
    found = reader.feed(encode_request("1-1") + encode_request("10-1"))
    assert found[1].name == "1-1"
    assert reader.feed(b"")[1].name == "10-1"
    assert reader.feed(b"") is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dvg": "390.1", "drg": "0"}, "dvg is 390.1, it must be from 260 to 390 V"),
        ({"dvg": "nan", "drg": "0"}, "dvg is 'nan', it must be a number"),
        ({"dvg": float("inf"), "drg": 0}, "must be a number"),
        ({"dvg": "350"}, "it must have dvg, drg"),
        ({"dvg": "350", "drg": "0", "dig": 1}, "it must have dvg, drg"),
        ({"dvg": True, "drg": "0"}, "must be a number"),
        ({"dvg": "350/1", "drg": "0"}, "must be a number"),
    ],
)
def test_what_a_register_cannot_hold_is_refused_with_the_field_and_the_limit(values, said):
    with pytest.raises(OutOfRange) as raised:
        encode_request("4-4", values)
    assert said in str(raised.value)
