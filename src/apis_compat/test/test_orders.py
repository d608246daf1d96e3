"""What old clients order, on real nodes."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

rclpy = pytest.importorskip("rclpy")
pytest.importorskip("apis_interfaces.msg")

from rclpy.action import ActionServer  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.executors import MultiThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.signals import SignalHandlerOptions  # noqa: E402

from apis_compat.clients.interfaces import ApiServer  # noqa: E402
from apis_compat.clients.orders import Orders  # noqa: E402
from apis_interfaces.action import Interchange  # noqa: E402
from apis_interfaces.msg import ConverterState, Fault, OperationMode, UnitStatus  # noqa: E402
from apis_interfaces.srv import ConverterCommand, UnitMaintenance  # noqa: E402
from apis_ros import qos  # noqa: E402
from apis_ros.grid_listener import GridListener  # noqa: E402

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("own_ros_domain")]

MANUAL = OperationMode.MODE_MANUAL


class FakeUnit:
    """Obeys modes, ends in Manual only, and makes deals with E002 only."""

    def __init__(self, node: Node) -> None:
        self.asked: list[object] = []
        self._status = UnitStatus(unit_id="E001", global_mode_version=7)
        self._statuses = node.create_publisher(UnitStatus, "e001/status", qos.STATE)
        self._statuses.publish(self._status)
        node.create_subscription(OperationMode, "operation_mode", self._on_mode, qos.ORDER)
        node.create_service(UnitMaintenance, "e001/maintenance", self._maintain)
        node.create_service(ConverterCommand, "e001/converter/command", self._command)
        self._deals = ActionServer(node, Interchange, "e001/interchange", self._deal)

    def _on_mode(self, order: OperationMode) -> None:
        if order.unit_id == "E001":
            self._status.local_mode = order.mode
        elif order.version > self._status.global_mode_version:
            self._status.global_mode = order.mode
        self._statuses.publish(self._status)

    def _maintain(self, request, response):
        self.asked.append(request)
        if self._status.global_mode != MANUAL and not request.log_level:
            response.error_code, response.error_msg = response.ERROR_NOT_MANUAL, "in MANUAL only"
        return response

    def _command(self, request, response):
        self.asked.append(request)
        return response

    def _deal(self, handle):
        self.asked.append(handle.request)
        result = Interchange.Result()
        if handle.request.peer_unit_id == "E002":
            handle.publish_feedback(Interchange.Feedback())
            handle.succeed()
        else:
            result.error_code, result.error_msg = result.ERROR_REFUSED, "all slots are taken"
            handle.abort()
        return result


@pytest.fixture(scope="module")
def grid() -> Iterator[tuple[FakeUnit, Orders, queue.Queue[Fault]]]:
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node("both", namespace="/apis/old_clients", context=context)
    executor = MultiThreadedExecutor(num_threads=2, context=context)
    executor.add_node(node)
    heard = threading.Event()
    faults: queue.Queue[Fault] = queue.Queue()
    node.create_subscription(Fault, "faults", faults.put, qos.RECORD)
    watch = GridListener(node, ("E001", "E003"))
    watch.after_each(lambda _: heard.set())
    unit, orders = FakeUnit(node), Orders(node, watch)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    assert heard.wait(20.0)
    until_s = time.monotonic() + 20.0
    while not orders.is_heard and time.monotonic() < until_s:
        threading.Event().wait(0.02)  # discovery tells nobody when it is done
    yield unit, orders, faults
    executor.shutdown()
    thread.join()
    node.destroy_node()
    context.try_shutdown()


def test_a_mode_is_confirmed_by_the_units_and_numbered_above_all_that_they_know(grid):
    _, orders, _ = grid

    assert orders.set_mode(OperationMode.MODE_SOFT_STOP) == ""
    assert orders.set_mode(OperationMode.MODE_FORCE_STOP, "E001") == ""
    assert orders.set_mode(OperationMode.MODE_UNSET, "E001") == ""
    assert orders.set_mode(OperationMode.MODE_FORCE_STOP, "E003") == "not confirmed yet by E003"
    assert orders.set_mode(OperationMode.MODE_RUN, "E009").startswith("unit E009 is not one of")


def test_a_unit_is_shut_down_in_manual_and_its_log_level_set(grid):
    unit, orders, _ = grid

    assert orders.set_mode(OperationMode.MODE_RUN) == ""
    assert orders.shut_down("E001") == "E001: in MANUAL only"
    assert orders.set_mode(MANUAL) == ""
    assert orders.shut_down("E001") == ""
    assert orders.set_log_level("debug") == "E003: does not answer"
    assert unit.asked[-1].log_level == "debug"


def test_a_converter_is_sent_to_wait_by_nobodys_term(grid):
    unit, orders, _ = grid

    assert orders.wait("E001") == ""
    order = unit.asked[-1]
    assert (order.operation, order.mode) == (order.OPERATION_MODE, ConverterState.MODE_WAIT)
    assert (order.term, order.grid_master_id) == (0, "")


def test_of_all_converters_the_one_that_holds_the_voltage_is_stopped_last(monkeypatch):
    readings = {
        "E001": ConverterState(mode=ConverterState.MODE_VOLTAGE_REFERENCE),
        "E002": ConverterState(mode=ConverterState.MODE_CHARGE),
        "E003": ConverterState(mode=ConverterState.MODE_UNKNOWN),
    }
    orders = Orders.__new__(Orders)
    orders._watch = SimpleNamespace(unit_ids=tuple(readings), converter=readings.get)
    orders._changed = threading.Condition()
    told: list[tuple[list[str], int]] = []

    def stop(_kind, unit_ids, _request):
        told.append((list(unit_ids), readings["E002"].mode))
        if "E002" in unit_ids:
            threading.Timer(0.05, land).start()
        return f"{unit_ids[0]} does not answer"

    def land():
        with orders._changed:
            readings["E002"].mode = ConverterState.MODE_WAIT
            orders._changed.notify_all()

    monkeypatch.setattr(orders, "_call_each", stop)
    assert orders.wait() == "E002 does not answer; E001 does not answer"
    assert told == [
        (["E002", "E003"], ConverterState.MODE_CHARGE),
        (["E001"], ConverterState.MODE_WAIT),
    ]


def test_a_posted_deal_is_answered_when_it_was_accepted_or_refused(grid):
    unit, orders, _ = grid
    api = ApiServer(orders)

    def post(requester: str, peer: str) -> tuple[int, str]:
        wish = {"requestUnitId": requester, "acceptUnitId": peer, "chargeUnitId": requester}
        reply = api.answer("POST", "/deal", {}, {"json": json.dumps(wish)})
        return reply.status, reply.body

    orders._watch.unit_ids = ("E001", "E002", "E003")
    assert post("E001", "E002")[0] == 200
    assert unit.asked[-1].type == Interchange.Goal.TYPE_CHARGE
    assert post("E001", "E003") == (409, "deal refused : all slots are taken")
    assert post("E001", "E009")[0] == 409
    assert post("E003", "E001") == (409, "deal refused : E003 does not answer")


def test_a_reported_fault_is_heard(grid):
    _, orders, faults = grid
    fault = Fault(unit_id="E001", code="reported_by_operator")
    orders.report_fault(fault)

    heard = faults.get(timeout=20.0)
    assert (heard.unit_id, heard.reporter_id) == ("E001", "apis-web")
