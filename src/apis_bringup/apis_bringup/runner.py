"""Runs programs together: shows what they say, starts again what dies, stops them in order.

Built from honcho's pieces: its :class:`~honcho.process.Process` reads one child's output and its
:class:`~honcho.printer.Printer` writes the coloured lines. Honcho's own manager forks a Python
process for every child and stops all children at once; here a thread per child is enough, and the
unit nodes stop while the hardware still answers.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from honcho.colour import get_colours
from honcho.printer import Message, Printer
from honcho.process import Process as Reader

from apis_bringup.children import Child, Running, popen
from apis_bringup.roles import RESTART_DELAYS_S, WRONG_CONFIGURATION, Restarts, Role
from apis_bringup.shared_memory import remove_dead_segments

__all__ = ["Child", "Runner"]

SYSTEM = "apis"  # name in front of the runner's own lines
RED = "31"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


_LOOKERS = (Role.WINDOW, Role.RECORDER)


class Runner:
    """Runs children until the last unit ends, a stop signal comes, or :meth:`request_stop`.

    Args:
        children: What to run; names are unique.
        log_folder: Gets a file with the output of each child.
        env: Environment of the children; None = ours.
        printer: Where lines go; None = standard output.
        quiet: Only the runner's own lines are shown; the children's go to their files alone.
        fail_fast: The first child that dies ends the run; nothing is started again.
        restart_delays_s: Before each try to start again what has died. [s]
        rescue_s: Wall time for what runs in place of a driver that is lost. [s]
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        log_folder: Path,
        env: Mapping[str, str] | None = None,
        printer: Printer | None = None,
        quiet: bool = False,
        fail_fast: bool = False,
        restart_delays_s: Sequence[float] = RESTART_DELAYS_S,
        rescue_s: float = 15.0,
    ) -> None:
        self._env = dict(os.environ if env is None else env)
        self._quiet = quiet
        self._fail_fast = fail_fast
        self._rescue_s = rescue_s
        self._printer = printer or Printer(sys.stdout)
        self._printer.width = max(len(name) for name in (SYSTEM, *(c.name for c in children)))
        # SimpleQueue: its put() is safe inside a signal handler.
        self._events: queue.SimpleQueue[Message] = queue.SimpleQueue()
        log_folder.mkdir(parents=True, exist_ok=True)
        colours = get_colours()
        self._running = {
            child.name: Running(
                child,
                (log_folder / f"{child.name.replace(' ', '_')}.log").open("wb"),
                next(colours),
                Restarts(restart_delays_s),
            )
            for child in children
        }
        self._stops: Iterator[tuple[list[Running], float]] | None = None  # once it is stopping
        self._asked: list[Running] = []  # the group that is stopping now
        self._deadline_s: float | None = None  # for that group, by the steady clock
        self._is_killing = False
        self._is_mute = False
        self._exit_code = 0

    def run(self) -> int:
        """Run to the end; call it once, from the main thread if signals are to stop it.

        A child that dies is started again, or left out, as its role says. A unit may end by itself
        with 0: an operator has shut it down. After the last of them the rest is stopped, unless
        there are windows: they go on.

        Returns:
            0 after an orderly stop, 1 if a child was left out or is required and died, had to be
            killed, stopped with an error, or if somebody's converter could not be told WAIT.
        """
        try:
            with self._stop_signals():
                for running in self._running.values():
                    self._start(running, running.child.command)
                while self._is_busy():
                    self._handle_next()
        finally:
            for running in self._running.values():  # nothing is alive unless an exception came
                running.signal_group(signal.SIGKILL)
                running.log.close()
        for running in self._running.values():
            if running.is_lost:
                self._exit_code = 1
                self.say(
                    f"{running.child.name}: its converter could not be told WAIT and may still "
                    "be on; switch it off by hand",
                    colour=RED,
                )
        return self._exit_code

    def request_stop(self, *, exit_code: int = 0) -> None:
        """Stop all children in order; any thread may call it, at any time."""
        self._post("quit", exit_code)

    def say(self, text: str, *, colour: str | None = None) -> None:
        """Show a line of our own."""
        self._show(Message("line", text, datetime.now(), SYSTEM, colour))

    # --- children --------------------------------------------------------------------------------

    def _start(self, running: Running, command: tuple[str, ...]) -> None:
        running.pid, running.is_alive = None, True
        running.asked = running.killed = False
        running.restart_at_s = None
        running.started_s = time.monotonic()
        running.last_words.clear()
        threading.Thread(target=self._read, args=(running, command), daemon=True).start()

    def _read(self, running: Running, command: tuple[str, ...]) -> None:
        """Start a child and pass on what it says, until it ends (a thread of its own).

        The kernel ties the child to the thread that started it, so this thread must live as long
        as the child.
        """
        reader = Reader(
            list(command), name=running.child.name, colour=running.colour, env=self._env
        )
        # honcho's seam for this
        reader._child_ctor = popen
        reader.run(self._events)

    def _is_busy(self, *roles: Role) -> bool:
        """Whether a child (of these roles) lives, or will again."""
        return any(
            running.is_alive or running.restart_at_s is not None
            for running in self._running.values()
            if not roles or running.child.role in roles
        )

    # --- events ----------------------------------------------------------------------------------

    @contextmanager
    def _stop_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, lambda *_: self._post("interrupt"))
            for number in STOP_SIGNALS
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _post(self, kind: str, data: Any = None) -> None:
        self._events.put(Message(kind, data, datetime.now(), SYSTEM, None))

    def _handle_next(self) -> None:
        """Wait for the next event, the next restart, or the end of the stopping group's time."""
        try:
            message = self._events.get(timeout=self._next_due_s())
        except queue.Empty:
            self._on_time()
            return
        if message.type == "interrupt":
            self._on_interrupt()
        elif message.type == "quit":
            self._exit_code = max(self._exit_code, message.data)
            self._stop()
        else:
            self._on_child(self._running[message.name], message)

    def _next_due_s(self) -> float | None:
        dues = [r.restart_at_s for r in self._running.values()] + [self._deadline_s]
        ahead = [due_s - time.monotonic() for due_s in dues if due_s is not None]
        return max(0.0, min(ahead)) if ahead else None

    def _on_time(self) -> None:
        now_s = time.monotonic()
        if self._deadline_s is not None and now_s >= self._deadline_s:
            self._kill(self._asked)
        for running in self._running.values():
            if running.restart_at_s is not None and now_s >= running.restart_at_s:
                self._start(running, running.child.command)

    def _on_child(self, running: Running, message: Message) -> None:
        if message.type == "start":
            running.pid = message.data["pid"]
            if running.asked:  # the stop came before the start
                running.signal_group(signal.SIGKILL if running.killed else signal.SIGINT)
        elif message.type == "line":
            running.log.write(message.data)
            running.log.flush()
            running.last_words.append(message.data.decode("utf-8", "replace").rstrip())
            if not self._quiet:
                self._show(message)
        elif message.type == "stop":
            code = message.data["returncode"]
            # its own alarm ends a process that has done all but leave the graph
            running.returncode = 0 if code == -signal.SIGALRM else code
            running.is_alive = False
            if code < 0:
                remove_dead_segments()
            self._on_end(running)

    def _on_interrupt(self) -> None:
        if self._stops is not None:
            self.say("asked again: killing what is left")
            self._is_killing = True
            self._kill(list(self._running.values()))
        else:
            self.say("stopping (once more kills at once)")
            self._stop()

    # --- ends ------------------------------------------------------------------------------------

    def _on_end(self, running: Running) -> None:
        name = running.child.name
        if running.is_rescue:
            if running.returncode == 0:
                self.say(f"{name}: its converter is in WAIT")
        elif not running.asked:
            self._on_own_end(running)
        elif not running.ended_orderly and not running.killed:
            self._exit_code = 1
            self._tell_death(running, " while it was stopping")
        if self._stops is not None:
            if not any(other.is_alive for other in self._asked):
                self._ask_next_group()
        elif running.child.role in (Role.UNIT, *_LOOKERS) and not self._is_busy(Role.UNIT):
            self._on_no_unit()

    def _on_no_unit(self) -> None:
        """What an operator has shut down may still be looked at; of nothing else there is need."""
        units = [running for running in self._running.values() if running.is_unit]
        if not units:
            return
        if all(unit.returncode == 0 for unit in units) and self._is_busy(*_LOOKERS):
            self.say("no unit is left; the windows go on until Ctrl-C")
        else:
            self.say("no unit is left: stopping the others")
            self._stop()

    def _on_own_end(self, running: Running) -> None:
        """A child has ended that nobody had asked to."""
        child = running.child
        if running.returncode == 0 and child.role not in (Role.DRIVER, Role.WORLD):
            how = "been shut down" if running.is_unit else "ended"  # by somebody, in order
            self.say(f"{child.name} has {how}")
            return
        self._tell_death(running, "")
        if self._stops is not None:
            self._exit_code = 1
        elif self._fail_fast or child.role.is_required:
            self._exit_code = 1
            self.say("stopping the others")
            self._stop()
        else:
            self._restart(running)

    def _tell_death(self, running: Running, when: str) -> None:
        how = running.how_it_ended
        self.say(f"{running.child.name} {how}{when}; its last words:", colour=RED)
        for line in running.last_words or ["(it said nothing)"]:
            self.say(f"    {line}")

    def _restart(self, running: Running) -> None:
        """Start it again, at once or a little later, or leave it out."""
        name, now_s = running.child.name, time.monotonic()
        delay_s = None
        if running.child.role.is_restarted and running.returncode != WRONG_CONFIGURATION:
            delay_s = running.restarts.delay_s(now_s - running.started_s)
        if delay_s is None:
            self._exit_code = 1
            again = f" after {running.restarts.tries} tries" if running.restarts.tries else ""
            self.say(f"{name} is left out{again}; the others go on", colour=RED)
            if running.is_lost:
                self._rescue(running)
            return
        count = f"try {running.restarts.tries} of {len(running.restarts.delays_s)}"
        when = f"in {delay_s:g} s" if delay_s else "now"
        self.say(f"{name} is started again {when} ({count}); the others go on")
        running.restart_at_s = now_s + delay_s

    def _rescue(self, running: Running) -> None:
        """Have somebody else tell the converter of a driver WAIT."""
        self.say(f"{running.child.name} is started once more to say WAIT")
        running.is_rescue = True
        self._start(running, running.child.rescue)

    # --- stopping --------------------------------------------------------------------------------

    def _stop(self) -> None:
        if self._stops is None:
            for running in self._running.values():
                running.restart_at_s = None
            self._stops = self._stop_steps()
            self._ask_next_group()

    def _stop_steps(self) -> Iterator[tuple[list[Running], float]]:
        """Who has been asked to end, and by when, one group after the other. [s]"""
        everybody = list(self._running.values())
        for turn in sorted({running.child.role.stop_turn for running in everybody}):
            group = [running for running in everybody if running.child.role.stop_turn == turn]
            alive = [running for running in group if running.is_alive]
            if alive:
                for running in alive:
                    running.asked = True
                    running.signal_group(signal.SIGINT)
                yield alive, max(running.child.stop_s for running in alive)
            lost = [running for running in group if running.is_lost]
            if lost and not self._is_killing:
                for running in lost:
                    self._rescue(running)
                yield lost, self._rescue_s

    def _ask_next_group(self) -> None:
        """Go on to those whose turn is next, if there are any."""
        assert self._stops is not None
        self._asked, limit_s = next(self._stops, ([], None))
        self._deadline_s = None if limit_s is None else time.monotonic() + limit_s

    def _kill(self, group: Sequence[Running]) -> None:
        for running in (running for running in group if running.is_alive):
            running.asked = running.killed = True
            running.signal_group(signal.SIGKILL)
            self.say(f"{running.child.name} did not stop in time and is killed", colour=RED)
            self._exit_code = 1
        self._deadline_s = None  # SIGKILL needs no second try

    def _show(self, message: Message) -> None:
        if self._is_mute:
            return
        try:
            self._printer.write(message)
        except OSError:
            # The terminal or the pipe behind us is gone; to stop in order matters more.
            self._is_mute = True
