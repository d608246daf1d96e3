from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from fake_modbus import Asked, FakeBattery, with_sum

from apis_core.model.errors import ConfigError
from apis_driver.device import BatteryDevice, SharingPermit
from apis_driver.devices.modbus_battery import ModbusBattery, ModbusBatterySettings
from apis_driver.errors import (
    BadChecksum,
    DeviceBusy,
    DeviceError,
    DeviceRefused,
    DeviceTimeout,
    ImplausibleReply,
    PortError,
    WrongAddress,
    WrongCommand,
    WrongLength,
    WrongTransaction,
)

MAP = """
name: another battery
byte_order: big
fields:
  rsoc: {type: u16, unit: percent, min: 0, max: 100}
  permit: {type: u16, codes: {0: none, 1: charge, 2: discharge, 3: both}}
  temp: {type: s16, scale: 0.1, unit: degC}
blocks:
  state: {code: 100, reply: [rsoc, permit]}
  cells: {code: 200, reply: [temp]}
"""
TWINS = """
name: two blocks of the same length
byte_order: big
fields:
  rsoc: {type: u16, unit: percent, min: 0, max: 100}
  temp: {type: u16, unit: degC}
blocks:
  charge: {code: 100, reply: [rsoc]}
  heat: {code: 101, reply: [temp]}
"""
FAST = {"reply_timeout_s": 0.03, "byte_gap_s": 0.01, "late_reply_s": 0.3}


def soon(limit_s: float = 1.0) -> float:
    return time.monotonic() + limit_s


def make(fake: FakeBattery | None = None, **settings):
    fake = fake or FakeBattery()
    port = "10.0.0.9:502" if fake.is_tcp else "/dev/fake"
    values = {"port": port, **FAST, **settings}
    return ModbusBattery(ModbusBatterySettings(**values), fake), fake


@pytest.fixture
def twins(tmp_path) -> Callable[..., tuple[ModbusBattery, FakeBattery]]:
    """A battery with two blocks of the same length: charge 55 %, temperature 25."""
    path = tmp_path / "twins.yaml"
    path.write_text(TWINS)

    def made(*, is_tcp: bool = False, **settings):
        fake = FakeBattery({100: 55, 101: 25}, is_tcp=is_tcp)
        return make(fake, registers=str(path), **settings)

    return made


def test_the_original_battery_is_one_request():
    battery, fake = make()
    assert isinstance(battery, BatteryDevice)
    battery.open(soon())
    assert fake.asked == [Asked(1, 4, 0x1D, 2)]
    status = battery.read(soon())
    assert (status.soc_ratio, status.permit) == (0.7, SharingPermit.BOTH)
    assert (status.voltage_v, status.current_a) == (None, None)


@pytest.mark.parametrize(
    ("register", "permit"),
    [
        (0, SharingPermit.BOTH),
        (1, SharingPermit.NONE),
        (2, SharingPermit.BOTH),
        (3, SharingPermit.NONE),
    ],
)
def test_its_flag_is_inverted_and_the_reserved_bits_are_ignored(register, permit):
    battery, fake = make()
    fake.registers[0x1E] = register
    assert battery.read(soon()).permit is permit


def test_another_map_is_read_from_a_file(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text(MAP)
    battery, fake = make(registers=str(path), function="holding", unit=7)
    fake.registers = {100: 55, 101: 2, 200: 0xFF9C}
    status = battery.read(soon())
    assert fake.asked == [Asked(7, 3, 100, 2), Asked(7, 3, 200, 1)]
    assert (status.soc_ratio, status.permit) == (0.55, SharingPermit.DISCHARGE_ONLY)
    assert status.temp_degc == -10.0
    fake.registers[101] = 9
    with pytest.raises(ImplausibleReply):
        battery.read(soon())


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("rsoc", "soc", "fields.soc: unknown; a battery has rsoc"),
        ("u16, unit", "u8, unit", "whole registers"),
        ("[temp]", "[warmth]", "warmth"),
        ("code: 100", "code: 330031", "is called 330031 is 30030, function: input"),
        ("code: 100", "code: 65535", "0 to 65535, and the block must end there"),
        ("[temp]", "[rsoc]", "fields.rsoc: stands 2 times in the blocks; keep one"),
        ("  temp:", "  rsoc:", "the key 'rsoc' stands twice; keep one"),
        ("[temp]", "[]", "blocks.cells.reply is [], must name at least one field"),
        ("[temp]}", "[temp], request: [temp]}", "a battery is only read"),
        ("3: both", "3: all", "must name for each value one of none, charge, discharge, both"),
    ],
)
def test_a_wrong_map_is_told(tmp_path, wrong, right, said):
    path = tmp_path / "map.yaml"
    path.write_text(MAP.replace(wrong, right))
    with pytest.raises(ConfigError) as raised:
        make(registers=str(path))
    assert said in str(raised.value)


def test_a_block_that_no_answer_can_hold_is_told(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text(MAP.replace("[temp]", f"[{', '.join(['temp'] * 126)}]"))
    with pytest.raises(ConfigError) as raised:
        make(registers=str(path))
    assert "126 registers, must be 125 at most" in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"port": "10.0.0.9:70000"}, "it must be from 1 to 65535"),
        ({"port": "socket://10.0.0.9"}, "socket://host:port"),
        ({"port": "/dev/ttyUSB1", "unit": 255}, "from 1 to 247 on a serial line"),
    ],
)
def test_a_wrong_setting_is_told(settings, said):
    with pytest.raises(ValueError, match=said):
        ModbusBatterySettings(**settings)


# --- values that are none ------------------------------------------------------------------------


def test_a_state_of_charge_of_6553_percent_is_not_believed():
    battery, fake = make()
    fake.registers[0x1D] = 65535
    with pytest.raises(ImplausibleReply, match=r"rsoc is 6553\.5 percent"):
        battery.read(soon())


def test_a_little_more_than_full_is_full():
    battery, fake = make()
    fake.registers[0x1D] = 1001
    assert battery.read(soon()).soc_ratio == 1.0
    fake.registers[0x1D] = 1051
    with pytest.raises(ImplausibleReply):
        battery.read(soon())


def test_what_is_not_measured_is_not_known():
    battery, fake = make(registers="modbus_battery_meter")
    fake.registers |= {0x1F: 0xFFFF, 0x20: 0x8000}
    status = battery.read(soon())
    assert (status.voltage_v, status.current_a, status.soc_ratio) == (None, None, 0.7)


def test_a_value_that_no_battery_has_is_not_published(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text(MAP.replace("scale: 0.1", "scale: 10"))
    battery, fake = make(registers=str(path))
    fake.registers = {100: 55, 101: 3, 200: 300}
    with pytest.raises(ImplausibleReply, match="temp is 3000 degC, it must be from -60 to 150"):
        battery.read(soon())


def test_a_register_may_have_an_offset(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text(MAP.replace("scale: 0.1", "scale: 0.1, offset: -40, min: -40, max: 100"))
    battery, fake = make(registers=str(path))
    fake.registers = {100: 55, 101: 3, 200: 655}
    assert battery.read(soon()).temp_degc == 25.5
    fake.registers[200] = 1401
    with pytest.raises(ImplausibleReply, match=r"temp is 100\.1 degC, must be from -40 to 100"):
        battery.read(soon())


# --- what goes wrong -----------------------------------------------------------------------------


def after(delay_s: float, fake: FakeBattery):
    return lambda asked: [(delay_s, fake.good(asked))]


@pytest.mark.parametrize(
    ("say", "kind", "attempts"),
    [
        (lambda _: [], DeviceTimeout, 3),
        (lambda asked: [(0.0, asked.refusal(2))], DeviceRefused, 1),
        (lambda asked: [(0.0, asked.refusal(6))], DeviceBusy, 3),
        (lambda asked: [(0.0, asked.refusal(10))], DeviceBusy, 3),
        (lambda asked: [(0.0, asked.refusal(11))], DeviceTimeout, 3),
        (lambda asked: [(0.0, asked.frame(b"\x04\x02\x00\x01"))], WrongLength, 3),
        (lambda asked: [(0.0, asked.frame(b"\x03\x04\x00\x01\x00\x00"))], WrongCommand, 3),
        (lambda asked: [(0.0, asked.frame(b"\x04\x04\0\0\0\0", unit=9))], WrongAddress, 3),
        (lambda _: [(0.0, b"\x01\x04\x04\x02\xbc\0\0\0\0")], BadChecksum, 3),
    ],
    ids=["silent", "no", "busy", "no-path", "gateway-silent", "length", "function", "unit", "sum"],
)
def test_failures_are_retried_by_their_kind(say, kind, attempts):
    battery, fake = make(retries=2)
    fake.say = say
    with pytest.raises(kind, match="/dev/fake"):
        battery.read(soon())
    assert len(fake.asked) == attempts


def test_a_port_that_has_gone_is_told_at_once():
    battery, fake = make()
    battery.open(soon())
    fake.fault = "the port has gone"
    with pytest.raises(PortError, match="the port has gone"):
        battery.read(soon())
    with pytest.raises(PortError):
        battery.open(soon())


def test_a_busy_battery_is_asked_again():
    battery, fake = make()
    script = iter([lambda asked: asked.refusal(6), lambda _: b"", fake.good])
    fake.say = lambda asked: [(0.0, next(script)(asked))]
    assert battery.read(soon()).soc_ratio == 0.7


@pytest.mark.parametrize(
    "garble",
    [
        lambda fake, asked: b"\0" + fake.good(asked),
        lambda fake, asked: b"\xff" + fake.good(asked),
        lambda fake, asked: b"\0" + fake.good(asked) + b"\0",
        lambda fake, asked: fake.sent + fake.good(asked),
        lambda fake, asked: b"\xff" + fake.sent + b"\0" + fake.good(asked),
        lambda fake, asked: asked.frame(b"\x04\x04\0\1\0\0", unit=2) + fake.good(asked),
        lambda fake, asked: asked.frame(b"\x03\x04\0\1\0\0") + fake.good(asked),
        lambda fake, asked: asked.frame(b"\x83\x02") + fake.good(asked),
        lambda fake, asked: asked.frame(b"\x04\x02\0\1") + fake.good(asked),
        lambda fake, asked: with_sum(b"\x05\x04\0\x1d\0\2") + fake.good(asked),
    ],
    ids=[
        "0x00",
        "0xff",
        "both",
        "echo",
        "echo-and-noise",
        "unit",
        "function",
        "exception",
        "length",
        "question",
    ],
)
def test_what_a_line_carries_besides_does_no_harm(garble):
    battery, fake = make()
    fake.say = lambda asked: [(0.0, garble(fake, asked))]
    assert battery.read(soon()).soc_ratio == 0.7
    assert len(fake.asked) == 1


def test_a_byte_of_noise_does_not_end_the_wait_for_the_answer():
    battery, fake = make(reply_timeout_s=0.2)
    fake.say = lambda asked: [(0.0, b"\0"), (0.1, fake.good(asked))]
    assert battery.read(soon()).soc_ratio == 0.7
    assert len(fake.asked) == 1


@pytest.mark.parametrize(
    ("say", "said"),
    [
        (lambda _: b"login: ", r"7 bytes came.*6c 6f 67 69 6e 3a 20 \(login: \)"),
        (lambda fake: fake.sent, "the adapter echoes"),
        (lambda _: b":0104020001F8\r\n", "Modbus ASCII"),
        (lambda _: b"", "no answer from unit 1"),
    ],
    ids=["text", "echo", "ascii", "silence"],
)
def test_bytes_that_are_no_answer_are_told(say, said):
    battery, fake = make(retries=0)
    fake.say = lambda _: [(0.0, say(fake))]
    with pytest.raises(DeviceTimeout, match=said):
        battery.read(soon())


# --- late answers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delay_s", "every"), [(0.01, 1), (0.045, 1), (0.12, 1), (0.2, 1), (0.045, 3), (0.2, 3)]
)
def test_a_late_answer_is_never_taken_for_the_next_one(twins, delay_s, every):
    battery, fake = twins()
    fake.say = lambda asked: [(0.0 if len(fake.asked) % every else delay_s, fake.good(asked))]
    values = []
    for _ in range(6):
        try:
            status = battery.read(soon(0.15))
        except DeviceTimeout:
            continue
        values.append((status.soc_ratio, status.temp_degc))
    assert set(values) <= {(0.55, 25.0)}
    assert values or delay_s > 0.1
    assert battery.counters["late"] or delay_s < 0.03


@pytest.mark.parametrize("refuses", [False, True])
def test_an_answer_that_is_kept_until_the_next_question_is_not_believed(twins, refuses):
    """Whatever the device says to a question for registers that it may not have."""
    battery, fake = twins(late_reply_s=0.05)
    fake.registers |= {102: 7, 103: 8}
    kept = []

    def say(asked):
        kept.append(asked.refusal(2) if refuses and asked.count > 1 else fake.good(asked))
        return [(0.0, kept[-2])] if len(kept) > 1 else []

    fake.say = say
    for _ in range(8):
        with pytest.raises(DeviceError):
            battery.read(soon(0.3))
    assert battery.counters["out of step"]
    fake.say = None  # the adapter has been exchanged
    assert battery.read(soon()).soc_ratio == 0.55
    assert battery.read(soon()).temp_degc == 25.0


def test_a_battery_that_was_slow_once_is_read_again(twins):
    battery, fake = twins(reply_timeout_s=0.02, late_reply_s=0.1)
    fake.say = after(0.07, fake)
    with pytest.raises(DeviceTimeout):
        battery.read(soon(0.05))
    fake.say = None
    assert battery.read(soon()).temp_degc == 25.0


def test_a_lost_answer_costs_a_battery_with_one_block_only_another_question():
    battery, fake = make(late_reply_s=10)
    fake.say = lambda asked: [] if len(fake.asked) == 1 else [(0.0, fake.good(asked))]
    assert battery.read(soon(0.5)).soc_ratio == 0.7


def test_the_deadline_holds_while_a_late_answer_is_waited_for(twins):
    battery, fake = twins(late_reply_s=10)
    fake.say = lambda _: []
    for _ in range(2):
        begun_s = time.monotonic()
        with pytest.raises(DeviceTimeout):
            battery.read(begun_s + 0.1)
        assert time.monotonic() < begun_s + 1.0
    assert len(fake.asked) == 1


# --- TCP -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay_s", [0.0, 0.05])
def test_over_tcp_an_answer_has_the_number_of_its_question(twins, delay_s):
    battery, fake = twins(is_tcp=True)
    fake.say = after(delay_s, fake)
    for _ in range(4):
        try:
            status = battery.read(soon(0.2))
        except DeviceError:
            assert delay_s
        else:
            assert (status.soc_ratio, status.temp_degc) == (0.55, 25.0)


@pytest.mark.parametrize(
    ("say", "kind"),
    [
        (lambda fake, asked: asked.frame(b"\x04\x04\0\1\0\0", transaction=0), WrongTransaction),
        (lambda fake, asked: asked.frame(b"\x04\x04\0\1\0\0", unit=255), WrongAddress),
        (lambda fake, asked: asked.frame(b"\x03\x04\0\1\0\0"), WrongCommand),
        (lambda fake, asked: asked.frame(b"\x04\x02\0\1"), WrongLength),
        (
            lambda fake, asked: fake.good(asked)[:4] + b"\xff\xff" + fake.good(asked)[6:],
            DeviceTimeout,
        ),
        (lambda fake, asked: fake.good(asked)[:3] + b"\1" + fake.good(asked)[4:], DeviceTimeout),
        (lambda fake, asked: b"HTTP/1.1 400 Bad Request\r\n\r\n", DeviceTimeout),
    ],
    ids=["transaction", "unit", "function", "length", "huge", "protocol", "http"],
)
def test_over_tcp_what_is_no_answer_is_told(say, kind):
    fake = FakeBattery(is_tcp=True)
    battery, _ = make(fake, retries=0)
    fake.say = lambda asked: [(0.0, say(fake, asked))]
    with pytest.raises(kind):
        battery.read(soon())
    fake.say = lambda asked: [(0.0, say(fake, asked)), (0.01, fake.good(asked))]
    assert battery.read(soon()).soc_ratio == 0.7


def test_rtu_over_tcp_is_recognised():
    fake = FakeBattery(is_tcp=True)
    battery, _ = make(fake, retries=0)
    fake.say = lambda asked: [(0.0, with_sum(b"\x01\x04\x04\x02\xbc\0\0"))]
    with pytest.raises(DeviceTimeout, match="write the port as socket://host:port"):
        battery.read(soon())


@contextmanager
def server(*, answers: int) -> Iterator[str]:
    """A battery on TCP that closes each connection after so many answers; its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    fake = FakeBattery({100: 55, 101: 25}, is_tcp=True)

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                for _ in range(answers):
                    if question := connection.recv(100):
                        connection.sendall(fake.good(Asked.of(question, is_tcp=True)))

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def test_a_server_that_closes_after_each_answer_is_asked_again(tmp_path):
    path = tmp_path / "twins.yaml"
    path.write_text(TWINS)
    with server(answers=1) as port:
        battery = ModbusBattery(ModbusBatterySettings(port=port, registers=str(path)))
        battery.open(soon(5.0))
        for _ in range(3):
            status = battery.read(soon(5.0))
            assert (status.soc_ratio, status.temp_degc) == (0.55, 25.0)
        assert battery.counters["reconnects"]
        battery.close()


def test_a_server_that_only_closes_is_a_port_error():
    with server(answers=0) as port:
        battery = ModbusBattery(ModbusBatterySettings(port=port))
        with pytest.raises(PortError, match="closed by the other side"):
            battery.open(soon(5.0))
