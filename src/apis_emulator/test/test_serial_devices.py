"""The simulated devices' bytes: the recorded ones, written out, and what they do to the plant.

Frames are taken apart here by hand, not by the code under test.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from apis_core.model.types import Alarm, StopCause
from apis_core.model.types import ConverterMode as Mode
from apis_emulator.servers.eza import SimulatedEza
from apis_emulator.servers.plant_lock import PlantLock
from apis_emulator.servers.serial_devices import EzaTalker, ModbusBatteryTalker, SharingPermit

VECTORS = json.loads(
    (Path(__file__).resolve().parents[2] / "apis_driver" / "test" / "data")
    .joinpath("eza2500_vectors.json")
    .read_text()
)
SENT = [v for v in VECTORS["vectors"] if v["request"]["result"] == "ok"]
AT_HOME = [v for v in SENT if (v["ad1"], v["ad2"]) == (0, 16)]


class Converter:
    """A simulated EZA2500 on a plant of its own."""

    def __init__(self, village) -> None:
        self.village = village
        self.eza = SimulatedEza(village.plant, "E001", silence_limit_s=3.0)
        self.talker = EzaTalker(self.eza, PlantLock())
        self.now_s = 0.0

    def say(self, text: str) -> bytes:
        return self.talker.hear(bytes.fromhex(text), self.now_s)

    def ask(self, command: int, data: bytes = b"") -> tuple[int, bytes]:
        """CMD and data of the answer."""
        body = bytes((0, 16, command)) + data
        frame = bytes((5, len(data))) + body + struct.pack("<H", sum(body))
        return take_apart(self.talker.hear(frame, self.now_s))

    def words(self, command: int, data: bytes = b"") -> tuple[int, ...]:
        code, answer = self.ask(command, data)
        assert code == command, f"refused: {answer.hex()}"
        return struct.unpack(f"<{len(answer) // 2}H", answer)

    @property
    def hardware(self):
        return self.village["E001"]


def take_apart(frame: bytes) -> tuple[int, bytes]:
    assert frame[0] == 2
    assert frame[1] == len(frame) - 7
    assert frame[2:4] == bytes((0, 16))
    assert struct.unpack("<H", frame[-2:])[0] == sum(frame[2:-2])
    return frame[4], frame[5:-2]


def counts(value: float, q: int, rating: float) -> int:
    return int(value * 2**q / rating)


@pytest.fixture
def converter(make_village):
    return Converter(make_village())


# --- frames --------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", AT_HOME, ids=lambda v: v["id"])
def test_every_recorded_request_is_answered(converter, vector):
    request = bytes.fromhex(vector["request"]["hex"])
    rules = VECTORS["commands"][vector["command"]]
    code, data = take_apart(converter.say(vector["request"]["hex"]))
    is_allowed = vector["request"].get("in_documented_range", True)
    if vector["id"] == "1-4-not-allowed":
        is_allowed = False
    if vector["id"] == "9-4-ff":
        is_allowed = True
    if is_allowed:
        assert code == request[4]
        assert len(data) == rules["ack_len"]
        if request[1] and vector["command"] != "9-4":
            assert data == request[5:-2], "a write is answered with what is held now"
    else:
        assert (code, data) == (request[4] | 0x80, b"\xfe\xff")


def test_it_hears_a_frame_in_pieces_and_behind_noise(converter):
    request = "05000010001000"
    for garbage in ("", "ff00", "0500", "05020010", "020200100002001200"):
        whole = bytes.fromhex(garbage + request)
        answers = b"".join(converter.talker.hear(bytes((b,)), 0.0) for b in whole)
        assert answers == bytes.fromhex("020200100000001000"), garbage
        converter.talker.silence()


@pytest.mark.parametrize(
    "request_",
    [
        "05000010001100",  # wrong sum
        "05000110001100",  # another converter
        "02000010001000",  # no request
        "050000100010",  # cut
    ],
)
def test_what_is_not_for_it_gets_no_answer(converter, request_):
    assert converter.say(request_) == b""


def test_silence_ends_a_frame(converter):
    converter.say("0502001000")
    converter.talker.silence()
    assert converter.say("05000010001000") == bytes.fromhex("020200100000001000")


def test_an_unknown_command_is_refused(converter):
    assert converter.ask(0x40) == (0xC0, b"\xff\xff")
    assert converter.ask(0x1A, b"\0\0") == (0x9A, b"\xff\xff")  # a length that it does not have


# --- what it does --------------------------------------------------------------------------------


def test_it_holds_the_voltage_it_is_told(converter):
    dvg = counts(350.0, 14, 380.0)
    assert converter.words(0x1A, struct.pack("<HH", dvg, 0)) == (dvg, 0)
    held = list(converter.words(0x1C))
    held[1] = counts(7.5, 13, 7.8125)
    assert converter.words(0x1C, struct.pack("<6H", *held)) == tuple(held)
    assert converter.words(0x00, struct.pack("<H", 0x0014)) == (0x0014,)
    assert converter.hardware.mode is Mode.VOLTAGE_REFERENCE
    converter.village.plant.step(20.0)
    vg = converter.words(0x09)[0]
    assert vg * 380.0 / 2**14 == pytest.approx(350.0, abs=0.03)
    assert converter.words(0x01)[0] & 0b11 == 2  # it feeds the bus

    # another converter draws: the current is seen with its sign
    converter.village.charge("E002", 2.0)
    converter.village.plant.step(10.0)
    _, data = converter.ask(0x09)
    fields = struct.unpack("<8h", data)
    assert fields[1] * 7.8125 / 2**13 == pytest.approx(-2.0, abs=0.002)
    assert fields[4] * 2500.0 / 2**11 == pytest.approx(-700.0, abs=2.0)
    assert fields[3] < 0

    dvg = counts(340.0, 14, 380.0)
    converter.words(0x1A, struct.pack("<HH", dvg, 0))
    converter.village.plant.step(20.0)
    assert converter.village.plant.voltage_v == pytest.approx(340.0, abs=0.03)


@pytest.mark.parametrize(("code", "sign"), [(0x0041, 1.0), (0x0002, -1.0)])
def test_it_carries_the_current_it_is_told(converter, code, sign):
    converter.village.hold_voltage("E002")
    converter.village.plant.step(20.0)
    held = list(converter.words(0x1C))
    held[1] = counts(1.5, 13, 7.8125)
    converter.words(0x1C, struct.pack("<6H", *held))
    assert converter.words(0x00, struct.pack("<H", code)) == (code,)
    converter.village.plant.step(10.0)
    assert converter.hardware.current_a == pytest.approx(sign * 1.5, abs=0.001)
    assert converter.words(0x01)[0] & 0b11 == (1 if sign > 0 else 2)

    assert converter.words(0x00, b"\0\0") == (0,)
    assert converter.hardware.mode is Mode.WAIT
    assert converter.hardware.current_a == 0.0
    assert converter.hardware.stop_cause is StopCause.NONE


def test_a_mode_that_it_is_in_already_changes_nothing(converter):
    converter.village.hold_voltage("E002")
    converter.village.plant.step(20.0)
    for _ in range(2):
        converter.words(0x00, struct.pack("<H", 0x0041))
        converter.village.plant.step(1.0)
    assert converter.hardware.mode is Mode.CHARGE


def test_a_heavy_alarm_stays_until_it_is_cleared(converter):
    converter.village.hold_voltage("E002")
    converter.village.plant.step(20.0)
    converter.words(0x00, struct.pack("<H", 0x0041))
    converter.hardware.trip("by the test")
    assert converter.words(0x00) == (0,)
    assert converter.words(0x01)[0] == 0b1000  # off, heavy
    assert converter.words(0x12)[0] == 0x4000
    assert converter.ask(0x00, struct.pack("<H", 0x0041)) == (0x80, b"\xfd\xff")
    assert converter.words(0x00, b"\0\0") == (0,)
    assert converter.words(0x12)[0] == 0x4000
    converter.ask(0x12, b"\0\0")
    assert converter.words(0x12) == (0, 0, 0)
    assert converter.words(0x00, struct.pack("<H", 0x0041)) == (0x0041,)


def test_a_light_alarm_does_not_stop_it(converter):
    converter.village.hold_voltage("E002")
    converter.village.plant.step(20.0)
    converter.words(0x00, struct.pack("<H", 0x0041))
    converter.hardware.alarm = Alarm.LIGHT
    assert converter.words(0x01)[0] == 0b0101  # charging, light
    assert converter.words(0x12)[0] == 1
    assert converter.words(0x00) == (0x0041,)


def test_it_goes_to_wait_when_nothing_is_said_to_it(converter):
    converter.village.hold_voltage("E002")
    converter.village.plant.step(20.0)
    converter.words(0x00, struct.pack("<H", 0x0041))
    converter.now_s = 2.0
    converter.words(0x00)
    assert not converter.eza.watch(4.9)
    converter.say("05000010001100")  # a frame that is damaged is not a word
    assert converter.eza.watch(5.0)
    assert converter.hardware.mode is Mode.WAIT
    assert "nothing was said to it for 3 s" in converter.hardware.stop_detail
    assert not converter.eza.watch(9.0)
    assert converter.words(0x00) == (0,)


def test_without_a_watchdog_it_goes_on(converter):
    converter.eza.silence_limit_s = None
    converter.village.hold_voltage("E002")
    converter.village.plant.step(20.0)
    converter.words(0x00, struct.pack("<H", 0x0041))
    assert not converter.eza.watch(1e6)
    assert converter.hardware.mode is Mode.CHARGE


def test_settings_are_gone_with_its_supply(converter):
    before = converter.words(0x1A)
    converter.words(0x1A, struct.pack("<HH", counts(300.0, 14, 380.0), 0))
    converter.eza.power_up()
    assert converter.words(0x1A) == before


# --- battery -------------------------------------------------------------------------------------


class Battery:
    def __init__(self, village) -> None:
        self.permit = SharingPermit()
        self.unit = village.plant.units["E001"]
        self.talker = ModbusBatteryTalker(self.unit, self.permit, PlantLock())

    def say(self, text: str) -> str:
        answer = self.talker.hear(bytes.fromhex(text), 0.0).hex().upper()
        self.talker.silence()
        return answer


@pytest.fixture
def battery(make_village):
    return Battery(make_village(soc_ratio=0.7))


def test_the_frames_of_the_specification(battery):
    assert battery.say("01 04 00 1D 00 02 E1 CD") == "01040402BC00003BD8"
    assert battery.say("01 04 00 1E 00 01 51 CC") == "0104020000B930"
    battery.permit.is_given = False
    assert battery.say("01 04 00 1E 00 01 51 CC") == "010402000178F0"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("01 04 00 00 00 01 31 CA", "018402C2C1"),  # no such register
        ("01 03 00 1D 00 01 14 0C", "01830180F0"),  # another function
        ("02 04 00 1D 00 02 E1 FE", ""),  # another slave
        ("01 04 00 1D 00 02 E1 CC", ""),  # wrong CRC
        ("01 04 00 1D 00", ""),  # cut
    ],
)
def test_what_it_does_not_answer_with_registers(battery, question, answer):
    assert battery.say(question) == answer


def test_counts_out_of_range_are_refused(battery):
    from pymodbus.framer import FramerRTU

    for count in (0, 126):
        body = bytes.fromhex("0104001D") + count.to_bytes(2, "big")
        question = body + FramerRTU.compute_CRC(body).to_bytes(2, "big")
        answer = bytes.fromhex(battery.say(question.hex()))
        assert answer[:3] == bytes((1, 0x84, 3)), count


def test_state_of_charge_follows_the_plant(battery, make_village):
    battery.unit.battery.stored_wh = 0.123 * battery.unit.battery.capacity_wh
    assert battery.say("01 04 00 1D 00 02 E1 CD")[6:10] == f"{123:04X}"
