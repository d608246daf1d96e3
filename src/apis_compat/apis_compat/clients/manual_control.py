"""Converters by hand, for clients of the original: allowed in Manual, within the site's limits.

Such a client orders once. Somebody must hold what is on: as long as the same client goes on asking
for data (the original's page server does every second), its orders are renewed here. A client that
has gone, or this process: the drivers' hold times end it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from apis_interfaces.msg import ConverterState, OperationMode
from apis_interfaces.srv import ConverterCommand
from apis_ros.grid_listener import GridListener

__all__ = ["HOLD_S", "Commander", "Limits", "ManualControl", "Wish", "read_wish"]

HOLD_S = 5.0
RENEW_S = 1.0
SILENT_S = 10.0  # a unit that has not spoken for so long is steered by nobody
WAIT, REFERENCE = ConverterState.MODE_WAIT, ConverterState.MODE_VOLTAGE_REFERENCE
CHARGE, DISCHARGE = ConverterState.MODE_CHARGE, ConverterState.MODE_DISCHARGE
CODES = {"0x0000": WAIT, "0x0014": REFERENCE, "0x0002": DISCHARGE, "0x0041": CHARGE}
Request = ConverterCommand.Request


@dataclass(frozen=True)
class Limits:
    """What may be ordered by hand.

    Attributes:
        voltage_v: Of the policy: lowest and highest; None = it is not known here.
        current_a: Of each unit's hwConfig.
    """

    voltage_v: tuple[float, float] | None
    current_a: Mapping[str, float]


@dataclass(frozen=True)
class Wish:
    """What a client wants of a converter."""

    mode: int
    voltage_v: float
    current_a: float
    droop_ratio: float = 0.0


class Commander(Protocol):
    """Sends orders to drivers."""

    def wait(self, unit_id: str = "") -> str:
        """See :class:`apis_compat.clients.orders.Orders`."""

    def command(self, unit_id: str, request: Any) -> tuple[str, ConverterState | None]:
        """Order a converter; gives why it does not obey, or nothing, and its reading after it."""

    def renew(self, unit_id: str, request: Any, lost: Callable[[], None]) -> None:
        """Send a renewal and wait for nothing; `lost` is called if it is refused."""


def read_wish(query: Mapping[str, str]) -> Wish:
    """The parameters of ``/set/dcdc``.

    Raises:
        ValueError: One is missing or wrong; the text says which and what would be right.
    """
    code = query.get("mode", "")
    if code not in CODES:
        raise ValueError(f"mode is {code!r}, must be one of {', '.join(CODES)}")
    numbers = {}
    for name in ("dvg", "dig", "drg"):
        text = query.get(name, "0" if name == "drg" or CODES[code] == WAIT else "")
        try:
            numbers[name] = float(text)
        except ValueError:
            numbers[name] = math.nan
        if not (math.isfinite(numbers[name]) and numbers[name] >= 0.0):
            raise ValueError(f"{name} is {text!r}, must be a number of at least 0")
    return Wish(CODES[code], numbers["dvg"], numbers["dig"], numbers["drg"])


class ManualControl:
    """Passes on what clients order by hand.

    Args:
        watch: What the grid says.
        orders: Sends orders.
        limits: What may be ordered.
    """

    def __init__(self, watch: GridListener, orders: Commander, limits: Limits) -> None:
        self._watch = watch
        self._orders = orders
        self._limits = limits
        self._lock = threading.Lock()
        self._held: dict[str, str] = {}  # unit -> client that has switched it on
        self._renewed_s: dict[str, float] = {}

    def order(self, unit_id: str, wish: Wish, client: str) -> tuple[str, ConverterState | None]:
        """Obey, or say why not; with the converter's reading after it."""
        if wish.mode == WAIT:  # always, from anybody
            with self._lock:
                self._held.pop(unit_id, None)
            return self._orders.wait(unit_id), None
        with self._watch.lock:
            why = self.why_not(unit_id, wish)
            reading = self._watch.converter(unit_id)
        if why or reading is None:
            return why, None
        request = self._request(unit_id, Request.OPERATION_MODE)
        if reading.mode == wish.mode:
            is_reference = wish.mode == REFERENCE
            request.operation = (
                Request.OPERATION_VOLTAGE if is_reference else Request.OPERATION_CURRENT
            )
        request.mode = wish.mode
        request.grid_current_a = wish.current_a
        request.droop_ratio = wish.droop_ratio
        if wish.mode == REFERENCE:
            request.grid_voltage_v = wish.voltage_v
            request.grid_current_a = (
                math.nan
            )  # `dig` of a reference limits nothing in the original
        why, after = self._orders.command(unit_id, request)
        if not why:
            with self._lock:
                self._held[unit_id] = client
                self._renewed_s[unit_id] = time.monotonic()
        return why, after

    def hear(self, client: str) -> None:
        """A client has asked for something: it is alive, and so is what it holds."""
        now_s = time.monotonic()
        with self._lock:
            due = [
                unit_id
                for unit_id, holder in self._held.items()
                if holder == client and now_s - self._renewed_s[unit_id] >= RENEW_S
            ]
            self._renewed_s.update(dict.fromkeys(due, now_s))
        for unit_id in due:
            with self._watch.lock:
                may_go_on = not self._not_manual()
            if may_go_on:
                request = self._request(unit_id, Request.OPERATION_HOLD)
                self._orders.renew(unit_id, request, partial(self._forget, unit_id))

    def why_not(self, unit_id: str, wish: Wish) -> str:
        """What forbids an order now; empty = nothing. The watch's lock must be held."""
        watch, limits = self._watch, self._limits
        if unit_id not in watch.unit_ids:
            return f"unit {unit_id} is not one of {', '.join(watch.unit_ids)}"
        age_s = watch.age_s(unit_id)
        if age_s is None or age_s > SILENT_S or watch.converter(unit_id) is None:
            return f"{unit_id} is silent"
        if found := self._not_manual():
            return f"{', '.join(found)}: not in Manual; the whole cluster must be"
        most_a = limits.current_a.get(unit_id)
        if limits.voltage_v is None or most_a is None:
            return f"the limits of {unit_id} are not known here"
        holders = [u for u in watch.unit_ids if self._mode(u) == REFERENCE]
        if wish.mode == REFERENCE:
            low_v, high_v = limits.voltage_v
            if not low_v <= wish.voltage_v <= high_v:
                return f"dvg is {wish.voltage_v:g}, {unit_id} may hold {low_v:g} to {high_v:g} V"
            others = [u for u in holders if u != unit_id]
            return f"{', '.join(others)} holds the voltage already" if others else ""
        if wish.current_a > most_a:
            return f"dig is {wish.current_a:g}, {unit_id} may carry at most {most_a:g} A"
        if not holders or holders == [unit_id]:
            return "no other converter holds the voltage; one must first (mode=0x0014)"
        return self._too_much_for(holders, unit_id, wish)

    def _too_much_for(self, holders: list[str], unit_id: str, wish: Wish) -> str:
        """Whether those that hold the voltage could carry what flows then."""
        flows_a = wish.current_a if wish.mode == CHARGE else -wish.current_a
        for other in self._watch.unit_ids:
            reading = self._watch.converter(other)
            if other != unit_id and reading and reading.mode in (CHARGE, DISCHARGE):
                flows_a += reading.grid_current_a if math.isfinite(reading.grid_current_a) else 0.0
        most_a = sum(self._limits.current_a.get(u, 0.0) for u in holders)
        if abs(flows_a) <= most_a:
            return ""
        return f"{', '.join(holders)} would have to carry {abs(flows_a):g} A, at most {most_a:g} A"

    def _mode(self, unit_id: str) -> int | None:
        reading = self._watch.converter(unit_id)
        return None if reading is None else int(reading.mode)

    def _not_manual(self) -> list[str]:
        return [
            unit_id
            for unit_id, status in self._watch.statuses.items()
            if status.effective_mode != OperationMode.MODE_MANUAL
        ]

    def _request(self, unit_id: str, operation: int) -> Any:
        with self._watch.lock:
            status, reading = self._watch.statuses.get(unit_id), self._watch.converter(unit_id)
        terms = [int(one.term) for one in (status, reading) if one is not None]
        return Request(
            operation=operation,
            mode=ConverterState.MODE_UNKNOWN,
            grid_voltage_v=math.nan,
            grid_current_a=math.nan,
            droop_ratio=math.nan,
            energy_limit_wh=math.nan,
            next_current_a=math.nan,
            hold_s=HOLD_S,
            term=max([1, *terms]),
            grid_master_id="operator",
        )

    def _forget(self, unit_id: str) -> None:
        with self._lock:
            self._held.pop(unit_id, None)
