"""What old clients order, on the graph: modes, deals, faults, shutdown, log level, WAIT.

Methods wait for answers, so any thread but the node's own may call them; they return an empty text
when it is done, or one line that says why not.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.task import Future

from apis_interfaces.action import Interchange
from apis_interfaces.msg import ConverterState, Fault, OperationMode
from apis_interfaces.srv import ConverterCommand, UnitMaintenance
from apis_ros import names, topics
from apis_ros.grid_listener import GridListener
from apis_ros.names import of_unit

__all__ = ["Orders"]

ISSUER = "apis-web"
OBEYED_WITHIN_S = 0.8  # wall; clients wait a second
ANSWERS_WITHIN_S = 0.8  # wall
REFERENCE_AFTER_S = 1.0  # wall; so long at most the voltage waits for the currents to go
CURRENT_MODES = (ConverterState.MODE_CHARGE, ConverterState.MODE_DISCHARGE)
DEAL_WITHIN_S = 5.0  # wall; until it is accepted or refused


class Orders:
    """Sends orders for those who speak HTTP."""

    def __init__(self, node: Node, watch: GridListener) -> None:
        self._node = node
        self._watch = watch
        self._changed = watch.lock
        self._modes = topics.OPERATION_MODE.publisher(node)
        self._faults = topics.FAULTS.publisher(node)
        self._clients: dict[tuple[type, str], Any] = {
            (kind, unit_id): node.create_client(kind, of_unit(unit_id, name))
            for kind, name in (
                (UnitMaintenance, names.MAINTENANCE),
                (ConverterCommand, names.CONVERTER_COMMAND),
            )
            for unit_id in watch.unit_ids
        }
        self._actions: dict[str, Any] = {
            unit_id: ActionClient(node, Interchange, of_unit(unit_id, names.INTERCHANGE))
            for unit_id in watch.unit_ids
        }

    def unknown(self, unit_id: str) -> str:
        """Why a unit id is none."""
        if unit_id in self._watch.unit_ids:
            return ""
        return f"unit {unit_id} is not one of {', '.join(self._watch.unit_ids)}"

    def set_mode(self, mode: int, unit_id: str = "") -> str:
        """Order a mode, of the cluster or of a unit, and see whether it is obeyed."""
        if unit_id and (why := self.unknown(unit_id)):
            return why
        field = "local_mode" if unit_id else "global_mode"
        with self._changed:
            meant = [unit_id] if unit_id else list(self._watch.statuses)
        self.send_mode(mode, unit_id)

        def laggards() -> list[str]:
            heard = self._watch.statuses
            return [u for u in meant if u not in heard or getattr(heard[u], field) != mode]

        with self._changed:
            if bool(meant) and self._changed.wait_for(lambda: not laggards(), OBEYED_WITHIN_S):
                return ""
            return f"not confirmed yet by {', '.join(laggards()) or 'any unit'}"

    @property
    def is_heard(self) -> bool:
        """Whether any unit listens for modes yet."""
        return bool(self._modes.get_subscription_count())

    def send_mode(self, mode: int, unit_id: str = "") -> None:
        """Order a mode and wait for nothing: the node's own thread may call this, too."""
        with self._changed:
            version = 0 if unit_id else self._watch.next_mode_version()
        order = OperationMode(unit_id=unit_id, mode=mode, version=version, issuer=ISSUER)
        self._modes.publish(self._watch.authenticator.sign(order, self._modes.topic_name))

    def shut_down(self, unit_id: str = "") -> str:
        """End the programs of a unit, or of all units; they refuse in any mode but Manual."""
        return self._maintain(unit_id, UnitMaintenance.Request.OPERATION_SHUT_DOWN)

    def set_log_level(self, level: str) -> str:
        """Have all units write so much: debug, info, warn, error or fatal."""
        return self._maintain("", UnitMaintenance.Request.OPERATION_LOG_LEVEL, level)

    def wait(self, unit_id: str = "") -> str:
        """Send a converter, or all of them, to WAIT, straight to the driver.

        Of all, those that hold the voltage go last: a current without a voltage is a fault.
        """
        if unit_id and (why := self.unknown(unit_id)):
            return why
        if unit_id:
            return self._wait([unit_id])
        last = self._references()
        first = [other for other in self._watch.unit_ids if other not in last]
        why = self._wait(first)
        with self._changed:
            self._changed.wait_for(
                lambda: not self._in_mode(first, CURRENT_MODES), REFERENCE_AFTER_S
            )
        return "; ".join(word for word in (why, self._wait(last)) if word)

    def _references(self) -> list[str]:
        """Units whose converters hold the voltage."""
        with self._changed:
            readings = {
                unit_id: self._watch.converter(unit_id) for unit_id in self._watch.unit_ids
            }
        return [
            unit_id
            for unit_id, reading in readings.items()
            if reading and reading.mode == ConverterState.MODE_VOLTAGE_REFERENCE
        ]

    def _in_mode(self, unit_ids: Iterable[str], modes: tuple[int, ...]) -> list[str]:
        """Units of these whose converters were in one of some modes when last heard of."""
        readings = {unit_id: self._watch.converter(unit_id) for unit_id in unit_ids}
        return [u for u, reading in readings.items() if reading and reading.mode in modes]

    def _wait(self, unit_ids: Iterable[str]) -> str:
        request = ConverterCommand.Request(
            operation=ConverterCommand.Request.OPERATION_MODE, mode=ConverterState.MODE_WAIT
        )
        for name in (
            "grid_voltage_v", "grid_current_a", "droop_ratio", "energy_limit_wh",
            "next_current_a", "hold_s",
        ):  # fmt: skip
            setattr(request, name, math.nan)
        return self._call_each(ConverterCommand, unit_ids, request)

    def command(self, unit_id: str, request: Any) -> tuple[str, ConverterState | None]:
        """Order a converter; gives why it does not obey, or nothing, and its reading after it."""
        why, response = self._ask(ConverterCommand, unit_id, request)
        return why, None if response is None else response.state

    def renew(self, unit_id: str, request: Any, lost: Callable[[], None]) -> None:
        """Send a renewal and wait for nothing; `lost` is called if it is refused."""
        client = self._clients[ConverterCommand, unit_id]
        signed = self._watch.authenticator.sign(deepcopy(request), client.service_name)

        def look(future: Future[Any]) -> None:
            response = future.result()
            if response is not None and response.error_code:
                lost()

        client.call_async(signed).add_done_callback(look)

    def report_fault(self, fault: Fault) -> None:
        """Tell all of a fault."""
        fault.stamp = self._node.get_clock().now().to_msg()
        fault.reporter_id = ISSUER
        self._faults.publish(self._watch.authenticator.sign(fault, self._faults.topic_name))

    def make_deal(self, requester: str, goal: Interchange.Goal) -> str:
        """Have a unit make a deal, and wait until it is accepted or refused."""
        for unit_id in (requester, goal.peer_unit_id):
            if why := self.unknown(unit_id):
                return why
        if not self._actions[requester].server_is_ready():
            return f"{requester} does not answer"
        begun = threading.Event()
        channel = f"{self._node.get_namespace()}/{of_unit(requester, names.INTERCHANGE)}"
        self._watch.authenticator.sign(goal, channel)
        sent = self._actions[requester].send_goal_async(goal, lambda _: begun.set())
        handle = _wait(sent, ANSWERS_WITHIN_S)
        if handle is None or not handle.accepted:
            return f"{requester} does not answer" if handle is None else f"{requester} refuses"
        result = handle.get_result_async()
        result.add_done_callback(lambda _: begun.set())
        if not begun.wait(DEAL_WITHIN_S):
            return ""  # it waits for its turn; the deal list tells how it goes on
        if not result.done():
            return ""
        end = result.result().result
        return str(end.error_msg) if end.error_code != Interchange.Result.ERROR_NONE else ""

    def _maintain(self, unit_id: str, operation: int, log_level: str = "") -> str:
        if unit_id and (why := self.unknown(unit_id)):
            return why
        request = UnitMaintenance.Request(operation=operation, log_level=log_level, issuer=ISSUER)
        return self._call_each(
            UnitMaintenance, [unit_id] if unit_id else self._watch.unit_ids, request
        )

    def _call_each(self, kind: type, unit_ids: Iterable[str], request: Any) -> str:
        unit_ids = list(unit_ids)
        with ThreadPoolExecutor(len(unit_ids) or 1) as pool:
            answers = pool.map(lambda unit_id: self._call(kind, unit_id, request), unit_ids)
            found = zip(unit_ids, answers, strict=True)
            return "; ".join(f"{unit_id}: {why}" for unit_id, why in found if why)

    def _call(self, kind: type, unit_id: str, request: Any) -> str:
        return self._ask(kind, unit_id, request)[0]

    def _ask(self, kind: type, unit_id: str, request: Any) -> tuple[str, Any]:
        """Why a service does not do as asked, or nothing; and its response, if it has one."""
        client = self._clients[kind, unit_id]
        if not client.service_is_ready():
            return "does not answer", None
        # several threads may be about the same request: each unit gets one of its own
        signed = self._watch.authenticator.sign(deepcopy(request), client.service_name)
        response = _wait(client.call_async(signed), ANSWERS_WITHIN_S)
        if response is None:
            return "does not answer", None
        return str(response.error_msg), response


def _wait(future: Future[Any], within_s: float) -> Any:
    """A future's result, made by the node's thread; None if it does not come in time."""
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    return future.result() if done.wait(within_s) else None
