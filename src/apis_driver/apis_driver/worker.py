"""One thread for one device: jobs by priority, and something to do when there are none."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from enum import IntEnum
from typing import Any, TypeVar

from apis_driver.errors import DeviceTimeout

__all__ = ["Priority", "Worker"]

T = TypeVar("T")

OVERDUE_S = 0.1  # so late, what is done all the time goes before orders


class Priority(IntEnum):
    """The order in which waiting jobs are done."""

    STOP = 0
    ORDER = 1
    READ = 2


class Worker:
    """Runs jobs one after the other, the most urgent first.

    Args:
        name: Of its thread.
        idle: Called when there is no job, or when none but urgent ones came too long between;
            returns for how long it need not be called again. [s]

    Attributes:
        failure: What `idle` raised, which ends the thread: a bug of ours, for its owner to die of.
    """

    def __init__(self, name: str, idle: Callable[[], float]) -> None:
        self._idle = idle
        self._jobs: list[tuple[Priority, int, float, Callable[[], Any], Future[Any]]] = []
        self._count = 0
        self._changed = threading.Condition()
        self._urgent = threading.Event()
        self._is_ended = False
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def submit(self, priority: Priority, job: Callable[[], T], deadline_s: float) -> Future[T]:
        """Put a job into the queue of the thread.

        Args:
            priority: Its place among those that wait.
            job: What to do; must itself keep to the deadline.
            deadline_s: Of :func:`time.monotonic`; a job that has not begun by then fails with
                DeviceTimeout.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._is_ended:
                future.set_exception(DeviceTimeout("the driver has ended"))
                return future
            self._count += 1
            heapq.heappush(self._jobs, (priority, self._count, deadline_s, job, future))
            if priority is Priority.STOP:
                self._urgent.set()
            self._changed.notify()
        return future

    def pause(self, duration_s: float) -> bool:
        """Wait, but not when there is something urgent to do; returns whether there is.

        For use inside of jobs.
        """
        return self._urgent.wait(duration_s)

    def end(self, within_s: float) -> None:
        """Finish the job at hand and fail the others; waits for the thread so long at most."""
        with self._changed:
            self._is_ended = True
            for *_, future in self._jobs:
                future.set_exception(DeviceTimeout("the driver has ended"))
            self._jobs.clear()
            self._urgent.set()
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(within_s)

    def _run(self) -> None:
        idle_until_s = 0.0
        while True:
            with self._changed:
                wait_s = idle_until_s - time.monotonic()
                if not self._jobs and not self._is_ended and wait_s > 0.0:
                    self._changed.wait(wait_s)
                if self._is_ended:
                    return
                taken = heapq.heappop(self._jobs) if self._is_a_jobs_turn(idle_until_s) else None
                if not any(priority is Priority.STOP for priority, *_ in self._jobs):
                    self._urgent.clear()
            if taken is not None:
                self._do(*taken[2:])
            elif time.monotonic() >= idle_until_s:
                try:
                    idle_until_s = time.monotonic() + self._idle()
                except Exception as error:
                    self.failure = error
                    return

    def _is_a_jobs_turn(self, idle_until_s: float) -> bool:
        """However many orders come, what must be done all the time has its turn."""
        if not self._jobs:
            return False
        is_stop = self._jobs[0][0] is Priority.STOP
        return is_stop or time.monotonic() < idle_until_s + OVERDUE_S

    @staticmethod
    def _do(deadline_s: float, job: Callable[[], Any], future: Future[Any]) -> None:
        if time.monotonic() >= deadline_s:
            future.set_exception(DeviceTimeout("the device was busy with something else"))
            return
        try:
            future.set_result(job())
        except Exception as error:  # belongs to whoever waits for it
            future.set_exception(error)
