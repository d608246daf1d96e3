"""A simulated device behind the HTTP interface of the original drivers, asked over real HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from apis_core.model.types import ConverterMode as Mode
from apis_emulator.servers.eza import SimulatedEza
from apis_emulator.servers.http_device import HttpDevice
from apis_emulator.servers.plant_lock import PlantLock
from apis_emulator.servers.serial_devices import SharingPermit


class Client:
    def __init__(self, village) -> None:
        self.village = village
        self.permit = SharingPermit()
        self.eza = SimulatedEza(village.plant, "E001")
        unit = village.plant.units["E001"]
        self.device = HttpDevice(self.eza, unit, self.permit, PlantLock())
        self.hardware = village["E001"]

    def get(self, path: str) -> tuple[int, dict]:
        try:
            url = f"http://127.0.0.1:{self.device.port}{path}"
            with urllib.request.urlopen(url, timeout=5.0) as answer:
                assert answer.headers["Content-Type"] == "application/json"
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read()
            return error.code, json.loads(text) if error.code == 400 else {}


@pytest.fixture
def client(make_village) -> Iterator[Client]:
    client = Client(make_village(soc_ratio=0.7))
    yield client
    client.device.close()


METER = {"wg", "tmp", "vb", "wb", "vg", "ib", "ig"}


def test_bodies_have_the_recorded_shapes(client):
    code, body = client.get("/dcdc/get")
    assert code == 200
    assert set(body) == {"status", "meter", "vdis", "param"}
    assert body["status"] == {
        "status": "0x0000",
        "alarmState": "No alarm",
        "statusName": "Ignore",
        "alarm": "0000 0000 0000",
        "runningState": "off",
        "operationMode": "Waiting",
    }
    assert set(body["meter"]) == METER
    assert set(body["vdis"]) == {"dvg", "drg"}
    assert set(body["param"]) == {"cib", "ubv", "dig", "ogv", "obv", "ugv"}

    code, short = client.get("/dcdc/get/status")
    assert set(short["status"]) == {"alarmState", "runningState", "operationMode"}
    assert set(short) == {"status", "meter"}
    assert client.get("/battery/get") == (200, {"rsoc": 70.0, "battery_operation_status": 3})
    assert set(client.get("/all/get")[1]) == set(body) | {"rsoc", "battery_operation_status"}
    assert client.get("/version/get")[1]["comm_interface_version"] == "2.0"
    assert client.get("/nothing")[0] == 404


def test_a_full_set_switches_the_converter(client):
    code, body = client.get("/dcdc/set?mode=0x0014&dvg=350&dig=2.3&drg=0")
    assert code == 200
    assert body["status"]["operationMode"] == "Grid Autonomy"
    # values are the counts that the converter holds
    assert body["vdis"] == {"dvg": 349.98779296875, "drg": 0.0}
    assert body["param"]["dig"] == 2.2993087768554688
    client.village.plant.step(20.0)
    assert client.get("/dcdc/get")[1]["meter"]["vg"] == pytest.approx(350.0, abs=0.03)

    assert set(client.get("/dcdc/set?dvg=340&drg=0")[1]) == {"meter", "vdis"}
    client.village.plant.step(20.0)
    assert client.village.plant.voltage_v == pytest.approx(340.0, abs=0.03)
    assert set(client.get("/dcdc/set?dig=3")[1]) == {"meter", "param"}
    assert client.hardware.current_setpoint_a == pytest.approx(3.0, abs=0.001)

    # what is missing in a full set is as it was
    assert client.get("/dcdc/set?mode=0x0000")[0] == 200
    assert client.hardware.mode is Mode.WAIT


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("", "No operationMode"),
        ("mode=0x0041", "No dig"),
        ("mode=0x0041&dig=1", "No dvg"),
        ("dig=1", "No operationMode"),
        ("mode=2&dig=1&dvg=350", "bad value: 2"),
        ("mode=0x0005&dig=1&dvg=350", "bad value: operation mode: 5"),
        ("mode=0xzz&dig=1&dvg=350", "bad value: 0xzz"),
        ("mode=0x0041&dig=x&dvg=350", "dig is x"),
        ("mode=0x0041&dig=nan&dvg=350", "dig is nan"),
        ("mode=0x0041&dig=1&dvg=400", "dvg is 400.0, it must be from 260 to 390 V"),
        ("mode=0x0041&dig=-1&dvg=350", "dig is -1.0"),
    ],
)
def test_a_wrong_set_changes_nothing(client, query, error):
    before = client.get("/dcdc/get")[1]
    code, body = client.get(f"/dcdc/set?{query}")
    assert code == 400
    assert error in body["err"]
    assert client.get("/dcdc/get")[1] == before


def test_a_heavy_alarm_refuses(client):
    client.hardware.start(Mode.CHARGE, bus_v=350.0, energy_limit_wh=None)
    client.hardware.trip("by the test")
    body = client.get("/dcdc/get")[1]
    assert body["status"]["alarmState"] == "Heavy alarm"
    assert body["status"]["alarm"] == "4000 0002 0000"
    query = "mode=0x0041&dig=1&dvg=350&drg=0"
    assert client.get(f"/dcdc/set?{query}") == (400, {"err": "error: ERCD=fffd"})
    assert client.hardware.mode is Mode.WAIT


def test_the_permit_is_passed_on(client):
    client.permit.is_given = False
    assert client.get("/battery/get")[1]["battery_operation_status"] == 0


def test_asking_keeps_the_watchdog_quiet(client):
    assert client.eza.last_heard_s == float("inf")
    client.get("/dcdc/get/status")
    assert client.eza.last_heard_s < float("inf")
