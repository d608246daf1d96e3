"""The full physics behind the original's HTTP interface."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from typing import Any

import pytest

from apis_compat.emulator.full import FullEmulation
from apis_compat.emulator.inputs import Inputs, constant_after
from apis_compat.emulator.interface import Answer, Interface
from apis_compat.emulator.server import Server


class Client:
    """Asks as a program of the original would."""

    def __init__(self, folder) -> None:
        inputs = Inputs(constant_after([0.0]), lambda number: constant_after([0.1 * number]), 9)
        self.emulation = FullEmulation(inputs, 10)
        for _ in range(4):
            self.emulation.add_unit()
        self._interface = Interface(self.emulation, folder / "state.json")

    def ask(self, target: str) -> Answer:
        return self._interface.answer("GET", target, 0.0)

    def get(self, target: str, status: int = 200) -> Any:
        answer = self.ask(target)
        assert answer.status == status, answer.body
        return json.loads(answer.body)

    def steps(self, count: int) -> dict[str, Any]:
        for _ in range(count):
            self.emulation.step()
        return self.get("/get/log")


@pytest.fixture
def client(tmp_path) -> Client:
    return Client(tmp_path)


def test_a_deal_of_the_original_flows_with_real_losses(client):
    client.get("/set/dcdc/E002?mode=0x0014&dvg=350&dig=2")
    assert client.steps(1)["E001"]["dcdc"]["meter"]["vg"] == pytest.approx(350.0, abs=1.0)
    client.steps(1)
    client.get("/set/dcdc/E001?mode=0x0002&dvg=350&dig=2")
    units = client.steps(6)
    taker, giver = units["E002"]["dcdc"], units["E001"]["dcdc"]
    assert giver["meter"]["ig"] == pytest.approx(-2.0, abs=1e-6)
    assert taker["meter"]["ig"] == pytest.approx(2.0, abs=0.05)
    assert taker["meter"]["vg"] == pytest.approx(350.0, abs=0.5)
    assert giver["meter"]["vg"] > taker["meter"]["vg"]  # there is a cable between them
    loss_w = giver["meter"]["wg"] - giver["meter"]["wb"]
    assert loss_w == pytest.approx(30.0 + 0.01 * 700.0 + 8e-6 * 700.0**2, abs=1.0)
    assert (giver["status"]["runningState"], taker["status"]["status"]) == ("discharge", "0x0014")
    before = units["E001"]["emu"]["rsoc"]
    assert client.steps(6)["E001"]["emu"]["rsoc"] < before - 0.001
    client.get("/set/dcdc/current/E001?dig=1")
    assert client.steps(2)["E001"]["dcdc"]["meter"]["ig"] == pytest.approx(-1.0, abs=1e-6)
    client.get("/set/dcdc/voltage/E002?dvg=340")
    assert client.steps(2)["E002"]["dcdc"]["meter"]["vg"] == pytest.approx(340.0, abs=0.5)
    for unit_id in ("E001", "E002"):
        client.get(f"/set/dcdc/{unit_id}?mode=0x0000&dvg=0&dig=0")
    assert {u["dcdc"]["status"]["status"] for u in client.steps(3).values()} == {"0x0000"}


def test_what_real_hardware_refuses_is_refused_with_the_reason(client):
    said = client.get("/set/dcdc/E001?mode=0x0002&dvg=350&dig=2", 400)
    assert said == {"error": "the bus is at 0.0 V, it must be at 260 V or more"}
    assert client.get("/get/dcdc/status/E001")["status"]["status"] == "0x0000"
    client.get("/set/dcdc/E002?mode=0x0014&dvg=350&dig=2")
    client.steps(3)
    said = client.get("/set/dcdc/E001?mode=0x0014&dvg=350&dig=2", 400)
    assert "held by E002" in said["error"]
    said = client.get("/set/dcdc/E001?mode=0x0041&dvg=0&dig=9", 400)
    assert "it must be 0 to 7.8125 A" in said["error"]
    client.get("/set/dcdc/E004?mode=0x0041&dvg=0&dig=1")
    assert "E004 must be in WAIT" in client.get("/remove/unit", 400)["error"]


def test_units_come_and_go_and_a_state_keeps_what_batteries_hold(client):
    client.get("/set/emu/E003?rsoc=77.5")
    units = client.steps(30)
    assert 76.0 < units["E003"]["emu"]["rsoc"] < 77.5
    assert units["E003"]["emu"]["ups_output_power"] == pytest.approx(300.0)
    client.get("/save")
    client.get("/add/unit")
    client.get("/set/dcdc/E002?mode=0x0014&dvg=350&dig=2")
    assert client.steps(30)["E005"]["emu"]["ups_output_power"] == pytest.approx(500.0)
    loaded = client.get("/get/last")
    assert loaded == units
    again = client.steps(30)
    assert again["E003"]["emu"]["rsoc"] < units["E003"]["emu"]["rsoc"]
    assert again["E002"]["dcdc"]["meter"]["vg"] == 0.0
    assert client.get("/restart")["E003"]["emu"]["rsoc"] == 50.0


def test_days_are_summed_as_the_original_sums_them(client):
    client.get("/set/acc/600")
    client.steps(6 * 24 + 1)
    (day,) = client.emulation.accounts.days
    demand_wh = 24 * (100 + 200 + 300 + 400)
    assert day[2] == pytest.approx(demand_wh, rel=0.01)


class Shipped:
    """Steps and looks as the original's device control does with the policy that comes with it:
    an order, and then at most three readings at 0.1 s each (apis-main 3.0.0, `Checkpoint`).
    """

    RETRY_LIMIT, RETRY_WAIT_S, ALLOWANCE_V, ALLOWANCE_A = 3, 0.1, 4.0, 0.125

    def __init__(self, port: int) -> None:
        self._port = port

    def get(self, target: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self._port}{target}"
        with urllib.request.urlopen(url, timeout=5.0) as answer:
            return json.load(answer)

    def passes(self, unit_id: str, *, voltage_v: float | None = None, current_a=None) -> bool:
        for _ in range(self.RETRY_LIMIT):
            time.sleep(self.RETRY_WAIT_S)  # the length of the original's look is what is tested
            meter = self.get(f"/get/dcdc/status/{unit_id}")["meter"]
            is_voltage = voltage_v is None or abs(meter["vg"] - voltage_v) <= self.ALLOWANCE_V
            is_current = current_a is None or abs(abs(meter["ig"]) - current_a) <= self.ALLOWANCE_A
            if is_voltage and is_current:
                return True
        return False


@pytest.mark.parametrize("acceleration", [1, 10])
def test_a_deal_passes_every_look_of_the_shipped_policy(tmp_path, acceleration):
    inputs = Inputs(constant_after([0.0]), lambda number: constant_after([0.1 * number]), 9)
    emulation = FullEmulation(inputs, acceleration)
    for _ in range(4):
        emulation.add_unit()
    interface = Interface(emulation, tmp_path / "state.json")
    server = Server(emulation, interface, host="127.0.0.1", port=0, period_s=1.0)
    thread = threading.Thread(target=server.run)
    thread.start()
    client = Shipped(server.port)
    try:
        client.get("/set/dcdc/E002?mode=0x0014&dvg=350&dig=2.3&drg=0")
        while client.get("/get/dcdc/status/E002")["meter"]["vg"] < 346.0:  # it ramps up
            pass
        for volts in (330, 370, 340, 360, 350):  # authorisation
            client.get(f"/set/dcdc/voltage/E002?dvg={volts}&drg=0")
            assert client.passes("E002", voltage_v=volts)
        body = client.get("/set/dcdc/E001?mode=0x0002&dvg=380&dig=1&drg=0")
        assert body["status"]["operationMode"] == "Heteronomy CV"
        client.get("/set/dcdc/current/E001?dig=2.3")
        assert client.passes("E001", current_a=2.3)
        client.get("/set/dcdc/current/E001?dig=0")
        for unit_id in ("E001", "E002"):
            answer = client.get(f"/set/dcdc/{unit_id}?mode=0x0000&dvg=350&dig=0&drg=0")
            assert answer["status"] == {
                "status": "0x0000", "alarmState": "No alarm", "operationMode": "Waiting"
            }  # fmt: skip
        assert client.get("/get/dcdc/status/E002")["meter"]["ig"] == 0.0
    finally:
        server.stop()
        thread.join(5.0)


def test_an_answer_waits_for_a_slow_converter_but_not_for_ever(client):
    client.get("/set/dcdc/E002?mode=0x0014&dvg=350&dig=2")
    client.steps(1)
    answer = client.ask("/set/dcdc/voltage/E002?dvg=310")
    assert json.loads(answer.body)["meter"]["vg"] == pytest.approx(350.0, abs=0.1)
    assert answer.again is not None
    client.emulation.step(100)
    assert json.loads(answer.again().body)["meter"]["vg"] == pytest.approx(330.0, abs=1.0)
    client.steps(1)
    answer = answer.again()
    assert json.loads(answer.body)["meter"]["vg"] == pytest.approx(310.0, abs=1.0)
    assert answer.again is None


def test_time_in_parts_is_the_same_time(client):
    before_s = client.emulation.time_s
    client.get("/set/acc/3")
    for _ in range(20):
        client.emulation.step(20)
    assert client.emulation.time_s == before_s + 3
