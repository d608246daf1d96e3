"""What happened, line by line: a digest of all of it, and the last lines to read."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable

from apis_core import events as ev

__all__ = ["Trace", "describe"]

TAIL_LINES = 60


class Trace:
    """The trace of one run.

    Args:
        sink: Gets every line; None = only the last ones are kept.
    """

    def __init__(self, sink: Callable[[str], None] | None = None) -> None:
        self._hash = hashlib.sha256()
        self._sink = sink
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.count = 0

    def add(self, now_ns: int, who: str, text: str) -> None:
        """One line."""
        line = f"{now_ns / 1e9:12.6f} {who:<5} {text}"
        self.count += 1
        self._hash.update(line.encode())
        self._hash.update(b"\n")
        self.tail.append(line)
        if self._sink is not None:
            self._sink(line)

    @property
    def digest(self) -> str:
        """Of all lines, in hexadecimal digits."""
        return self._hash.hexdigest()


def describe(entry: ev.Entry) -> str:
    """A journal entry in a few words."""
    match entry:
        case ev.LeaseGranted(term, unit_id):
            return f"vote for {unit_id} in term {term}"
        case ev.DealOpened(deal):
            return f"deal {deal.deal_id} opened"
        case ev.DealCounted(receipt):
            return f"deal {receipt.deal_id} counted, {receipt.grid_moved_wh:.6f} Wh"
        case ev.DealClosed(receipt):
            moved_wh = receipt.grid_moved_wh
            return f"deal {receipt.deal_id} closed, {moved_wh:.6f} Wh {receipt.reason}".rstrip()
        case _:
            return str(entry)
