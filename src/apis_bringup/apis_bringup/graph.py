"""A window into a running graph: a node of our own that spins in the background."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions

from apis_bringup.errors import CancelledError
from apis_ros import qos
from apis_ros.authenticator import UNSIGNED, MessageAuthenticator, is_signed
from apis_ros.names import cluster_namespace

__all__ = ["Graph"]


class Graph:
    """A node in the cluster's namespace, and a condition that is notified of everything it hears.

    Its callbacks run in a thread of its own, and hold `changed` while they run; :meth:`wait_for`
    looks at what they left behind. Use it as a context manager.
    """

    def __init__(self, cluster: str, authenticator: MessageAuthenticator = UNSIGNED) -> None:
        """Join the graph in the namespace of `cluster`; `authenticator` signs and checks there."""
        self.authenticator = authenticator
        self.namespace = cluster_namespace(cluster)
        self.changed = threading.Condition()
        self._is_cancelled = False
        self._is_closing = False
        self._context = Context()
        # Signals are the caller's.
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = Node(
            f"apisctl_{os.getpid()}",
            namespace=self.namespace,
            context=self._context,
            start_parameter_services=False,
            enable_rosout=False,
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="graph", daemon=True)

    def __enter__(self) -> Graph:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # An executor that is shut down while it spins destroys what its thread is about to use.
        self._is_closing = True
        self._executor.create_task(lambda: None)
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def subscribe(
        self, message_type: type, topic: str, hear: Callable[[Any], None], profile: QoSProfile
    ) -> None:
        """Call `hear` with every message of a topic (relative to the cluster's namespace)."""
        name = topic if topic.startswith("/") else f"{self.namespace}/{topic}"

        def heard(message: Any) -> None:
            with self.changed:
                if is_signed(message_type) and self.authenticator.why_refused(
                    message, name, retained=True
                ):
                    return
                hear(message)
                self.changed.notify_all()

        self.node.create_subscription(message_type, topic, heard, profile)

    def every(self, period_s: float, do: Callable[[], None]) -> None:
        """Call `do` again and again, for what the graph does not announce."""

        def fired() -> None:
            with self.changed:
                do()
                self.changed.notify_all()

        self.node.create_timer(period_s, fired)

    def wait_for(self, condition: Callable[[], bool], *, within_s: float) -> bool:
        """Wait until a condition over what was heard holds; False if it does not in time.

        Raises:
            CancelledError: Another thread called :meth:`cancel`.
        """
        with self.changed:
            holds = self.changed.wait_for(lambda: self._is_cancelled or condition(), within_s)
            if self._is_cancelled:
                raise CancelledError
            return holds

    def cancel(self) -> None:
        """End all waiting, now and from now on."""
        with self.changed:
            self._is_cancelled = True
            self.changed.notify_all()

    def topics(self) -> dict[str, str]:
        """Type of every topic that the graph knows, by full name."""
        return {name: types[0] for name, types in self.node.get_topic_names_and_types()}

    def qos_that_hears(self, topic: str) -> QoSProfile:
        """The strictest quality of service with which every present publisher is heard."""
        publishers = self.node.get_publishers_info_by_topic(topic)
        return qos.that_hears(publisher.qos_profile for publisher in publishers)

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):  # that is how spinning ends
            while not self._is_closing:
                self._executor.spin_once()
