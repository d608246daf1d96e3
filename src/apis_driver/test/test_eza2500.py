from __future__ import annotations

import time
from random import Random

import pytest
from fake_eza import FakeEza, flips

from apis_core.model.types import Alarm, ConverterMode
from apis_driver.device import DcdcDevice, Running
from apis_driver.devices.eza2500 import Eza2500, Eza2500Settings
from apis_driver.errors import (
    BadChecksum,
    DeviceBusy,
    DeviceRefused,
    DeviceTimeout,
    ForeignDevice,
    OutOfRange,
    PortError,
    ReadBackMismatch,
)
from apis_driver.eza2500_protocol import BUSY, NOT_ALLOWED, NOT_SUPPORTED, table

FAST = {"reply_timeout_s": 0.01, "byte_gap_s": 0.005, "late_reply_s": 0.0, "busy_pause_s": 0.0}


def soon() -> float:
    return time.monotonic() + 2.0


def make(fake: FakeEza | None = None, **settings) -> tuple[Eza2500, FakeEza]:
    fake = fake or FakeEza()
    device = Eza2500(Eza2500Settings(port="fake", **{**FAST, **settings}), fake)
    return device, fake


def opened(**settings) -> tuple[Eza2500, FakeEza]:
    device, fake = make(**settings)
    device.open(soon())
    fake.asked.clear()
    return device, fake


def test_it_has_the_shape_of_a_converter():
    assert isinstance(make()[0], DcdcDevice)


def test_wait_is_the_first_thing_said_and_the_thresholds_follow():
    device, fake = make()
    fake.raw["mode"] = 0x14
    device.open(soon())
    assert fake.asked[0] == "1-4"
    assert fake.raw["mode"] == 0
    assert (fake.raw["ubv"], fake.raw["ogv"], fake.raw["bcf"]) == (13653, 17246, 3)
    assert [c for c in fake.asked if c.endswith("-4")] == ["1-4", "6-4", "7-4", "3-4"]


def test_a_status_is_three_questions_and_the_meanings_of_the_codes():
    device, fake = opened()
    device.line.clean_run = 1000
    fake.raw["mode"], fake.raw["cst"] = 0x41, 1
    fake.set(vg=352.0, ig=2.0, wg=704.0, vb=51.5, ib=13.0, wb=669.5, tmp=31.25)
    status = device.read_status(soon())
    assert fake.asked == ["1-1", "2-1", "10-1"]
    assert status.mode is ConverterMode.CHARGE
    assert status.mode_code == "0x0041"
    assert (status.running, status.alarm) == (Running.CHARGE, Alarm.NONE)
    assert status.grid_voltage_v == pytest.approx(352.0, abs=0.024)
    assert status.grid_current_a == pytest.approx(2.0, abs=0.001)
    assert status.battery_current_a == pytest.approx(13.0, abs=0.0064)
    assert status.converter_temp_degc == 31.25


@pytest.mark.parametrize(
    ("bits", "alarm"), [(4, Alarm.LIGHT), (8, Alarm.HEAVY), (12, Alarm.UNKNOWN)]
)
def test_an_alarm_is_read_with_its_words(bits, alarm):
    device, fake = opened()
    fake.raw["cst"], fake.raw["alm1"] = bits, 0x4010
    status = device.read_status(soon())
    assert status.alarm is alarm
    assert "alm1 0x4010" in status.alarm_text
    device.clear_alarms(soon())
    assert fake.asked[-1] == "9-4"


def test_a_mode_that_is_none_of_ours_is_unknown_and_not_an_error():
    device, fake = opened()
    fake.raw["mode"], fake.raw["cst"] = 0x22, 3
    status = device.read_status(soon())
    assert (status.mode, status.mode_code) == (ConverterMode.UNKNOWN, "0x0022")
    assert status.running is Running.UNKNOWN


def test_settings_are_written_exactly_and_read_back():
    device, fake = opened()
    device.set_voltage(voltage_v=350.0, droop_ratio=0.039, deadline_s=soon())
    device.set_current(2.3, soon())
    assert (fake.raw["dvg"], fake.raw["dig"]) == (15090, 2411)
    setpoints = device.read_setpoints(soon())
    assert setpoints.grid_voltage_v == 349.98779296875
    assert setpoints.grid_current_a == pytest.approx(2.3, abs=0.001)
    for mode, code in ((ConverterMode.VOLTAGE_REFERENCE, 0x14), (ConverterMode.WAIT, 0)):
        device.set_mode(mode, soon())
        assert fake.raw["mode"] == code


@pytest.mark.parametrize(
    "order",
    [
        lambda d: d.set_voltage(voltage_v=259.0, droop_ratio=0.0, deadline_s=soon()),
        lambda d: d.set_voltage(voltage_v=350.0, droop_ratio=4.0, deadline_s=soon()),
        lambda d: d.set_voltage(voltage_v=float("nan"), droop_ratio=0.0, deadline_s=soon()),
        lambda d: d.set_current(8.6, soon()),
        lambda d: d.set_current(-1.0, soon()),
        lambda d: d.set_mode(ConverterMode.UNKNOWN, soon()),
    ],
)
def test_what_is_out_of_range_is_refused_before_a_byte_is_sent(order):
    device, fake = opened()
    with pytest.raises(OutOfRange):
        order(device)
    assert fake.asked == []


def test_settings_that_the_converter_cannot_hold_are_refused_before_the_port_opens():
    with pytest.raises(OutOfRange, match="ubv"):
        make(battery_under_voltage_v=31.0)


def test_a_write_that_is_not_held_is_tried_again_and_then_told():
    device, fake = opened()
    fake.obeys = lambda command, raw: {**raw, "dvg": 15000} if command == "4-4" else raw
    with pytest.raises(ReadBackMismatch, match=r"fake: after 4-4 it holds dvg 347.*not 349.98"):
        device.set_voltage(voltage_v=350.0, droop_ratio=0.0, deadline_s=soon())
    assert fake.asked == ["4-4"] * 3


@pytest.mark.parametrize(
    ("reason", "kind", "attempts"),
    [(NOT_ALLOWED, DeviceRefused, 1), (NOT_SUPPORTED, DeviceRefused, 1), (BUSY, DeviceBusy, 6)],
)
def test_refusals_are_retried_by_their_kind_and_keep_their_reason(reason, kind, attempts):
    device, fake = opened()
    fake.refuse["4-4"] = reason
    with pytest.raises(kind, match=f"{reason:#06x}"):
        device.set_voltage(voltage_v=350.0, droop_ratio=0.0, deadline_s=soon())
    assert len(fake.asked) == attempts


def test_silence_and_nonsense_have_budgets_of_their_own():
    device, fake = opened()
    bad = bytes.fromhex("020200100014002500")
    script = [None, None, None, bad, bad, bad, bad, bad]
    fake.garble = lambda answer: script.pop(0) if script else answer
    device.set_mode(ConverterMode.WAIT, soon())
    assert fake.asked == ["1-4"] * 9
    assert (device.counters["silence"], device.counters["BadChecksum"]) == (3, 5)


@pytest.mark.parametrize(
    ("garble", "kind", "attempts"),
    [
        (lambda _: None, DeviceTimeout, 4),
        (lambda a: a[:-1] + bytes([a[-1] ^ 1]), BadChecksum, 6),
        (lambda a: a[:4], DeviceTimeout, 4),
    ],
)
def test_when_the_budget_is_used_up_the_last_failure_is_told_with_the_port(garble, kind, attempts):
    device, fake = opened()
    fake.garble = garble
    with pytest.raises(kind, match=r"^fake: "):
        device.read_status(soon())
    assert len(fake.asked) == attempts


def test_the_deadline_holds_whatever_the_budgets():
    device, fake = opened(silence_retries=20, reply_timeout_s=0.1)
    fake.garble = lambda _: None
    begun_s = time.monotonic()
    with pytest.raises(DeviceTimeout):
        device.read_status(begun_s + 0.25)
    assert time.monotonic() - begun_s < 0.35


def test_a_late_answer_is_not_taken_for_the_next_one():
    device, fake = opened(late_reply_s=0.02)
    late: list[bytes] = []

    def first_is_late(answer):
        if late:
            return answer
        late.append(answer)
        fake.raw["mode"] = 0x14
        return None

    drop = fake.drop_input

    def arrives_before_the_line_is_emptied():
        fake.incoming.extend(late)
        drop()

    fake.raw["mode"] = 0x41
    fake.garble, fake.drop_input = first_is_late, arrives_before_the_line_is_emptied
    device.line.clean_run = 1000
    assert device.read_status(soon()).mode is ConverterMode.VOLTAGE_REFERENCE


def test_an_echo_of_our_own_words_does_no_harm():
    device, fake = opened()
    for mode, code in ((ConverterMode.DISCHARGE, 2), (ConverterMode.VOLTAGE_REFERENCE, 0x14)):
        request = device.request("1-4", {"mode": code})
        fake.garble = lambda answer, echo=request: echo + answer
        device.set_mode(mode, soon())
        assert fake.raw["mode"] == code


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw.update(vgq=13), "its vg has the exponent 13, an EZA2500 has 14"),
        (lambda raw: raw.update(wn=40000), "it is rated 5000 W, an EZA2500 2500 W"),
    ],
)
def test_a_foreign_device_is_not_driven(change, said):
    device, fake = make()
    change(fake.raw)
    with pytest.raises(ForeignDevice, match=said):
        device.open(soon())
    assert "6-4" not in fake.asked
    make_blind, _ = make(fake, check_scaling=False)
    make_blind.open(soon())


def test_a_device_that_does_not_tell_its_scaling_is_driven_all_the_same():
    device, fake = make()
    fake.refuse["12-1"] = NOT_SUPPORTED
    device.open(soon())
    assert device.counters["scaling not told"] == 1


def test_silence_at_the_start_is_told_with_what_would_help():
    device, fake = make()
    fake.garble = lambda _: None
    with pytest.raises(DeviceTimeout, match="is 19200 its speed"):
        device.open(soon())


def test_a_port_that_is_not_there_or_goes_is_told_at_once():
    device, fake = opened()
    fake.is_gone = True
    with pytest.raises(PortError, match="has gone"):
        device.read_status(soon())
    with pytest.raises(PortError, match="no such port"):
        device.open(soon())


def test_on_a_line_that_flips_one_bit_in_a_thousand_every_reading_and_setting_is_right():
    rng = Random(5)
    device, fake = opened(silence_retries=20, nonsense_retries=20, reply_timeout_s=0.001)
    fake.garble, fake.garble_request = flips(rng, 1e-3), flips(rng, 1e-3)
    deadline_s = time.monotonic() + 50.0
    wrong = 0
    for turn in range(300):
        fake.raw |= {f.name: rng.randrange(32768) for f in device_meter()}
        want = dict(fake.raw)
        status = device.read_status(deadline_s)
        wrong += status.grid_voltage_v != pytest.approx(want["vg"] * 380 / 2**14)
        wrong += status.grid_current_a != pytest.approx(want["ig"] * 7.8125 / 2**13)
        wrong += status.converter_temp_degc != pytest.approx(want["tmp"] / 2**7)
        device.set_current(2.0 + turn / 1000, deadline_s)
        wrong += fake.raw["dig"] != int((2000 + turn) * 2**13 / 7812.5)
    assert wrong == 0
    assert device.counters["retries"] > 100


def device_meter():
    return table()["10-1"].reply.fields


@pytest.mark.parametrize("is_trusted", [True, False])
def test_two_flips_that_cancel_out_are_seen_by_asking_again(is_trusted):
    device, fake = opened()
    device.line.clean_run = 1000 if is_trusted else 0
    fake.raw |= {"vg": 0x0000, "ig": 0x0100}
    hits: list[bytes] = []

    def cancel_once(answer):
        if len(answer) == 23 and not hits:
            hits.append(answer)
            body = bytearray(answer)
            body[6] ^= 1  # the high bytes of vg and ig: one bit up, one down
            body[8] ^= 1
            return bytes(body)
        return answer

    fake.garble = cancel_once
    status = device.read_status(soon())
    assert hits
    assert (status.grid_voltage_v == 0.0) is not is_trusted
