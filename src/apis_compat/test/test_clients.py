"""The original's HTTP interfaces: what clients of apis-web and of the main controller depend on.

`UNIT` and `DEAL` are examples of what the original answers; keys, kinds of values and traps come
from its programs and from what its page breaks without.
"""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

pytest.importorskip("apis_interfaces.msg", reason="needs the ROS environment")
httpx = pytest.importorskip("httpx")

from builtin_interfaces.msg import Time  # noqa: E402
from sensor_msgs.msg import BatteryState  # noqa: E402

from apis_compat.clients.interfaces import (  # noqa: E402
    CLIENT,
    ApiServer,
    BudoEmulator,
    Controller,
    DealGenerator,
    EmulatorEmulator,
    HardwareEmulator,
    Place,
)
from apis_compat.clients.manual_control import Limits, ManualControl  # noqa: E402
from apis_compat.clients.schedules import Schedules  # noqa: E402
from apis_compat.clients.server import Servers  # noqa: E402
from apis_interfaces.action import Interchange  # noqa: E402
from apis_interfaces.msg import (  # noqa: E402
    ConverterState,
    Deal,
    Fault,
    HouseState,
    OperationMode,
    UnitStatus,
)
from apis_ros.grid_listener import GridListener  # noqa: E402

UNIT = json.loads("""
{"apis": {"version": "3.0.0", "remaining_capacity_wh": 1689, "deal_interlock_capacity": 2, "is_grid_master": true,
          "deal_id_list": ["d3b07384-d113-4956-a5cc-9f2f2a5f0001"],
          "operation_mode": {"global": "autonomous", "local": null, "effective": "autonomous"}},
 "oesunit": {"communityId": "oss_community", "clusterId": "oss_cluster", "id": "E001", "display": "house1", "sn": "1",
             "budo": "1", "ip": "192.168.0.1", "ipv6_ll": "NA", "ipv6_g": "NA", "mac": "02:00:00:00:00:01"},
 "battery": {"rsoc": 35.2, "battery_operation_status": 3},
 "dcdc": {"status": {"status": "0x0014", "alarmState": "No alarm", "operationMode": "Grid Autonomy"},
          "meter": {"vg": 350.0, "ig": 1.0, "wg": 350.0, "vb": 48, "ib": 6.15, "wb": 295.0, "tmp": 26.59},
          "vdis": {"dvg": 350.0, "drg": 0.0}, "param": {"dig": 2.3},
          "powermeter": {"p1": 0.0, "p2": 57, "v1": 206.1, "i1": 0, "kwh1": 0, "kwh2": 0}},
 "emu": {"charge_discharge_power": 120.4, "rsoc": 35.2, "battery_rsoc": 34, "battery_voltage": 52.1, "battery_current": 2.5,
         "pvc_charge_voltage": 0.28, "pvc_charge_current": 0, "pvc_charge_power": 1000.5, "ups_input_voltage": 102.8,
         "ups_output_voltage": 102.8, "ups_output_current": 11.7, "ups_output_power": 450.2, "ups_output_frequency": 60,
         "ups_operation_mode": {"mode": 2, "parameter": 80, "stop_mode": 2}, "ups_operation_schedule": 1,
         "system_time": {"year": 2014, "month": 12, "day": 20, "hour": 23, "minute": 5},
         "dischargeable_time": {"hour": 0, "minute": 0}},
 "time": "2026/11/22-21:05:04"}
""")  # noqa: E501
DEAL = json.loads("""
{"chargingUnit": "E001", "dischargingUnit": "E002", "isMasterDeal": true, "request": "CHARGE",
 "requester": "E001", "responder": "E002", "startTime": "2026/11/22-21:00:05"}
""")
POSTED = json.loads("""
{"createDateTime": "2020/05/13-09:46:48", "type": "discharge", "unitId": "E001",
 "requestUnitId": "E001", "acceptUnitId": "E002",
 "dischargeUnitId": "E001", "chargeUnitId": "E002",
 "dealGridCurrentA": 2, "dealAmountWh": 100, "pointPerWh": 10,
 "dischargeUnitEfficientGridVoltageV": 330,
 "chargeUnitEfficientGridVoltageV": 330, "testFeature": {}}
""")
EVENING = Time(sec=1_795_349_104)  # 2026-11-22 21:05:04 in Tokyo
NAN = float("nan")
WAIT = ConverterState.MODE_WAIT


class FakeOrders:
    """Notes what it is told, and refuses with a reason if it has one."""

    def __init__(self) -> None:
        self.log: list[tuple[object, ...]] = []
        self.why = ""

    def unknown(self, unit_id: str) -> str:
        return "" if unit_id in ("E001", "E002") else f"unit {unit_id} is not one of E001, E002"

    def set_mode(self, mode: int, unit_id: str = "") -> str:
        return self._note("mode", mode, unit_id)

    def shut_down(self, unit_id: str = "") -> str:
        return self._note("shut down", unit_id)

    def set_log_level(self, level: str) -> str:
        return self._note("log", level)

    def wait(self, unit_id: str = "") -> str:
        return self._note("wait", unit_id)

    def make_deal(self, requester: str, goal: Interchange.Goal) -> str:
        return self._note("deal", requester, goal)

    def report_fault(self, fault: Fault) -> None:
        self._note("fault", fault)

    def command(self, unit_id: str, request: object) -> tuple[str, ConverterState | None]:
        return self._note("command", unit_id, request), None

    def renew(self, unit_id: str, request: object, lost: object) -> None:
        self._note("renew", unit_id, request)
        self.lost = lost

    def _note(self, *words: object) -> str:
        self.log.append(words)
        return self.why


class Web:
    """All interfaces on a grid that says what it is told to."""

    def __init__(self, tmp_path) -> None:
        self._heard = {}
        node = SimpleNamespace(
            create_subscription=lambda _kind, topic, hear, _qos: self._heard.update({topic: hear})
        )
        place = Place(GridListener(node, ("E001", "E002")), ZoneInfo("Asia/Tokyo"), "village")
        self.orders = FakeOrders()
        self.schedules = Schedules(tmp_path / "schedules.json")
        budo = BudoEmulator(place, self.orders)
        limits = Limits((300.0, 380.0), {"E001": 2.3, "E002": 2.3})
        self.manual_control = ManualControl(place.watch, self.orders, limits)
        hardware = HardwareEmulator(place, self.manual_control)
        api = ApiServer(self.orders)
        self.interfaces = {
            "hardware": hardware,
            "generator": DealGenerator(api),
            "budo": budo,
            "emulator": EmulatorEmulator(place),
            "api": api,
            "controller": Controller(place, self.orders, budo, hardware, self.schedules),
        }

    def hear(self, topic: str, message: object) -> None:
        self._heard[topic](message)

    def ask(self, interface: str, path: str, form=None, **query: str) -> object:
        """Status 200, and the JSON of the answer."""
        reply = self.reply(interface, path, form, **query)
        assert reply.status == 200, reply
        return json.loads(reply.body)

    def reply(self, interface: str, path: str, form=None, **query: str) -> object:
        method = "GET" if form is None else "POST"
        return self.interfaces[interface].answer(method, path, query, form or {})


@pytest.fixture
def web(tmp_path) -> Web:
    return Web(tmp_path)


@pytest.fixture
def on_grid(web) -> Web:
    """E001 is the grid master, holds the voltage and charges 1 A of a deal; E002 is silent."""
    reading = ConverterState(
        unit_id="E001",
        mode=ConverterState.MODE_VOLTAGE_REFERENCE,
        alarm=ConverterState.ALARM_NONE,
        grid_voltage_v=350.0,
        grid_current_a=1.0,
        grid_power_w=350.0,
        battery_power_w=295.0,
        converter_temp_degc=26.59,
        grid_voltage_setpoint_v=350.0,
        grid_current_setpoint_a=2.3,
    )
    status = UnitStatus(
        unit_id="E001",
        stamp=EVENING,
        soc_ratio=0.352,
        remaining_wh=1689.6,
        slot_capacity=2,
        is_grid_master=True,
        deal_ids=["d3b07384"],
        converter=reading,
        global_mode=OperationMode.MODE_RUN,
        effective_mode=OperationMode.MODE_RUN,
    )
    house = HouseState(solar_power_w=1000.5, load_power_w=450.2, battery_power_w=120.4)
    deal = Deal(
        deal_id="d3b07384",
        state=Deal.STATE_RUNNING,
        request_unit_id="E001",
        accept_unit_id="E002",
        charge_unit_id="E001",
        discharge_unit_id="E002",
        voltage_reference_id="E001",
        created_at=Time(sec=EVENING.sec - 299),
    )
    web.hear("e001/status", status)
    web.hear("e001/house_state", house)
    web.hear("e001/battery_state", BatteryState(voltage=52.1, current=2.5))
    web.hear("deals", deal)
    return web


def kinds(value: object) -> object:
    """Keys and kinds of values: whole or not, a number is a number."""
    if isinstance(value, dict):
        return {key: kinds(part) for key, part in value.items()}
    if isinstance(value, list):
        return [kinds(part) for part in value]
    return (
        "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value)
    )


def test_a_unit_has_every_key_and_kind_of_value_that_the_original_has(on_grid):
    units = on_grid.ask("emulator", "/get/log")

    assert list(units) == ["E001"]
    assert kinds(units["E001"]) == kinds(UNIT)
    for part in ("status", "vdis", "param"):
        assert units["E001"]["dcdc"][part] == UNIT["dcdc"][part]
    assert units["E001"]["apis"]["operation_mode"] == UNIT["apis"]["operation_mode"]
    assert units["E001"]["battery"] == UNIT["battery"]
    assert units["E001"]["time"] == UNIT["time"]
    assert units["E001"]["emu"]["ups_output_power"] == 450.2


def test_a_unit_that_is_nobody_special_leaves_keys_out_and_says_null(on_grid):
    status = UnitStatus(unit_id="E002", effective_mode=OperationMode.MODE_FORCE_STOP)
    status.local_mode = OperationMode.MODE_FORCE_STOP
    on_grid.hear("e002/status", status)
    unit = on_grid.ask("emulator", "/get/log")["E002"]

    assert not {"is_grid_master", "deal_id_list"} & unit["apis"].keys()
    assert unit["apis"]["operation_mode"] == {"global": None, "local": "stop", "effective": "stop"}
    assert unit["oesunit"]["budo"] == "0"
    assert "emu" not in unit  # nobody measures the house, as with the original's real driver
    assert unit["dcdc"]["status"]["status"] == "unknown"


def test_what_is_not_known_is_not_made_up(on_grid):
    reading = ConverterState(
        unit_id="E001",
        mode=ConverterState.MODE_UNKNOWN,
        alarm=ConverterState.ALARM_UNKNOWN,
        grid_voltage_v=NAN,
        grid_current_a=1.25,
        grid_current_setpoint_a=NAN,
    )
    on_grid.hear("e001/converter_state", reading)
    status = UnitStatus(unit_id="E001", soc_ratio=NAN, remaining_wh=NAN)
    on_grid.hear("e001/status", status)
    on_grid.hear("e001/house_state", HouseState(load_power_w=NAN))
    unit = on_grid.ask("emulator", "/get/log")["E001"]

    assert unit["dcdc"]["status"] == dict.fromkeys(
        ("status", "alarmState", "operationMode"), "unknown"
    )
    assert (unit["dcdc"]["meter"]["vg"], unit["dcdc"]["meter"]["ig"]) == (None, 1.25)
    assert unit["dcdc"]["param"]["dig"] is None
    assert unit["battery"]["rsoc"] is None
    assert unit["apis"]["remaining_capacity_wh"] is None
    assert "emu" not in unit  # its page stops at a power that is none, and not without the part


def test_the_second_power_meter_has_the_mains_and_the_first_the_load(on_grid):
    on_grid.hear("e001/house_state", HouseState(load_power_w=450.0, mains_power_w=57.0))
    meter = on_grid.ask("emulator", "/get/log")["E001"]["dcdc"]["powermeter"]

    assert (meter["p1"], meter["p2"], meter["i1"]) == (450.0, 57.0, 2.25)


def test_a_deal_has_the_seven_keys(on_grid):
    assert on_grid.ask("budo", "/deals") == [DEAL]


def test_without_data_reading_still_works(web):
    assert web.ask("budo", "/unitIds") == ["E001", "E002"]
    assert web.ask("budo", "/deals") == []
    assert web.ask("emulator", "/get/log") == {}
    assert web.ask("budo", "/getStatus") == {"active": False, "error": "there is no grid master"}


def test_the_cluster_is_active_in_a_mode_with_deals_and_under_a_sound_grid_master(on_grid):
    assert on_grid.ask("budo", "/getStatus") == {"active": True}
    status = UnitStatus(unit_id="E001", is_grid_master=True, global_mode=OperationMode.MODE_RUN)
    status.fault_codes = ["over_temperature"]
    on_grid.hear("e001/status", status)
    assert on_grid.ask("budo", "/getStatus") == {"active": False}


@pytest.mark.parametrize(
    ("path", "query", "said"),
    [
        ("/setOperationMode", {"value": "heteronomous"}, ("mode", 2, "")),
        ("/setOperationMode", {"value": "stop", "unitId": "E002"}, ("mode", 3, "E002")),
        ("/setOperationMode", {"value": "", "unitId": "E002"}, ("mode", 0, "E002")),
        ("/manual", {}, ("mode", 4, "")),
        ("/quiet", {}, ("mode", 2, "")),
        ("/shutdown", {"unitId": "E001"}, ("shut down", "E001")),
        ("/shutdown", {}, ("shut down", "")),
    ],
)
def test_orders(on_grid, path, query, said):
    reply = on_grid.ask("budo", path, **query)

    assert on_grid.orders.log == [said]
    assert reply in ({"succeeded": True}, {"active": True})


@pytest.mark.parametrize("query", [{"value": "party"}, {}, {"value": "manual", "unitId": "E001"}])
def test_a_mode_that_is_none_does_not_succeed(on_grid, query):
    reply = on_grid.ask("budo", "/setOperationMode", **query)

    assert reply["succeeded"] is False
    assert "must be one of" in reply["error"]
    assert on_grid.orders.log == []


def test_a_refusal_is_passed_on(on_grid):
    on_grid.orders.why = "E001: only in effective mode MANUAL"

    reply = on_grid.ask("budo", "/shutdown")
    assert reply == {"succeeded": False, "error": "E001: only in effective mode MANUAL"}


@pytest.mark.parametrize("interface", ["budo", "emulator"])
def test_other_paths_are_not_found(web, interface):
    reply = web.reply(interface, "/deals2")

    assert (reply.status, json.loads(reply.body)) == (404, {"error": "not found : /deals2"})


def test_the_tester_posts_a_deal(web):
    reply = web.reply("api", "/deal", {"json": json.dumps(POSTED)})

    assert (reply.status, reply.media_type) == (200, "text/plain")
    assert reply.body.startswith("requesting deal creation : {")
    _, requester, goal = web.orders.log[0]
    assert (requester, goal.peer_unit_id, goal.type) == ("E001", "E002", goal.TYPE_DISCHARGE)
    assert (goal.energy_wh, goal.current_a, goal.price_point_per_wh) == (100.0, 2.0, 10.0)


def test_a_deal_that_is_refused_or_none_is_no_success(web):
    web.orders.why = "E002: all slots are taken"
    refused = web.reply("api", "/deal", {"json": json.dumps(POSTED)})
    broken = [web.reply("api", "/deal", {"json": text}) for text in ("{", "[]", "{}")]

    assert (refused.status, refused.body) == (409, "deal refused : E002: all slots are taken")
    assert [reply.status for reply in broken] == [500, 500, 500]
    assert all(reply.body.startswith("illegal json format : ") for reply in broken)


def test_errors_and_log_levels(web):
    fields = {"unitId": "E001", "category": "HARDWARE", "extent": "LOCAL", "level": "WARN"}
    error = web.reply("api", "/error", {**fields, "message": "fan"})
    logged = web.reply("api", "/log", {"handler": "Multicast", "level": "FINE"})
    wrong = [
        web.reply("api", "/error", fields),
        web.reply("api", "/log", {"handler": "File", "level": "FINE"}),
        web.reply("api", "/log", {"handler": "Multicast", "level": "LOUD"}),
    ]

    assert error.body == "publishing error : (HARDWARE:LOCAL:WARN:E001) fan ..."
    fault = web.orders.log[0][1]
    assert (fault.unit_id, fault.category, fault.level) == (
        "E001",
        Fault.CATEGORY_HARDWARE,
        Fault.LEVEL_WARN,
    )
    assert logged.body == "publishing new multicast log level : FINE ..."
    assert web.orders.log[1] == ("log", "debug")
    assert [reply.status for reply in wrong] == [500, 500, 500]


def test_the_main_controllers_page_finds_what_it_asks_for(on_grid):
    ask = on_grid.ask

    assert ask("controller", "/get/logInfo") == ask("emulator", "/get/log")
    assert ask("controller", "/get/meter/E001")["vg"] == 350.0
    assert ask("controller", "/get/unit/E001", urgent="true")["oesunit"]["id"] == "E001"
    assert "error" in ask("controller", "/get/unit/E009")
    assert ask("controller", "/get/dealsInfo") == [DEAL]
    assert on_grid.reply("controller", "/get/globalmode", callback="f").body == (
        'f({"active": true})'
    )
    assert on_grid.reply("controller", "/get/globalmode", callback="alert(1);f").status == 400


def test_stop_all_changes_the_mode_of_an_active_cluster_and_else_stops_converters(on_grid):
    assert on_grid.ask("controller", "/stopAll") == {"stopAll": "done."}
    on_grid.hear("e001/status", UnitStatus(unit_id="E001", global_mode=OperationMode.MODE_MANUAL))
    assert on_grid.ask("controller", "/stopAll") == {"stopAll": "done."}

    assert on_grid.orders.log == [("mode", OperationMode.MODE_FORCE_STOP, ""), ("wait", "")]


@pytest.fixture
def in_manual(web) -> Web:
    """E001 holds the voltage, E002 waits; both in Manual."""
    for unit_id, mode in (("E001", ConverterState.MODE_VOLTAGE_REFERENCE), ("E002", WAIT)):
        reading = ConverterState(unit_id=unit_id, mode=mode, grid_voltage_v=350.0, term=4)
        web.hear(f"{unit_id.lower()}/status", UnitStatus(
            unit_id=unit_id, converter=reading, term=7, effective_mode=OperationMode.MODE_MANUAL
        ))  # fmt: skip
        web.hear(f"{unit_id.lower()}/converter_state", reading)
    return web


def steer(web: Web, unit_id: str, mode: str, dig: object = 2, dvg: object = 350, **more: str):
    path = f"/set/dcdc/{unit_id}"
    return web.reply("hardware", path, mode=mode, dvg=str(dvg), dig=str(dig), **more)


def test_converters_are_steered_by_hand_in_manual(in_manual):
    reply = steer(in_manual, "E002", "0x0041", dig=1.5)
    assert reply.status == 200
    assert set(json.loads(reply.body)) == {"status", "meter", "vdis", "param"}
    (_, unit_id, order), *_ = in_manual.orders.log
    assert (unit_id, order.operation, order.mode) == (
        *("E002", order.OPERATION_MODE, ConverterState.MODE_CHARGE),
    )
    assert (order.grid_current_a, order.hold_s, order.term) == (1.5, 5.0, 7)
    assert steer(in_manual, "E001", "0x0014", dvg=340).status == 200
    order = in_manual.orders.log[-1][2]
    assert (order.operation, order.grid_voltage_v) == (order.OPERATION_VOLTAGE, 340.0)
    assert math.isnan(order.grid_current_a)
    called = steer(in_manual, "E002", "0x0041", callback="f")
    assert called.body.startswith('f({"status"')
    assert in_manual.reply("controller", "/set/dcdc/E002", mode="0x0000").status == 200
    assert in_manual.orders.log[-1] == ("wait", "E002")


@pytest.mark.parametrize(
    ("unit_id", "mode", "numbers", "said"),
    [
        ("E002", "0x0041", {"dig": 2.4}, "E002 may carry at most 2.3 A"),
        ("E002", "0x0002", {"dig": -1}, "dig is '-1', must be a number of at least 0"),
        ("E002", "0x0002", {"dig": "NaN"}, "dig is 'NaN'"),
        ("E002", "0x0014", {}, "E001 holds the voltage already"),
        ("E001", "0x0014", {"dvg": 390}, "E001 may hold 300 to 380 V"),
        ("E001", "0x0041", {}, "no other converter holds the voltage"),
        ("E002", "0x0005", {}, "mode is '0x0005', must be one of 0x0000, 0x0014"),
        ("E009", "0x0041", {}, "unit E009 is not one of E001, E002"),
    ],
)
def test_what_the_site_does_not_allow_is_refused(in_manual, unit_id, mode, numbers, said):
    reply = steer(in_manual, unit_id, mode, **numbers)
    assert reply.status == 409
    assert said in json.loads(reply.body)["error"]
    assert in_manual.orders.log == []


def test_out_of_manual_a_converter_can_only_be_stopped(in_manual):
    status = UnitStatus(unit_id="E001", effective_mode=OperationMode.MODE_RUN)
    in_manual.hear("e001/status", status)
    refused = json.loads(steer(in_manual, "E002", "0x0041").body)
    assert refused["error"] == "E001: not in Manual; the whole cluster must be"
    assert refused["status"]["operationMode"] == "Waiting"  # so that a page can go on
    assert steer(in_manual, "E002", "0x0000").status == 200
    assert in_manual.orders.log == [("wait", "E002")]


def test_who_has_switched_a_converter_on_holds_it_by_going_on_to_ask(in_manual, monkeypatch):
    now_s = 100.0
    monkeypatch.setattr("apis_compat.clients.manual_control.time.monotonic", lambda: now_s)
    monkeypatch.setattr(in_manual.manual_control._watch, "age_s", lambda _unit_id: 0.0)
    CLIENT.set("page")
    steer(in_manual, "E002", "0x0041")
    in_manual.orders.log.clear()
    in_manual.manual_control.hear("page")
    now_s += 1.0
    in_manual.manual_control.hear("monitor")
    assert in_manual.orders.log == []
    in_manual.manual_control.hear("page")
    (_, unit_id, order), *_ = in_manual.orders.log
    assert (unit_id, order.operation) == ("E002", order.OPERATION_HOLD)
    in_manual.orders.lost()  # it is off by now
    now_s += 1.0
    in_manual.manual_control.hear("page")
    assert len(in_manual.orders.log) == 1


def test_what_is_held_ends_with_manual(in_manual, monkeypatch):
    monkeypatch.setattr("apis_compat.clients.manual_control.RENEW_S", 0.0)
    steer(in_manual, "E002", "0x0041")
    in_manual.orders.log.clear()
    in_manual.manual_control.hear(CLIENT.get())
    assert len(in_manual.orders.log) == 1
    in_manual.hear("e001/status", UnitStatus(effective_mode=OperationMode.MODE_SOFT_STOP))
    in_manual.manual_control.hear(CLIENT.get())
    assert len(in_manual.orders.log) == 1


def test_the_sum_of_currents_is_no_more_than_the_reference_can_carry(in_manual, monkeypatch):
    monkeypatch.setitem(in_manual.manual_control._limits.current_a, "E002", 5.0)
    reply = steer(in_manual, "E002", "0x0041", dig=3)
    assert "E001 would have to carry 3 A, at most 2.3 A" in json.loads(reply.body)["error"]


def test_the_older_twin_of_the_deal_form_answers_too(web):
    posted = {"json": json.dumps(POSTED)}
    assert web.reply("generator", "/deal", posted) == web.reply("api", "/deal", posted)
    assert web.reply("generator", "/error", {}).status == 404


def test_a_deal_that_is_to_fail_on_demand_is_refused(web):
    wish = {**POSTED, "testFeature": {"failBeforeStart": True}}
    for interface in ("api", "generator"):
        reply = web.reply(interface, "/deal", {"json": json.dumps(wish)})
        assert (reply.status, reply.body.partition(" is not there")[0]) == (
            *(409, "deal refused : testFeature"),
        )
    assert web.orders.log == []


def test_a_schedule_is_kept_over_a_restart_and_fires_once(web, tmp_path):
    due = "2026-11-22T21:09:00+09:00"
    web.reply("controller", "/setSchedule", operation="softStop", unitId="E001", value=due)
    bad = web.ask("controller", "/setSchedule", operation="softStop", value="tomorrow")
    assert "error" in bad
    assert web.ask("controller", "/schedules") == {"E001": {"softStop": due}}

    fired: list[str] = []
    again = Schedules(tmp_path / "schedules.json")
    for late_s in (-1.0, 0.0, 1.0):
        again.fire(1_795_349_340 + late_s, fired.append)
    assert fired == ["E001"]
    assert again.all() == {}


def test_over_http_on_every_port(on_grid):
    servers = Servers("127.0.0.1", {0: on_grid.interfaces["budo"]})
    servers.start()
    try:
        base = f"http://127.0.0.1:{servers.ports[0]}"
        deals = httpx.get(f"{base}/deals")
        mode = httpx.get(f"{base}/setOperationMode?unitId=E002&value=")
        missing = httpx.get(f"{base}/x")
        large = httpx.post(f"{base}/deals", content=b"x" * 100_000)
    finally:
        servers.stop()

    assert deals.json() == [DEAL]
    assert deals.headers["content-type"] == "application/json"
    assert deals.text.endswith("\n")
    assert (mode.json(), on_grid.orders.log) == ({"succeeded": True}, [("mode", 0, "E002")])
    assert (missing.status_code, large.status_code) == (404, 413)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{base}/deals")
