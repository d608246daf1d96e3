"""The dashboard's side of the graph: a node that listens to everything, in a thread of its own.

Messages become records as they arrive; the pages look at the model from their own thread, so one
lock guards it. Nothing here goes by ROS time: the page's pace is wall time, also when the
simulation's clock runs fast, slowly or not at all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.context import Context
from rclpy.executors import Executor, ExternalShutdownException
from rclpy.node import Node

from apis_dashboard.grid_source import (
    BreakWish,
    ConverterWish,
    DealWish,
    FaultWish,
    Outcome,
    Progress,
)
from apis_dashboard.model import GridModel, GridView
from apis_dashboard.orders import Orders
from apis_dashboard.parameters import PARAMETERS
from apis_dashboard.record_messages import records
from apis_dashboard.records import ConverterMode, Mode, UnitRecord
from apis_interfaces import msg, srv
from apis_ros import content_filter, topics
from apis_ros.authenticator import operator_authenticator
from apis_ros.executor import NodeExecutor
from apis_ros.grid_listener import GridListener
from apis_ros.names import cluster_namespace
from apis_ros.parameters import declare_parameters
from apis_ros.topics import Topic
from apis_site.site import Site

__all__ = ["GraphLink"]

ISSUER = "dashboard"
TICK_S = 0.05  # how often orders are looked at, while some are under way
SPIN_S = 0.25  # and while nothing else happens
BROKEN_S = 2.0  # others may break and repair things, and some repair themselves


class _Listener(GridListener):
    """Hears what a page shows: offers, too, but no battery, which a unit's status tells of."""

    UNIT_TOPICS = (topics.STATUS, topics.CONVERTER_STATE, topics.HOUSE_STATE, topics.ACCEPTS)
    CLUSTER_TOPICS = (
        topics.REQUESTS,
        topics.DEALS,
        topics.FAULTS,
        topics.BUS_STATE,
        topics.OPERATION_MODE,
        topics.DIAGNOSTICS,
    )

    def options(self, topic: Topic) -> dict[str, Any]:
        """Every unit answers every question, most of them with no: those stay where they are."""
        is_offer = topic in (topics.REQUESTS, topics.ACCEPTS)
        return content_filter.only("type > 0") if is_offer else {}


class GraphLink:
    """A :class:`~apis_dashboard.grid_source.Source` that is fed by the graph."""

    def __init__(self, site: Site, context: Context, *, on_failure: Callable[[], None]) -> None:
        """Create the node in ``/apis/<cluster>``; nothing is received before :meth:`start`.

        Args:
            site: Which units there are.
            context: An initialised context without signal handlers; the caller shuts it down.
            on_failure: Called from the thread if an error ends it; :meth:`stop` raises that error.
        """
        self._site = site
        self._model = GridModel(site.unit_ids)
        self._lock = threading.Condition()
        self._mode_version = 0  # newest that the units or we know
        self._failure: Exception | None = None
        self._on_failure = on_failure
        self._must_flush = False
        self._is_ending = threading.Event()
        self._broken: tuple[str, ...] = ()
        self._node = Node(ISSUER, namespace=cluster_namespace(site.cluster), context=context)
        declare_parameters(self._node, PARAMETERS)
        self._executor: Executor = NodeExecutor(context=context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name="graph")
        self._mode_publisher = topics.OPERATION_MODE.publisher(self._node)
        self._fault_publisher = topics.FAULTS.publisher(self._node)
        self._authenticator = operator_authenticator(site.keys, may_be_silent=True)
        if self._authenticator.keys is not None:
            self._node.get_logger().info(str(self._authenticator))
        self._orders = Orders(self._node, site.unit_ids, self._authenticator)
        self._listener = self._listen()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        if site.is_simulated:
            self._node.create_timer(BROKEN_S, self._ask_what_is_broken, clock=steady)

    @property
    def site(self) -> Site:
        """What the files say."""
        return self._site

    def start(self) -> None:
        """Begin to receive."""
        self._thread.start()

    def stop(self) -> None:
        """Stop receiving and take the node off the graph.

        Raises:
            Exception: What ended the thread, if it was an error.
        """
        self._is_ending.set()
        self._executor.wake()
        if self._thread.is_alive():
            self._thread.join()
        self._executor.shutdown()
        self._orders.close()
        self._node.destroy_node()
        if self._failure is not None:
            raise self._failure

    def view(self) -> GridView:
        """Give the grid as it is now."""
        with self._lock:
            return self._model.view(now_s=time.monotonic(), ros_time_s=self._ros_time_s())

    # --- orders ----------------------------------------------------------------------------------

    def set_mode(self, mode: Mode, unit_id: str = "") -> None:
        """Tell all units, or one; the order comes back to us like anybody's.

        A global one is numbered here: an order that the units number themselves could, if one of
        them hears it late, look newer than a later one.
        """
        self._node.get_logger().info(f"ordering mode {mode.name} for {unit_id or 'the cluster'}")
        version = 0
        if not unit_id:
            with self._lock:
                self._mode_version += 1
                version = self._mode_version
        order = msg.OperationMode(unit_id=unit_id, mode=mode.value, version=version, issuer=ISSUER)
        self._mode_publisher.publish(
            self._authenticator.sign(order, self._mode_publisher.topic_name)
        )

    def order(self, wish: ConverterWish) -> Future[Outcome]:
        """Order a converter by hand. WAIT is obeyed always, the rest in Manual."""
        unit = next(unit for unit in self.view().units if unit.unit_id == wish.unit_id)
        if wish.mode is ConverterMode.WAIT:
            return self._orders.converter(wish, term=0)
        if unit.status is None or unit.status.effective_mode is not Mode.MANUAL:
            refused: Future[Outcome] = Future()
            refused.set_result(Outcome(False, f"{wish.unit_id} is not in Manual"))
            return refused
        obeyed = unit.converter.term if unit.converter else 0
        return self._orders.converter(wish, term=max(unit.status.term, obeyed, 1))

    def deal(self, wish: DealWish, progress: Progress) -> Future[Outcome]:
        """Make a deal by hand."""
        return self._orders.deal(wish, progress)

    def end_deal(self, deal_id: str) -> Future[Outcome]:
        """End a deal that was made by hand from here."""
        return self._orders.end_deal(deal_id)

    def report_fault(self, wish: FaultWish) -> None:
        """Tell all of a fault."""
        fault = msg.Fault(
            unit_id=wish.unit_id,
            reporter_id=ISSUER,
            category=wish.category.value,
            extent=wish.extent.value,
            level=wish.level.value,
            code=wish.code,
            message=wish.message,
            stamp=self._node.get_clock().now().to_msg(),
        )
        self._fault_publisher.publish(
            self._authenticator.sign(fault, self._fault_publisher.topic_name)
        )

    def break_hardware(self, wish: BreakWish) -> Future[Outcome]:
        """Break something of the emulated hardware."""
        return self._and_look(self._orders.break_hardware(wish))

    def repair(self, fault_id: str) -> Future[Outcome]:
        """Repair it, or all of it."""
        return self._and_look(self._orders.repair(fault_id))

    def broken(self) -> tuple[str, ...]:
        """What is broken now."""
        return self._broken

    def shut_down(self, unit_id: str) -> Future[Outcome]:
        """End a unit's program. Units obey in Manual only."""
        operation = srv.UnitMaintenance.Request.OPERATION_SHUT_DOWN
        request = srv.UnitMaintenance.Request(operation=operation, issuer=ISSUER)
        return self._orders.maintain(unit_id, request)

    def set_log_level(self, unit_id: str, level: str) -> Future[Outcome]:
        """Choose how much a unit's program writes."""
        operation = srv.UnitMaintenance.Request.OPERATION_LOG_LEVEL
        request = srv.UnitMaintenance.Request(operation=operation, log_level=level, issuer=ISSUER)
        return self._orders.maintain(unit_id, request)

    def flush(self) -> None:
        """Forget what was heard; new subscriptions are told again what is retained."""
        self._must_flush = True

    def _and_look(self, future: Future[Outcome]) -> Future[Outcome]:
        future.add_done_callback(lambda _: self._ask_what_is_broken())
        return future

    def _ask_what_is_broken(self) -> None:
        if self._authenticator.keys is not None and not self._authenticator.signer:
            return  # nobody would answer

        def heard(done: Future[Outcome]) -> None:
            outcome = done.result()
            self._broken = tuple(outcome.text.splitlines()) if outcome.is_done else ()

        self._orders.broken().add_done_callback(heard)

    # --- the graph -------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._orders.tick()
        if complaint := self._authenticator.complaint():
            self._node.get_logger().warning(complaint)
        if self._must_flush:
            self._must_flush = False
            self._listener.close()
            self._authenticator.forget()  # what is retained is told again
            with self._lock:
                self._model = GridModel(self._site.unit_ids)
            self._listener = self._listen()

    def _listen(self) -> _Listener:
        listener = _Listener(
            self._node, self._site.unit_ids, authenticator=self._authenticator, lock=self._lock
        )
        listener.after_each(self._take)
        return listener

    def _take(self, message: object) -> None:
        """Show what was heard; called with the lock held."""
        for record in records(message):
            if isinstance(record, UnitRecord):
                self._mode_version = max(self._mode_version, record.global_mode_version)
            self._model.take(record, now_s=time.monotonic(), ros_time_s=self._ros_time_s())

    def _ros_time_s(self) -> float | None:
        """Time of the graph since the epoch; ``None`` before the first word of its clock. [s]"""
        return self._node.get_clock().now().nanoseconds * 1e-9 or None

    def _spin(self) -> None:
        try:
            due_s = 0.0
            while not self._is_ending.is_set():
                # without a time limit the executor of events keeps a core busy and hears nothing
                is_waiting = self._orders.is_waiting
                self._executor.spin_once(timeout_sec=TICK_S if is_waiting else SPIN_S)
                now_s = time.monotonic()
                if now_s >= due_s:
                    due_s = now_s + TICK_S
                    self._tick()
        except ExternalShutdownException:
            pass
        except (
            Exception
        ) as error:  # whatever it was: a page that no longer listens must not look alive
            self._failure = error
            self._on_failure()
