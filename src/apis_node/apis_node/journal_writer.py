"""Writes down what an agent must not forget, before anything else of it happens."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node

from apis_core import events
from apis_core.unit.journal_policy import allowed_unwritten
from apis_site.unit_journal import Journal, JournalError

__all__ = ["JournalWriter"]


class JournalWriter:
    """Keeps a unit from promising what it could not remember.

    Args:
        journal: Of the unit.
        node: Of the unit; for the time of entries, and its log.
        report: Takes note that the journal has failed.

    Attributes:
        error: Why the last entry is not on disk; empty = it is.
    """

    def __init__(
        self, journal: Journal, node: Node, report: Callable[[events.Event], None]
    ) -> None:
        self._journal = journal
        self._node = node
        self._report = report
        self.error = ""

    def write(self, effects: list[events.Effect]) -> list[events.Effect]:
        """Write down what is to be written; give the effects that are allowed now."""
        try:
            for effect in effects:
                if isinstance(effect, events.Record):
                    self._journal.write(effect.entry, self._node.get_clock().now().nanoseconds)
        except JournalError as error:
            self._failed(error)
            return allowed_unwritten(effects)
        return effects

    def try_again(self) -> bool:
        """While it cannot be written: see whether it is still so, and report that.

        Returns:
            Whether it is: the agent has something to handle.
        """
        if not self.error:
            return False
        try:
            self._journal.try_out()
        except JournalError as error:
            self._failed(error)
            return True
        self.error = ""
        self._node.get_logger().info("the journal can be written again")
        return False

    def _failed(self, error: JournalError) -> None:
        if not self.error:
            self._node.get_logger().error(f"the journal cannot be written: {error}")
        self.error = str(error)
        self._report(events.JournalFailed(str(error)))
