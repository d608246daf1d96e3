"""A unit whose driver does not obey makes no deals: each would only be begun to be aborted."""

from __future__ import annotations

from dataclasses import dataclass

from apis_core.model.messages import ConverterReply
from apis_core.model.types import ConverterError

__all__ = ["DriverRefusals"]

_FAULT_AFTER = 3  # in a row
_DISOBEYED = (ConverterError.REFUSED, ConverterError.TIMEOUT)


@dataclass(slots=True)
class DriverRefusals:
    """Orders to switch its converter on that a driver did not carry out, one after the other.

    Attributes:
        count: How many; 0 = the last one was obeyed.
        until_ns: No deal begins before that.
        message: Why the last one was not obeyed.
    """

    count: int = 0
    until_ns: int = 0
    message: str = ""

    def note(self, reply: ConverterReply | None, pause_ns: int, now_ns: int) -> bool:
        """Take in what became of an order to switch on.

        Args:
            reply: The driver's; None = it does not answer.
            pause_ns: Without deals after the first refusal; each one in a row doubles it. [ns]
            now_ns: Present time.

        Returns:
            Whether there were so many in a row that it is a fault.
        """
        if reply is not None and reply.error is ConverterError.NONE:
            self.count, self.until_ns, self.message = 0, now_ns, ""
        elif reply is None or reply.error in _DISOBEYED:
            self.message = reply.message if reply is not None else "it does not answer"
            self.until_ns = now_ns + pause_ns * 2 ** min(self.count, _FAULT_AFTER)
            self.count += 1
            return self.count >= _FAULT_AFTER
        return False

    def why_not(self, now_ns: int) -> str:
        """Why no deal begins now; empty = one may."""
        return f"its driver does not obey: {self.message}" if now_ns < self.until_ns else ""
