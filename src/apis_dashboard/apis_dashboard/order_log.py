"""The list of orders, through which each one passes: it checks the role and the pace, writes the
audit log before the order is given, and follows it to its end.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime

from apis_dashboard.access import Identity, Role
from apis_dashboard.audit import Audit
from apis_dashboard.grid_source import Outcome
from apis_dashboard.rate_limit import RateLimit

__all__ = ["Order", "OrderLog", "Refused"]

ORDERS_SHOWN = 50
ORDERS_PER_MINUTE = 60


class Refused(Exception):
    """An order is not passed on; one line for people."""


@dataclass(frozen=True)
class Order:
    """One order and how far it is."""

    number: int
    at: str  # wall time here, for people
    who: str
    what: str
    is_over: bool = False
    is_done: bool = False
    text: str = ""


class OrderLog:
    """See the module. Every method may be called from any thread.

    Args:
        audit: Where orders are written down.
        is_open: Whether a session is still open; asked at every order.
    """

    def __init__(self, audit: Audit, is_open: Callable[[Identity], bool]) -> None:
        self._audit = audit
        self._is_open = is_open
        self._lock = threading.Lock()
        self._pace = RateLimit(ORDERS_PER_MINUTE, 60.0)
        self._orders: deque[Order] = deque(maxlen=ORDERS_SHOWN)
        self._count = 0

    def orders(self) -> list[Order]:
        """The last ones, the newest first."""
        with self._lock:
            return list(self._orders)

    def begin(
        self, who: Identity, what: str, *, needs: Role = Role.OPERATOR, is_urgent: bool = False
    ) -> int:
        """Let an order in, and write it down before it is given.

        Args:
            who: Who orders.
            what: For people.
            needs: The least role.
            is_urgent: Never held up by the pace of orders.

        Returns:
            Its number.

        Raises:
            Refused: The session is over, the role is too low, or the orders are too many.
        """
        if not self._is_open(who):
            self._audit.note(who.name, what, "refused: the session is over")
            raise Refused("the session is over; log in again")
        if who.role < needs:
            role = needs.name.lower()
            self._audit.note(who.name, what, f"refused: no {role}")
            raise Refused(f"this takes the role {role}; log in as one who has it")
        wait_s = 0.0 if is_urgent else self._pace.wait_s(who.name)
        if wait_s > 0.0:
            self._audit.note(who.name, what, "refused: too many orders")
            raise Refused(f"too many orders; wait {wait_s:.0f} s")
        self._pace.note(who.name)
        self._audit.note(who.name, what)
        with self._lock:
            self._count += 1
            at = datetime.now().astimezone().strftime("%H:%M:%S")
            self._orders.appendleft(Order(self._count, at, who.name, what))
            return self._count

    def follow(self, number: int, future: Future[Outcome], done_words: str = "done") -> None:
        """Tell how an order ends when its future does; a refusal is written down, too."""

        def heard(done: Future[Outcome]) -> None:
            outcome = done.result()
            words = outcome.text or (done_words if outcome.is_done else "refused")
            self.end(number, Outcome(outcome.is_done, words), is_noted=True)

        future.add_done_callback(heard)

    def tell(self, number: int, words: str) -> None:
        """Say how far an order is."""
        self._change(number, text=words)

    def end(self, number: int, outcome: Outcome, *, is_noted: bool = False) -> None:
        """Say how an order ended."""
        order = self._change(number, is_over=True, is_done=outcome.is_done, text=outcome.text)
        if is_noted and order is not None:
            words = outcome.text if outcome.is_done else f"refused: {outcome.text}"
            self._audit.note(order.who, order.what, words)

    def _change(self, number: int, **changes: object) -> Order | None:
        with self._lock:
            for place, order in enumerate(self._orders):
                if order.number == number:
                    self._orders[place] = replace(order, **changes)  # type: ignore[arg-type]
                    return self._orders[place]
        return None
