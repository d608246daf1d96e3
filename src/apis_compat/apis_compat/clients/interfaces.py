"""The interfaces themselves: a path and its parameters in, an answer out. No sockets here.

Paths, parameters, keys and status codes are the original's. Its traps are not: a mode that is no
mode is refused, a deal is answered when it was accepted or refused, paths match as a whole.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Protocol

from apis_compat.clients.manual_control import ManualControl, read_wish
from apis_compat.clients.orders import Orders
from apis_compat.clients.schedules import Schedules
from apis_compat.clients.unit_data import MODE_NAMES, converter_data, deals, mode_name, unit_data
from apis_interfaces.action import Interchange
from apis_interfaces.msg import Fault, OperationMode
from apis_ros.grid_listener import GridListener

__all__ = [
    "CLIENT",
    "ApiServer",
    "BudoEmulator",
    "Controller",
    "DealGenerator",
    "EmulatorEmulator",
    "HardwareEmulator",
    "Interface",
    "Reply",
]

Parameters = Mapping[str, str]

CLIENT = ContextVar("CLIENT", default="")  # who asks: its machine, and what it says it is
LOCAL_MODES = ("heteronomous", "stop", "")
LOG_LEVELS = {
    "OFF": "fatal",
    "SEVERE": "error",
    "WARNING": "warn",
    "INFO": "info",
    "CONFIG": "info",
    "FINE": "debug",
    "FINER": "debug",
    "FINEST": "debug",
    "ALL": "debug",
    "": "info",
}
NO_TEST_FEATURE = (
    "testFeature is not there: deals do not fail on demand; break the emulated hardware instead "
    "(apisctl world break)"
)
FORMS = {
    "/deal": ("json",),
    "/error": ("unitId", "category", "extent", "level", "message"),
    "/log": ("handler", "level"),
}


@dataclass(frozen=True)
class Reply:
    """An answer."""

    body: str
    status: int = 200
    media_type: str = "application/json"


def _json(content: object, status: int = 200) -> Reply:
    return Reply(json.dumps(content, ensure_ascii=False) + "\n", status)


def _succeeded(why: str) -> dict[str, Any]:
    return {"succeeded": False, "error": why} if why else {"succeeded": True}


@dataclass(frozen=True)
class Place:
    """Of which grid an interface tells."""

    watch: GridListener
    zone: tzinfo
    cluster: str

    def units(self) -> dict[str, Any]:
        """Unit data."""
        with self.watch.lock:
            return unit_data(self.watch, self.zone, self.cluster)

    def deals(self) -> list[dict[str, Any]]:
        """Deals under way."""
        with self.watch.lock:
            return deals(self.watch, self.zone)


class Interface(Protocol):
    """One port of the original."""

    def answer(self, method: str, path: str, query: Parameters, form: Parameters) -> Reply:
        """Answer a request."""


class EmulatorEmulator:
    """43900: the units' data."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def answer(self, method: str, path: str, query: Parameters, form: Parameters) -> Reply:
        """Only ``/get/log``."""
        if path == "/get/log":
            return _json(self._place.units())
        return _json({"error": f"not found : {path}"}, 404)


class HardwareEmulator:
    """4390: the emulator of the original's page, by which it steers converters by hand."""

    def __init__(self, place: Place, manual_control: ManualControl) -> None:
        self._place = place
        self._manual_control = manual_control

    def answer(self, method: str, path: str, query: Parameters, form: Parameters) -> Reply:
        """``/get/log``, ``/get/<part>/<id>``, and ``/set/dcdc/<id>?mode=&dvg=&dig=[&drg=]``."""
        callback = query.get("callback", "")
        if path == "/get/log":
            return _wrapped(self._place.units(), callback)
        parts = path.strip("/").split("/")
        if len(parts) == 3 and parts[:2] == ["set", "dcdc"]:
            return self.set_converter(parts[2], query)
        if len(parts) == 3 and parts[0] == "get":
            return part_of_unit(self._place, parts[1], parts[2], missing=404)
        return _json({"error": f"not found : {path}"}, 404)

    def set_converter(self, unit_id: str, query: Parameters) -> Reply:
        """Order a converter by hand; answered by its ``dcdc``, with an ``error`` if refused."""
        try:
            why, reading = self._manual_control.order(unit_id, read_wish(query), CLIENT.get())
        except ValueError as error:
            why, reading = str(error), None
        watch = self._place.watch
        with watch.lock:
            reading = reading or watch.converter(unit_id)
        content = {} if reading is None else converter_data(reading)
        callback = query.get("callback", "")
        if why:
            return _wrapped({**content, "error": why}, callback, 409)
        return _wrapped(content, callback)


class BudoEmulator:
    """43830: ids, deals, modes, shutdown."""

    def __init__(self, place: Place, orders: Orders) -> None:
        self._place = place
        self._orders = orders
        self._paths: dict[str, Callable[[Parameters], object]] = {
            "/unitIds": lambda _: list(place.watch.unit_ids),
            "/deals": lambda _: place.deals(),
            "/getStatus": lambda _: self.status(),
            "/active": lambda _: self._switch("autonomous"),
            "/quiet": lambda _: self._switch("heteronomous"),
            "/stop": lambda _: self._switch("stop"),
            "/manual": lambda _: self._switch("manual"),
            "/setOperationMode": self.set_operation_mode,
            "/shutdown": self.shut_down,
        }

    def answer(self, method: str, path: str, query: Parameters, form: Parameters) -> Reply:
        """Changes state on GET, as clients expect."""
        if path not in self._paths:
            return _json({"error": f"not found : {path}"}, 404)
        return _json(self._paths[path]({**query, **form}))

    def status(self) -> dict[str, Any]:
        """Whether deals are possible: a mode that has some, and a grid master without a fault."""
        watch = self._place.watch
        with watch.lock:
            master, mode = watch.grid_master(), mode_name(watch.global_mode())
            if master is None:
                return {"active": False, "error": "there is no grid master"}
            is_active = mode in ("autonomous", "heteronomous") and not master.fault_codes
        return {"active": is_active}

    def set_operation_mode(self, parameters: Parameters) -> dict[str, Any]:
        """``/setOperationMode?value=&unitId=``."""
        value, unit_id = parameters.get("value", ""), parameters.get("unitId", "")
        known = LOCAL_MODES if unit_id else tuple(MODE_NAMES)
        if value not in known:
            right = ", ".join(name or "empty" for name in known)
            return _succeeded(f"value is {value!r}, must be one of {right}")
        mode = MODE_NAMES.get(value, OperationMode.MODE_UNSET)
        return _succeeded(self._orders.set_mode(mode, unit_id))

    def shut_down(self, parameters: Parameters) -> dict[str, Any]:
        """``/shutdown?unitId=``: a unit, or all."""
        return _succeeded(self._orders.shut_down(parameters.get("unitId", "")))

    def _switch(self, name: str) -> dict[str, Any]:
        why = self._orders.set_mode(MODE_NAMES[name])
        return {"active": False, "error": why} if why else self.status()


class ApiServer:
    """9999: a deal, a fault, a log level; GET shows a form."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    def answer(self, method: str, path: str, query: Parameters, form: Parameters) -> Reply:
        """Text for programs, forms for people."""
        if path not in FORMS:
            return Reply("", 404, "text/plain")
        if method == "GET":
            return Reply(_form(path), 200, "text/html")
        if method != "POST":
            return Reply("", 405, "text/plain")
        for field in FORMS[path]:
            if field not in form and (path, field) != ("/log", "level"):
                return _text(f"{field} is missing", 500)
        return {"/deal": self._deal, "/error": self._error, "/log": self._log}[path](form)

    def _deal(self, form: Parameters) -> Reply:
        try:
            wish = json.loads(form["json"])
            requester, goal = _goal(wish)
        except (ValueError, ArithmeticError, TypeError, LookupError, RuntimeError) as error:
            return _text(f"illegal json format : {_why(error)}", 500)
        if wish.get("testFeature"):
            return _text(f"deal refused : {NO_TEST_FEATURE}", 409)
        why = self._orders.make_deal(requester, goal)
        if why:
            return _text(f"deal refused : {why}", 409)
        return _text(f"requesting deal creation : {json.dumps(wish)} ...")

    def _error(self, form: Parameters) -> Reply:
        def word(field: str, prefix: str) -> int:
            return int(getattr(Fault, f"{prefix}_{form[field].upper()}", 0))

        if why := self._orders.unknown(form["unitId"]):
            return _text(why, 500)
        fault = Fault(
            unit_id=form["unitId"],
            category=word("category", "CATEGORY"),
            extent=word("extent", "EXTENT"),
            level=word("level", "LEVEL"),
            code="reported_by_operator",
            message=form["message"],
        )
        self._orders.report_fault(fault)
        kind = ":".join(form[field] for field in ("category", "extent", "level", "unitId"))
        return _text(f"publishing error : ({kind}) {form['message']} ...")

    def _log(self, form: Parameters) -> Reply:
        level = form.get("level", "")
        if form["handler"] != "Multicast":
            return _text(f"handler is {form['handler']!r}, must be Multicast", 500)
        if level not in LOG_LEVELS:
            return _text(f"level is {level!r}, must be one of {', '.join(LOG_LEVELS)}", 500)
        why = self._orders.set_log_level(LOG_LEVELS[level])
        if why:
            return _text(why, 500)
        return _text(f"publishing new multicast log level : {level} ...")


class DealGenerator:
    """9998: the older twin of ``9999 /deal``."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    def answer(self, method: str, path: str, query: Parameters, form: Parameters) -> Reply:
        """Only ``/deal``."""
        if path != "/deal":
            return Reply("", 404, "text/plain")
        return self._api.answer(method, path, query, form)


class Controller:
    """The main controller's own HTTP interface: what its page asks of its server."""

    def __init__(
        self,
        place: Place,
        orders: Orders,
        budo: BudoEmulator,
        hardware: HardwareEmulator,
        schedules: Schedules,
    ) -> None:
        self._place = place
        self._hardware = hardware
        self._orders = orders
        self._budo = budo
        self._schedules = schedules

    def answer(self, method: str, path: str, query: Parameters, form: Parameters) -> Reply:
        """Answer as its server did."""
        parts = path.strip("/").split("/")
        if path in ("/get/dealsInfo", "/get/globalmode"):
            content = self._place.deals() if path == "/get/dealsInfo" else self._budo.status()
            return _wrapped(content, query.get("callback", ""))
        if len(parts) == 3 and parts[0] == "get":
            return part_of_unit(self._place, parts[1], parts[2])
        if len(parts) == 3 and parts[:2] == ["set", "dcdc"]:
            return self._hardware.set_converter(parts[2], query)
        match path:
            case "/get/logInfo" | "/flushCache":
                return _json(self._place.units())
            case "/schedules":
                return _json(self._schedules.all())
            case "/setSchedule":
                return self._set_schedule(query)
            case "/setOperationMode":
                return _json(self._budo.set_operation_mode(query))
            case "/shutDown":
                return _json(self._budo.shut_down(query))
            case "/stopAll":
                return self._stop_all()
        return _json({"error": f"not found : {path}"}, 404)

    def _set_schedule(self, query: Parameters) -> Reply:
        unit_id, due = query.get("unitId", ""), query.get("value")
        why = self._orders.unknown(unit_id) if unit_id else ""
        if query.get("operation") != "softStop":
            why = f"operation is {query.get('operation')!r}, must be softStop"
        if why:
            return _json({"error": why})
        try:
            self._schedules.set(unit_id, due)
        except ValueError as error:
            return _json({"error": f"value: {error}"})
        return Reply("")

    def _stop_all(self) -> Reply:
        if self._budo.status()["active"]:
            why = self._orders.set_mode(OperationMode.MODE_FORCE_STOP)
        else:
            why = self._orders.wait()
        return _json({"error": why}, 500) if why else _json({"stopAll": "done."})


def part_of_unit(place: Place, part: str, unit_id: str, missing: int = 200) -> Reply:
    """A part of a unit's data; a page of the original wants 200 for a unit that is not there."""
    unit = place.units().get(unit_id)
    if unit is None:
        return _json({"error": f"unit {unit_id} is not known"}, missing)
    parts = {
        "unit": unit,
        "dcdc": unit["dcdc"],
        "meter": unit["dcdc"]["meter"],
        "emu": unit.get("emu", {}),
        "oesunit": unit["oesunit"],
    }
    return _json(parts[part]) if part in parts else _json({"error": f"no {part}"}, 404)


def _goal(wish: Any) -> tuple[str, Interchange.Goal]:
    """Who is to ask, and for what."""
    requester, peer = str(wish["requestUnitId"]), str(wish["acceptUnitId"])
    is_charge = wish.get("chargeUnitId", "") == requester or wish.get("type") == "charge"
    if wish.get("dischargeUnitId") == requester:
        is_charge = False
    goal = Interchange.Goal(
        peer_unit_id=peer,
        type=Interchange.Goal.TYPE_CHARGE if is_charge else Interchange.Goal.TYPE_DISCHARGE,
        energy_wh=float(wish.get("dealAmountWh", 100.0)),
        current_a=float(wish.get("dealGridCurrentA", float("nan"))),
        price_point_per_wh=float(wish.get("pointPerWh", float("nan"))),
    )
    return requester, goal


def _why(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _text(words: str, status: int = 200) -> Reply:
    return Reply(words, status, "text/plain")


def _wrapped(content: object, callback: str, status: int = 200) -> Reply:
    """JSON, or a call of the function that a page names (a script must be 200 to be run)."""
    if not callback:
        return _json(content, status)
    if not callback.replace("_", "").replace(".", "").isalnum():
        return _json({"error": "callback must be a name"}, 400)
    return Reply(f"{callback}({json.dumps(content)})", 200, "application/javascript")


def _form(path: str) -> str:
    fields = "".join(
        f"<p><label>{html.escape(field)} <input name='{html.escape(field)}'></label></p>"
        for field in FORMS[path]
    )
    return f"<form method='post' action='{path}'>{fields}<button>Send</button></form>"
