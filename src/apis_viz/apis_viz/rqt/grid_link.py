"""The widget's side of the graph: finds clusters, watches one, orders modes.

What cannot be done is a LinkError with words for people, and nothing else: an exception that
leaves a Qt slot ends all of rqt, other people's windows too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node

from apis_core.model.errors import ConfigError
from apis_interfaces.msg import OperationMode
from apis_ros import names
from apis_ros.authenticator import operator_authenticator
from apis_ros.grid_listener import GridListener
from apis_ros.topics import OPERATION_MODE
from apis_viz.rqt import rows

__all__ = ["GridLink", "LinkError", "clusters"]

ISSUER = "rqt"
DISCOVER_EVERY_S = 0.5  # wall
NO_KEY = "only looks on: there is no operator's key in the folder that APIS_KEYS names"


class LinkError(Exception):
    """Why the graph cannot be reached, for people."""


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except ConfigError as error:  # the keys
        raise LinkError(str(error)) from error
    except InvalidHandle as error:
        raise LinkError("ROS was shut down here, nothing more is heard") from error
    except RuntimeError as error:  # RCLError, which has no public name
        raise LinkError(f"ROS: {error}") from error


def clusters(node: Node) -> list[str]:
    """Names of the clusters in the graph.

    Raises:
        LinkError: The node is of no use any more.
    """
    with _in_words():
        found = [topic for topic, _ in node.get_topic_names_and_types()]
    return sorted({names.cluster_of(topic, names.STATUS) for topic in found} - {""})


class GridLink:
    """One cluster, as the widget needs it.

    Attributes:
        cluster: Its name.
        watch: What it says.
        why_silent: Why no order of ours would count; empty = it would.
    """

    def __init__(self, node: Node, cluster: str) -> None:
        """Watch a cluster through a node that somebody else spins.

        Raises:
            LinkError: The keys cannot be used, or the node cannot.
        """
        self.cluster = cluster
        self._node = node
        self._topic = names.in_cluster(cluster, names.OPERATION_MODE)
        self._order: tuple[OperationMode, float] | None = None
        with _in_words():
            authenticator = operator_authenticator(None, may_be_silent=True)
            self.watch = GridListener(
                node, namespace=names.cluster_namespace(cluster), authenticator=authenticator
            )
            self._modes = OPERATION_MODE.publisher(node, self._topic)
            # not on the node's clock, which stands still with a simulation
            steady = Clock(clock_type=ClockType.STEADY_TIME)
            self._timer = node.create_timer(DISCOVER_EVERY_S, self._discover, clock=steady)
        self.why_silent = (
            NO_KEY if authenticator.keys is not None and not authenticator.signer else ""
        )

    def set_mode(self, mode: int, unit_id: str) -> None:
        """Order a mode of a unit, or of the cluster if the id is empty.

        Raises:
            LinkError: It could not be sent.
        """
        with self.watch.lock:
            version = 0 if unit_id else self.watch.next_mode_version()
        order = OperationMode(unit_id=unit_id, mode=mode, version=version, issuer=ISSUER)
        with _in_words():
            self._modes.publish(self.watch.authenticator.sign(order, self._topic))
        self._order = order, time.monotonic()

    def order_text(self) -> str:
        """Who has not followed our last order, in one line; empty = nobody is left."""
        if self._order is None:
            return ""
        order, since_s = self._order
        text = rows.order_text(self.watch, order, time.monotonic() - since_s)
        if not text:
            self._order = None  # followed; what others order of the unit later is their affair
        return text

    def close(self) -> None:
        """Leave the graph."""
        self._node.destroy_timer(self._timer)
        self.watch.close()
        self._node.destroy_publisher(self._modes)

    def _discover(self) -> None:
        with suppress(RuntimeError):  # shut down meanwhile; from rqt's own thread it ends rqt, too
            self.watch.discover()
