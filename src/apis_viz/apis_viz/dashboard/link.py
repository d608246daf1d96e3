"""The dashboard's side of the graph: a node that listens to everything, in a thread of its own.

Messages become records as they arrive; the page looks at the model from its own thread, so one
lock guards it. Nothing here has a ROS timer: the page's pace is wall time, also when the
simulation's clock runs fast, slowly or not at all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from apis_core.grid import GridDescription
from apis_interfaces import msg
from apis_viz import translate
from apis_viz.model import GridModel, GridView
from apis_viz.records import Mode, Record, UnitRecord

__all__ = ["GraphLink"]

# As in the contract: a present value, one that late comers get too, and a list that they get.
STATE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
HISTORY = QoSProfile(
    depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
ORDERS = QoSProfile(
    depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)

ISSUER = "dashboard"


class GraphLink:
    """A :class:`~apis_viz.dashboard.page.Source` that is fed by the graph."""

    def __init__(
        self, grid: GridDescription, context: Context, *, on_failure: Callable[[], None]
    ) -> None:
        """Create the node in ``/apis/<cluster>``; nothing is received before :meth:`start`.

        Args:
            grid: Which units there are.
            context: An initialised context without signal handlers; the caller shuts it down.
            on_failure: Called from the thread if an error ends it; :meth:`stop` raises that error.
        """
        self._cluster = grid.cluster
        self._zone = _zone(grid.emulator.place.timezone)
        self._model = GridModel(unit.id for unit in grid.units)
        self._lock = threading.Lock()
        self._mode_version = 0  # newest that the units or we know
        self._failure: Exception | None = None
        self._on_failure = on_failure
        self._node = Node(ISSUER, namespace=f"/apis/{grid.cluster}", context=context)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name="graph")
        self._mode_publisher = self._node.create_publisher(
            msg.OperationMode, "operation_mode", ORDERS
        )
        self._subscribe(grid)

    @property
    def cluster(self) -> str:
        """Name of the cluster."""
        return self._cluster

    @property
    def zone(self) -> tzinfo:
        """Timezone of the place."""
        return self._zone

    def start(self) -> None:
        """Begin to receive."""
        self._thread.start()

    def stop(self) -> None:
        """Stop receiving and take the node off the graph.

        Raises:
            Exception: What ended the thread, if it was an error.
        """
        self._executor.shutdown()
        if self._thread.is_alive():
            self._thread.join()
        self._node.destroy_node()
        if self._failure is not None:
            raise self._failure

    def view(self) -> GridView:
        """Give the grid as it is now."""
        with self._lock:
            return self._model.view(now_s=time.monotonic(), ros_time_s=self._ros_time_s())

    def set_mode(self, mode: Mode) -> None:
        """Tell all units; the order comes back to us like anybody's.

        It is numbered here: an order that the units number themselves could, if one of them
        hears it late, look newer than a later one.
        """
        self._node.get_logger().info(f"ordering mode {mode.name} for the whole cluster")
        with self._lock:
            self._mode_version += 1
            version = self._mode_version
        self._mode_publisher.publish(translate.mode_message(mode, version=version, issuer=ISSUER))

    def _subscribe(self, grid: GridDescription) -> None:
        for unit in grid.units:
            name = unit.id.lower()
            self._listen(msg.UnitStatus, f"{name}/status", LATCHED, translate.unit_record)
            self._listen(
                msg.ConverterState, f"{name}/converter_state", STATE, translate.converter_record
            )
            self._listen(msg.HouseState, f"{name}/house_state", STATE, translate.house_record)
        self._listen(msg.Deal, "deals", HISTORY, translate.deal_record)
        self._listen(msg.Fault, "faults", HISTORY, translate.fault_record)
        self._listen(msg.BusState, "bus_state", STATE, translate.bus_record)
        self._listen(msg.OperationMode, "operation_mode", ORDERS, translate.mode_order)

    def _listen(
        self, kind: type, topic: str, qos: QoSProfile, record: Callable[..., Record]
    ) -> None:
        def take(message: object) -> None:
            news = record(message)
            with self._lock:
                if isinstance(news, UnitRecord):
                    self._mode_version = max(self._mode_version, news.global_mode_version)
                self._model.take(news, now_s=time.monotonic(), ros_time_s=self._ros_time_s())

        self._node.create_subscription(kind, topic, take, qos)

    def _ros_time_s(self) -> float | None:
        """Time of the graph since the epoch; ``None`` before the first word of its clock. [s]"""
        return self._node.get_clock().now().nanoseconds * 1e-9 or None

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass
        except (
            Exception
        ) as error:  # whatever it was: a page that no longer listens must not look alive
            self._failure = error
            self._on_failure()


def _zone(name: str) -> tzinfo:
    """Find the timezone; without a timezone database on the machine, times are shown in UTC."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return timezone.utc
