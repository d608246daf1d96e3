"""One question, one answer, on a line that may be noisy: retries by kind of failure.

Whatever happens, the deadline of the call holds. Each kind of failure has a budget of its own:

=================  ==============================================================================
silence            the request was lost, or the device is off: a few times more
nonsense           noise, bad sums, foreign frames: a few times more
busy               the device says so: again after a pause
a final no         at once
a lost port        at once
=================  ==============================================================================

After silence a late answer may still come. It must not be taken for the answer to the next
question, where there are no numbers in the frames. So the line is listened to for a while before
anything is asked whose answer would look the same: what comes then is the answer to the old
question. If that is asked again, it is good; else it is dropped and counted. Before a question the
input is emptied too, never after it: the answer might be fast.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pydantic import Field

from apis_driver.device import DeviceSettings
from apis_driver.errors import (
    BadChecksum,
    BadFrame,
    DeviceBusy,
    DeviceError,
    DeviceRefused,
    DeviceTimeout,
    PortError,
)
from apis_driver.transport import Transport

__all__ = ["Line", "LineSettings", "Reader"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

CLEAN_RUN = 50  # exchanges without a fault after which a line is trusted
_ANSWER_GAPS = 5  # an answer is over after so many gaps
_LEAST_ATTEMPT_S = 0.002  # none is begun with less time than this


class LineSettings(DeviceSettings):
    """Timing of the exchanges.

    Attributes:
        reply_timeout_s: For the first byte of an answer. [s]
        byte_gap_s: Silence inside an answer that ends it. USB adapters pass bytes on in
            portions, up to 16 ms apart. [s]
        late_reply_s: For how long after silence a late answer is waited for, before anything is
            asked whose answer would look the same. [s]
        gap_s: Pause that the device needs between an answer and the next question. [s]
        busy_pause_s: Before asking a busy device again. [s]
        silence_retries, nonsense_retries, busy_retries: Attempts beyond the first.
    """

    reply_timeout_s: float = Field(default=0.1, gt=0, le=10)
    byte_gap_s: float = Field(default=0.03, gt=0, le=1)
    late_reply_s: float = Field(default=0.05, ge=0, le=10)
    gap_s: float = Field(default=0.0, ge=0, le=1)
    busy_pause_s: float = Field(default=0.05, ge=0, le=1)
    silence_retries: int = Field(default=3, ge=0, le=20)
    nonsense_retries: int = Field(default=5, ge=0, le=50)
    busy_retries: int = Field(default=5, ge=0, le=50)


class Reader(Protocol[T_co]):
    """Finds one answer in the bytes of a line."""

    def feed(self, data: bytes) -> T_co | None:
        """Take bytes; the answer, once it is whole. Raises DeviceError if it is a no."""

    @property
    def complaint(self) -> Exception:
        """Why there was none, once no more bytes will come."""

    @property
    def received(self) -> int:
        """How many bytes came."""

    @property
    def foreign(self) -> int:
        """How many whole frames came that are no answer to this question."""

    @property
    def may_follow(self) -> bool:
        """Whether nothing of the answer has come, only noise and frames of others."""


@dataclass(slots=True)
class _Budget:
    silence: int
    nonsense: int
    busy: int


@dataclass(slots=True)
class _Owed:
    """An answer that may still come."""

    question: bytes
    asked_s: float
    reader: Reader[Any]
    until_s: float


class _StillOwed(Exception):
    """Time is up, and an answer to an earlier question may still come."""


class Line:
    """Questions and answers over a transport."""

    def __init__(self, transport: Transport, settings: LineSettings) -> None:
        self._transport = transport
        self._settings = settings
        self._free_at_s = 0.0
        self.clean_run = 0
        self._owed: dict[Hashable, _Owed] = {}
        self._late_by_s = 0.0  # after its question the last late answer came
        self.counters: Counter[str] = Counter()

    @property
    def is_noisy(self) -> bool:
        """Whether something went wrong not long ago; a new line has to earn its trust."""
        return self.clean_run < CLEAN_RUN

    def ask(
        self,
        question: bytes,
        make_reader: Callable[[], Reader[T]],
        deadline_s: float,
        *,
        alike: Hashable = "",
        get_in_step: Callable[[float], None] | None = None,
    ) -> T:
        """Send a question until there is an answer.

        Args:
            question: The bytes.
            make_reader: A fresh reader for each attempt.
            deadline_s: Instant of :func:`time.monotonic` by which this returns or raises.
            alike: The same for all questions whose answers a reader cannot tell apart; by default
                it can tell none. None = it knows each answer's question, or there is no other.
            get_in_step: Called, with the deadline, when a late answer was waited for in vain: sees
                that the device answers what it is asked, and raises DeviceError if it does not.

        Raises:
            DeviceError: The last failure, if there is no answer by then.
        """
        own = self._settings
        budget = _Budget(own.silence_retries, own.nonsense_retries, own.busy_retries)
        failure: DeviceError | None = None
        while True:
            self._sleep_until(self._free_at_s, deadline_s)
            try:
                late: T | None = self._late_answer(question, alike, deadline_s, get_in_step)
                if late is None:
                    answer = self._attempt(question, make_reader(), deadline_s, alike)
                else:
                    answer = late
            except PortError:
                raise
            except _StillOwed as owed:
                raise self._located(failure or DeviceTimeout(str(owed))) from None
            except DeviceBusy as busy:
                self._free_at_s = time.monotonic() + own.busy_pause_s
                self.counters["busy"] += 1
                failure, budget.busy, left = busy, budget.busy - 1, budget.busy
            except DeviceRefused as no:
                self._free_at_s = time.monotonic() + own.gap_s
                self.counters["refused"] += 1
                raise self._located(no) from None
            except BadFrame as nonsense:
                self._note_fault(type(nonsense).__name__)
                failure, budget.nonsense, left = nonsense, budget.nonsense - 1, budget.nonsense
            except DeviceTimeout as silence:
                self._note_fault("silence")
                failure, budget.silence, left = silence, budget.silence - 1, budget.silence
            else:
                self._free_at_s = time.monotonic() + own.gap_s
                self.clean_run += 1
                return answer
            if left <= 0 or time.monotonic() + _LEAST_ATTEMPT_S >= deadline_s:
                raise self._located(failure)
            self.counters["retries"] += 1

    def ask_once(self, question: bytes, reader: Reader[T], deadline_s: float) -> T:
        """Send a question whose answer looks like no other, once.

        Raises:
            DeviceError: There is no answer.
        """
        try:
            return self._attempt(question, reader, deadline_s, None)
        except PortError:
            raise
        except DeviceError as failure:
            raise self._located(failure) from None

    def _late_answer(
        self,
        question: bytes,
        alike: Hashable,
        deadline_s: float,
        get_in_step: Callable[[float], None] | None,
    ) -> Any:
        """Hear out what may still come; the answer, if it is to the same question.

        Raises:
            _StillOwed: It has not come by the deadline.
        """
        own, owed = self._settings, self._owed.get(alike)
        while owed is not None:
            answer, data = None, self._transport.read(min(owed.until_s, deadline_s))
            try:
                answer = owed.reader.feed(data) if data else None
            except DeviceError:  # a late no: it is asked again, if it matters
                owed.until_s = 0.0
            now_s = time.monotonic()
            if answer is not None:
                self.counters["late"] += 1
                self._late_by_s = now_s - owed.asked_s
            elif now_s < owed.until_s and now_s < deadline_s:
                continue
            elif now_s >= owed.until_s > 0.0 and get_in_step is not None:
                get_in_step(deadline_s)
            elif now_s < owed.until_s:
                raise _StillOwed(
                    "an answer to an earlier question may still come; nothing that it could be "
                    f"taken for is asked until then (late_reply_s is {own.late_reply_s})"
                )
            del self._owed[alike]
            return answer if owed.question == question else None
        return None

    def _attempt(
        self, question: bytes, reader: Reader[T], deadline_s: float, alike: Hashable
    ) -> T:
        own = self._settings
        self._count("dropped bytes", self._transport.drop_input())
        self.counters["exchanges"] += 1
        self._transport.write(question)
        asked_s = now_s = time.monotonic()
        # a babbling line comes to no end by itself
        end_s = min(now_s + own.reply_timeout_s + _ANSWER_GAPS * own.byte_gap_s, deadline_s)
        until_s = first_until_s = min(now_s + own.reply_timeout_s, end_s)
        try:
            while data := self._transport.read(until_s):
                answer = reader.feed(data)
                if answer is not None:
                    return answer
                now_s = time.monotonic()
                if now_s >= end_s:
                    break
                until_s = min(now_s + own.byte_gap_s, end_s)
                if reader.may_follow:
                    until_s = max(until_s, first_until_s)
        finally:
            self._count("foreign", reader.foreign)
        complaint = reader.complaint
        if alike is not None and not isinstance(complaint, BadChecksum):
            until_s = time.monotonic() + own.late_reply_s
            self._owed[alike] = _Owed(question, asked_s, reader, until_s)
        raise complaint

    def _count(self, what: str, number: int) -> None:
        if number:
            self.counters[what] += number

    def _note_fault(self, kind: str) -> None:
        self.clean_run = 0
        self.counters[kind] += 1

    def _located(self, failure: DeviceError) -> DeviceError:
        """The same failure with the port in its text."""
        text = f"{self._transport.address}: {failure}"
        if self._late_by_s and isinstance(failure, DeviceTimeout):
            limit_s = self._settings.reply_timeout_s
            text += (
                f"; the last answer came {self._late_by_s:.2g} s after its question, "
                f"reply_timeout_s is {limit_s:g}"
            )
        return type(failure)(text)

    def _sleep_until(self, instant_s: float, deadline_s: float) -> None:
        wait_s = min(instant_s, deadline_s) - time.monotonic()
        if wait_s > 0.0:
            time.sleep(wait_s)
