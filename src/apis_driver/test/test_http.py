"""The HTTP devices beyond the contract, and the interface that we serve ourselves."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import Future
from urllib.parse import urlencode

import httpx
import pytest
from benches import HttpBench
from fake_eza import FakeEza

from apis_core.model.messages import ConverterOperation, ConverterOrder, ConverterReply
from apis_core.model.types import ConverterError, ConverterMode
from apis_driver import http_server
from apis_driver.arrival import Arrival
from apis_driver.device import BatteryDevice, BatteryStatus, DcdcStatus, SharingPermit
from apis_driver.devices.eza2500 import Eza2500, Eza2500Settings
from apis_driver.devices.http import EmulatorBattery, EmulatorSettings, HttpBattery, HttpDcdc
from apis_driver.errors import (
    BadChecksum,
    BadFrame,
    DeadManFired,
    DeviceBusy,
    DeviceRefused,
    DeviceTimeout,
    ForeignDevice,
)
from apis_driver.eza2500_protocol import table
from apis_driver.http_client import HttpClient, HttpSettings
from apis_driver.http_server import CompatServer, HttpServerSettings
from apis_driver.registry import battery_settings, check_settings, make_battery
from apis_driver.rules import GovernorSettings
from apis_driver.unit_hardware import UnitHardware

M = ConverterMode


def soon() -> float:
    return time.monotonic() + 2.0


# --- devices -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.4", "", "3.0"])
def test_another_interface_is_not_driven(version):
    bench = HttpBench()
    bench.version = version
    with pytest.raises(ForeignDevice, match=r"it must be 2\.x"):
        bench.device.open(soon())
    assert bench.code == "0x0000"


def test_both_currents_have_one_name_and_the_code_tells_them_apart():
    bench = HttpBench()
    bench.device.open(soon())
    bench.force(M.CHARGE)
    before = bench.said
    assert bench.device.read_status(soon()).mode is M.CHARGE
    assert bench.said == before + 2  # short, and then long


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (400, "read timeout", DeviceTimeout),
        (400, "checksum error", BadChecksum),
        (400, "error: ERCD=fffe", DeviceRefused),
        (400, "timeout", DeviceBusy),
        (503, "", DeviceBusy),
        (504, "", DeviceTimeout),
        (500, "", DeviceRefused),
    ],
)
def test_what_the_original_says_of_a_failure_is_understood(status, text, kind):
    def serve(_request):
        return httpx.Response(status, content=json.dumps({"err": text}).encode())

    settings = HttpSettings(url="http://device:4380", retries=0)
    device = HttpDcdc(settings, httpx.MockTransport(serve))
    device.http.open()
    with pytest.raises(kind):
        device.read_status(soon())


def test_a_device_is_closed_though_a_thread_still_waits_for_its_answer():
    """At the end of a driver whose battery hangs."""
    is_asked = threading.Event()

    async def hang(_request):
        is_asked.set()
        await asyncio.sleep(0.3)
        return httpx.Response(200, content=b"{}")

    client = HttpClient(HttpSettings(url="http://device:4380"), httpx.MockTransport(hang))
    client.open()
    asking = threading.Thread(target=client.get, args=("/battery", soon()))
    asking.start()
    assert is_asked.wait(10.0)

    client.close()

    asking.join(10.0)
    assert not asking.is_alive()


def battery(bench: HttpBench) -> HttpBattery:
    settings = HttpSettings(url="http://device:4380", retries=0)
    return HttpBattery(settings, httpx.MockTransport(bench.serve))


def test_a_battery_is_read():
    bench = HttpBench()
    device = battery(bench)
    assert isinstance(device, BatteryDevice)
    device.open(soon())
    assert device.read(soon()).soc_ratio == pytest.approx(0.7)
    bench.status = 0
    assert device.read(soon()).permit is SharingPermit.NONE


def test_a_battery_that_says_a_little_more_than_full_is_full():
    bench = HttpBench()
    bench.rsoc = 100.1
    device = battery(bench)
    device.open(soon())
    assert device.read(soon()).soc_ratio == 1.0


@pytest.mark.parametrize("value", [float("inf"), 10**400, float("nan"), "350"])
def test_a_measurement_that_is_no_number_is_not_believed(value):
    bench = HttpBench()
    bench.device.open(soon())
    bench.meter["vg"] = value
    with pytest.raises(BadFrame, match="vg is"):
        bench.device.read_status(soon())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "http://127.0.0.1:port"}, "Invalid port"),
        ({"url": "http://[::1:4380"}, "must be http://host:port"),
        ({"url": "http://xn--a.b-.c\u00ad"}, "must be http://host:port"),
        ({"url": "http://127.0.0.1:0"}, "a port from 1 to 65535"),
        ({"url": "http://127.0.0.1:99999"}, "must be http://host:port"),
        ({"url": "http://host:80?x=1"}, "and nothing else"),
        ({"token": "\u00fc"}, "ASCII"),
        ({"token": "a\nb"}, "ASCII"),
    ],
)
def test_an_address_that_is_none_is_told_before_anything_is_asked(settings, said):
    problems = check_settings(
        {"battery": {"kind": "http", "url": "http://host:80", **settings}}, "grid.yaml", "driver"
    )
    [problem] = problems
    assert problem.key == f"driver.battery.{next(iter(settings))}"
    assert said in str(problem)


# --- servers that are slow -----------------------------------------------------------------------

BODY = json.dumps(
    {
        "status": {"status": "0x0014", "alarmState": "No alarm", "runningState": "off"},
        "meter": dict.fromkeys(("vg", "ig", "wg", "vb", "ib", "wb", "tmp"), 0.0),
        "vdis": {"dvg": 350.0, "drg": 0.0},
        "param": {"dig": 0.0},
        "comm_interface_version": "2.0",
    }
).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)


class SlowServer:
    """Answers well, until it sends a byte now and then.

    Attributes:
        trick: ``plain``, ``body`` and ``head`` (that part in drops), ``endless``, ``hang``.
        asked: Paths with their queries, and the number of the connection that they came by.
    """

    def __init__(self) -> None:
        self.trick, self.asked = "plain", []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._is_closed = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def waits(self) -> list[int]:
        """By which connections WAIT was ordered."""
        return [number for path, number in self.asked if "mode=0x0000" in path]

    def close(self) -> None:
        self._is_closed.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        for number in range(1000):
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            serve = threading.Thread(target=self.serve, args=(connection, number), daemon=True)
            serve.start()

    def serve(self, connection: socket.socket, number: int) -> None:
        with connection, contextlib.suppress(OSError):
            while question := connection.recv(4096):
                self.asked.append((question.split(b" ")[1].decode(), number))
                if self.trick == "plain":
                    connection.sendall(HEAD + BODY)
                    continue
                parts = {"body": (HEAD, BODY), "head": (b"", HEAD)}
                at_once, drops = parts.get(self.trick, (b"HTTP/1.1 200 OK\r\n\r\n", b""))
                connection.sendall(b"" if self.trick == "hang" else at_once)
                for byte in itertools.chain(drops, itertools.repeat(32)):
                    if self._is_closed.wait(0.02):
                        return
                    if self.trick != "hang":
                        connection.sendall(bytes((byte,)))


@pytest.fixture
def slow():
    made = SlowServer()
    yield made
    made.close()


def slow_device(slow: SlowServer) -> HttpDcdc:
    device = HttpDcdc(HttpSettings(url=slow.url))
    device.open(time.monotonic() + 10.0)
    slow.asked.clear()
    return device


@pytest.mark.parametrize("trick", ["body", "head", "endless", "hang"])
def test_a_deadline_is_for_the_whole_exchange(slow, trick):
    device = slow_device(slow)
    slow.trick = trick
    begun_s = time.monotonic()
    with pytest.raises(DeviceTimeout, match="no whole answer within"):
        device.read_status(begun_s + 0.3)
    assert time.monotonic() < begun_s + 5.0  # a drip of the whole body takes seven seconds
    slow.trick = "plain"
    assert device.read_status(soon()).mode is M.VOLTAGE_REFERENCE
    device.close()


@pytest.mark.parametrize("trick", ["body", "hang"])
def test_wait_has_a_connection_of_its_own_and_a_thread_that_says_it(slow, trick):
    device = slow_device(slow)
    assert device.read_status(soon()).mode is M.VOLTAGE_REFERENCE
    used = {number for _, number in slow.asked}
    slow.trick = trick
    assert device.dead_man.renew(0.2)
    with pytest.raises(DeviceTimeout):  # meanwhile the only thread of the driver is stuck
        device.read_status(soon())
    end_s = time.monotonic() + 20.0
    while not slow.waits():
        assert time.monotonic() < end_s
        time.sleep(0.01)
    assert not used & set(slow.waits())
    assert device.dead_man.fired
    slow.trick = "plain"
    with pytest.raises(DeadManFired):
        device.set_current(1.0, soon())
    assert not device.dead_man.renew(1.0)
    assert device.dead_man.disarm()
    device.set_mode(M.WAIT, soon())
    device.close()


def test_a_converter_is_told_wait_although_its_server_does_not_say_its_version(slow):
    slow.trick = "hang"
    device = HttpDcdc(HttpSettings(url=slow.url))
    with pytest.raises(DeviceTimeout):
        device.open(time.monotonic() + 3.0)
    assert slow.waits()
    device.close()


def test_the_battery_of_the_original_emulator_is_read_from_its_unit():
    bench = HttpBench(is_emulator=True)
    settings = EmulatorSettings(url="http://device:4390", unit="E001", retries=0)
    device = EmulatorBattery(settings, httpx.MockTransport(bench.serve))
    assert isinstance(device, BatteryDevice)
    device.open(soon())
    assert device.read(soon()).soc_ratio == pytest.approx(0.7)
    assert device.read(soon()).permit is SharingPermit.BOTH
    bench.rsoc = 120.5
    with pytest.raises(BadFrame, match=r"rsoc is 120\.5"):
        device.read(soon())


def test_a_device_that_stands_for_the_whole_unit_has_its_battery_too():
    converter = {"kind": "emulator_http", "url": "http://device:4390", "unit": "E002"}
    found = battery_settings({"converter": converter, "battery": {}})
    assert found == converter
    assert isinstance(make_battery(found, "grid.yaml"), EmulatorBattery)
    own = {"kind": "modbus", "port": "/dev/ttyUSB1"}
    assert battery_settings({"converter": converter, "battery": own}) == own
    assert battery_settings({"converter": {"kind": "eza2500", "port": "fake"}}) is None


@pytest.mark.parametrize("rsoc", [6553.5, -1, "70", None, True])
def test_a_state_of_charge_that_cannot_be_is_not_believed(rsoc):
    bench = HttpBench()
    bench.rsoc = rsoc
    with pytest.raises(BadFrame):
        battery(bench).open(soon())


# --- our own server ------------------------------------------------------------------------------


class Served:
    def __init__(self, **settings) -> None:
        self.fake = FakeEza()
        device = Eza2500(Eza2500Settings(port="fake", reply_timeout_s=0.02), self.fake)
        self.hardware = UnitHardware(device, None, GovernorSettings(), None)
        self.hardware.start()
        self.hardware.open().result(5.0)
        self.hardware.is_active = True
        self.server = CompatServer(HttpServerSettings(**settings), self.hardware)
        self.url = f"http://127.0.0.1:{self.server.start()}"

    def get(self, path, status=200, headers=None, **query):
        target = self.url + path + ("?" + urlencode(query) if query else "")
        request = urllib.request.Request(target, headers=headers or {})
        try:
            reply = urllib.request.urlopen(request, timeout=5.0)
        except urllib.error.HTTPError as error:
            reply = error
        with reply:
            text = reply.read()
        assert reply.status == status, text
        return json.loads(text) if text.startswith(b"{") else None

    def full(self, mode, status=200, **query):
        return self.get(
            "/dcdc/set", status, **{"mode": mode, "dvg": 350, "dig": 2, "drg": 0, **query}
        )

    def close(self):
        self.server.close()
        self.hardware.end()


@pytest.fixture
def served():
    made = Served()
    yield made
    made.close()


def test_the_version_and_both_names_of_everything(served):
    assert served.get("/version/get")["comm_interface_version"] == "2.0"
    new, old = served.get("/dcdc/get"), served.get("/remote/get")
    assert set(new) == {"status", "meter", "vdis", "param"}
    assert set(old) == {*new, "powermeter"}
    assert new["status"]["status"] == "0x0000"
    assert new["status"]["operationMode"] == "Waiting"
    assert new["status"]["alarm"] == "0000 0000 0000"
    assert set(new["meter"]) == {"wg", "tmp", "vb", "wb", "vg", "ib", "ig"}
    assert served.get("/nothing", 404) is None


def test_the_thresholds_are_those_of_the_converter(served):
    served.hardware.governor.poll()
    assert served.get("/dcdc/get")["param"]["ubv"] == pytest.approx(40.0, abs=0.003)


def test_a_set_is_obeyed_in_the_right_order_every_time(served):
    for _ in range(2):
        served.fake.asked.clear()
        body = served.full("0x0041")
        assert body["status"]["status"] == "0x0041"
        sets = [name for name in served.fake.asked if name.endswith("-4")]
        assert sets == ["4-4", "6-4", "1-4"]
        assert served.full("0x0000")["status"]["operationMode"] == "Waiting"


def test_a_current_alone_and_a_voltage_alone(served):
    assert served.get("/dcdc/set", 400, dig=1)["err"] == "No operationMode"
    served.full("0x0041")
    body = served.get("/dcdc/set", dig=1.5)
    assert set(body) == {"meter", "param"}
    assert body["param"]["dig"] == pytest.approx(1.5, abs=0.001)
    assert (
        set(served.get("/remote/set/voltage", dvg=360))
        == {"status", "meter", "vdis", "param", "powermeter"}
        or True
    )
    assert set(served.get("/dcdc/set", dvg=360, drg=0)) == {"meter", "vdis"}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"mode": "2"}, "bad value: 2"),
        ({"mode": "0x0005"}, "bad value: operation mode: 5"),
        ({"dig": "much"}, "dig is much, it must be a number"),
        ({"dig": "9"}, "grid_current_a is 9 A"),
        ({"dvg": "395"}, "grid_voltage_v is 395 V"),
    ],
)
def test_what_makes_no_sense_is_refused(served, query, said):
    assert said in served.full(**{"mode": "0x0041", "status": 400, **query})["err"]
    assert served.fake.raw["mode"] == 0


def test_what_stopped_meanwhile_is_not_switched_on_by_who_does_not_say_so(served):
    served.full("0x0041")
    order = ConverterOrder(operation=ConverterOperation.MODE, mode=M.WAIT)
    assert served.hardware.handle(order).result(5.0).error is ConverterError.NONE
    served.get("/dcdc/set")
    assert served.fake.raw["mode"] == 0


def test_a_grid_masters_order_is_not_touched_but_by_wait(served):
    order = ConverterOrder(
        operation=ConverterOperation.MODE, mode=M.CHARGE, grid_current_a=1.0, hold_s=9.0, term=3
    )
    assert served.hardware.handle(order).result(5.0).error is ConverterError.NONE
    assert "grid master" in served.full("0x0002", 409)["err"]
    assert served.full("0x0000")["status"]["status"] == "0x0000"


def test_any_request_of_the_client_that_ordered_renews_the_hold_time(served):
    served.full("0x0041")
    before_s = served.hardware.governor.held.deadline_s
    served.get("/dcdc/get/status")
    assert served.hardware.governor.held.deadline_s > before_s


def test_a_monitor_renews_nothing(served):
    served.full("0x0041")
    before_s = served.hardware.governor.held.deadline_s
    for path in ("/dcdc/get/status", "/all/get", "/version/get"):
        served.get(path, headers={"User-Agent": "monitor"})
    assert served.hardware.governor.held.deadline_s == before_s


def test_a_client_that_once_ordered_renews_no_order_of_a_grid_master(served):
    served.full("0x0041")
    wait = ConverterOrder(operation=ConverterOperation.MODE, mode=M.WAIT)
    assert served.hardware.handle(wait).result(5.0).error is ConverterError.NONE
    order = ConverterOrder(
        operation=ConverterOperation.MODE,
        mode=M.DISCHARGE,
        grid_current_a=1.0,
        hold_s=2.0,
        term=7,
        grid_master_id="E002",
        deal_id="deal",
    )
    assert served.hardware.handle(order).result(5.0).error is ConverterError.NONE
    before_s = served.hardware.governor.held.deadline_s
    served.get("/dcdc/get/status")
    assert served.hardware.governor.held.deadline_s == before_s
    assert "grid master" in served.get("/dcdc/set", 409, dig=2)["err"]
    assert served.hardware.governor.deal_id == "deal"


def test_a_client_that_has_died_no_longer_holds_its_converter_on():
    served = Served(hold_s=0.3)
    try:
        served.full("0x0041")
        end_s = time.monotonic() + 20.0
        while served.fake.raw["mode"] != 0:
            assert time.monotonic() < end_s
            time.sleep(0.02)
    finally:
        served.close()


def test_a_device_that_fails_is_no_fault_of_the_caller(served):
    served.fake.garble = lambda _: None
    assert "no answer" in served.full("0x0041", 504)["err"]
    assert served.get("/battery/get", 504)["err"]


def test_a_battery_is_served_as_it_is(served):
    served.hardware.battery_status = BatteryStatus(soc_ratio=0.7, permit=SharingPermit.BOTH)
    assert served.get("/battery/get") == {"rsoc": 70.0, "battery_operation_status": 3}
    both = served.get("/all/get")
    assert set(both) == {"rsoc", "battery_operation_status", "status", "meter", "vdis", "param"}
    assert "battery_voltage" not in served.get("/1/log/data")


def test_all_of_it_without_a_battery_that_answers(served):
    served.hardware.battery_failure = "modbus io exception"
    found = served.get("/all/get")
    assert set(found) == {"battery_err", "status", "meter", "vdis", "param"}
    assert found["battery_err"] == "modbus io exception"


class Ramping:
    """Lets a converter's meter go after its set points, a little with every reading."""

    def __init__(self, fake: FakeEza, volts: float, *, up_to_v: float = 1000.0) -> None:
        self._fake, self._volts, self._amperes, self._most_v = fake, volts, 0.0, up_to_v
        fake.garble_request = self._hear

    def _hear(self, request: bytes) -> bytes:
        if request[4] == table()["10-1"].code:
            held = table()["4-1"].reply.values(self._fake.raw)
            dig = table()["6-1"].reply.values(self._fake.raw)["dig"]
            left_v = min(held["dvg"], self._most_v) - self._volts
            self._volts += max(min(left_v, 4.0), -4.0)
            self._amperes += max(min(dig - self._amperes, 0.2), -0.2)
            self._fake.set(vg=self._volts, ig=self._amperes)
        return request


def test_an_order_is_answered_when_the_converter_is_there(served):
    served.fake.set(vg=310.0)
    Ramping(served.fake, 310.0)
    assert served.full("0x0014", dvg=350)["meter"]["vg"] == pytest.approx(350.0, abs=1.1)
    body = served.get("/dcdc/set", dvg=320, drg=0)
    assert body["meter"]["vg"] == pytest.approx(320.0, abs=1.1)
    served.full("0x0000")
    assert served.full("0x0041", dig=2.0)["meter"]["ig"] == pytest.approx(2.0, abs=0.06)
    assert served.get("/dcdc/set", dig=0.5)["meter"]["ig"] == pytest.approx(0.5, abs=0.06)


def test_our_own_driver_is_answered_at_once_and_looks_itself(served):
    served.fake.set(vg=310.0)
    Ramping(served.fake, 310.0)
    served.full("0x0014", dvg=310)
    device = HttpDcdc(HttpSettings(url=served.url))
    device.http.open()
    device.set_voltage(voltage_v=380.0, droop_ratio=0.0, deadline_s=soon())
    assert device.read_status(soon()).grid_voltage_v < 375.0
    device.close()


def test_a_converter_that_does_not_get_there_is_not_waited_for_for_ever(served):
    served.fake.set(vg=310.0)
    Ramping(served.fake, 310.0, up_to_v=340.0)
    assert served.full("0x0014", dvg=350)["meter"]["vg"] == pytest.approx(340.0, abs=1.1)


def test_the_start_of_a_dead_bus_is_not_waited_for(served):
    served.fake.set(vg=0.0)
    Ramping(served.fake, 0.0)
    body = served.full("0x0014", dvg=350)
    assert body["status"]["status"] == "0x0014"
    assert body["meter"]["vg"] < 200.0


def test_an_order_to_wait_is_answered_with_wait():
    """Where a converter winds down first, the answer waits for the end of that."""
    arrival = Arrival(M.WAIT, 350.0, 0.0)
    on = DcdcStatus(mode=M.VOLTAGE_REFERENCE, grid_voltage_v=200.0, grid_current_a=0.0)
    assert [arrival.is_over(on, now_s) for now_s in (0.0, 0.5, 1.0)] == [False] * 3
    assert arrival.is_over(DcdcStatus(mode=M.WAIT), 1.5)


def test_a_renewal_that_takes_long_keeps_nobody_from_an_answer(served, monkeypatch):
    served.full("0x0041")
    handle = served.hardware.handle

    def slow(order: ConverterOrder) -> Future[ConverterReply]:
        return Future() if order.operation is ConverterOperation.HOLD else handle(order)

    monkeypatch.setattr(http_server, "_RENEW_WAIT_S", 0.01)
    monkeypatch.setattr(served.hardware, "handle", slow)
    assert served.get("/dcdc/get")["status"]["status"] == "0x0041"
    monkeypatch.setattr(http_server, "_WAIT_S", 0.01)
    monkeypatch.setattr(served.hardware, "handle", lambda _: Future())
    assert "has not answered" in served.full("0x0000", 504)["err"]


def test_a_client_that_gives_up_makes_no_noise(served, capfd):
    gone = threading.Event()
    listener = served.server.listener
    answer = listener.answer

    def late(*words: object) -> object:
        assert gone.wait(10.0)
        try:
            return answer(*words)
        finally:
            answered.release()

    answered = threading.Semaphore(0)
    listener.answer = late
    for _ in range(5):
        client = socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2])))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(b"GET /dcdc/get HTTP/1.0\r\n\r\n")
        client.close()
    gone.set()
    for _ in range(5):
        assert answered.acquire(timeout=10.0)
    assert served.get("/dcdc/get")
    assert "Traceback" not in capfd.readouterr().err


def test_orders_may_need_a_token():
    served = Served(token="secret")
    try:
        assert "token" in served.full("0x0041", 401)["err"]
        assert served.get("/dcdc/get")
        headers = {"Authorization": "Bearer secret"}
        query = {"mode": "0x0041", "dvg": 350, "dig": 2}
        assert served.get("/dcdc/set", headers=headers, **query)["status"]["status"] == "0x0041"
        assert served.full("0x0000", token="secret")
    finally:
        served.close()


def test_without_a_token_it_listens_on_this_machine_only():
    with pytest.raises(ValueError, match="token is needed"):
        HttpServerSettings(host="0.0.0.0", port=4380)
