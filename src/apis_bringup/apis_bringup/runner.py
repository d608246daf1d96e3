"""Runs programs together: shows what they say, stops them in order, leaves nothing behind.

Built from honcho's pieces: its :class:`~honcho.process.Process` reads one child's output and its
:class:`~honcho.printer.Printer` writes the coloured lines. Honcho's own manager forks a Python
process for every child and stops all children at once; here a thread per child is enough, and the
unit nodes stop while the hardware still answers.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from honcho.colour import get_colours
from honcho.printer import Message, Printer
from honcho.process import Process as Reader

__all__ = ["Child", "Runner"]

LAST_WORDS = 12  # lines
SYSTEM = "apis"  # name in front of the runner's own lines
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Child:
    """A program to run.

    Attributes:
        name: As people know it, such as ``unit E001``.
        command: Program and arguments.
        stop_turn: Those with a lower one are asked to stop, and waited for, before it. Those with
            0 are units: they may end by themselves, and with the last of them everything does.
    """

    name: str
    command: tuple[str, ...]
    stop_turn: int = 0


@dataclass
class _Running:
    """A child and what has become of it."""

    child: Child
    log: BinaryIO
    colour: str
    pid: int | None = None
    returncode: int | None = None
    asked: bool = False  # to stop
    killed: bool = False  # by the runner
    last_words: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_WORDS))

    @property
    def is_alive(self) -> bool:
        return self.returncode is None

    @property
    def ended_orderly(self) -> bool:
        """Whether it ended as one that was asked to; it may not have had a handler yet."""
        if self.returncode in (0, -signal.SIGINT, 128 + signal.SIGINT):
            return True
        # Python's exit code is 1 if the interrupt comes while the interpreter itself starts.
        return bool(self.last_words) and self.last_words[-1].startswith("KeyboardInterrupt")

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the child and whatever it started."""
        if self.pid is None or not self.is_alive:
            return
        with suppress(ProcessLookupError):  # it has ended, and that message is in the queue
            os.killpg(self.pid, number)


class Runner:
    """Runs children until one ends, a stop signal comes, or :meth:`request_stop` is called.

    Args:
        children: What to run; names are unique.
        log_folder: Gets a file with the output of each child.
        env: Environment of the children; None = ours.
        printer: Where lines go; None = standard output.
        quiet: Only the runner's own lines are shown; the children's go to their files alone.
        first_stop_s: Wall time that the children of the first turn have to stop. [s]
        then_stop_s: Wall time for those of every other turn. [s]
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        log_folder: Path,
        env: Mapping[str, str] | None = None,
        printer: Printer | None = None,
        quiet: bool = False,
        first_stop_s: float = 8.0,
        then_stop_s: float = 5.0,
    ) -> None:
        self._env = dict(os.environ if env is None else env)
        self._quiet = quiet
        self._bounds_s = (first_stop_s, then_stop_s)
        self._printer = printer or Printer(sys.stdout)
        self._printer.width = max(len(name) for name in (SYSTEM, *(c.name for c in children)))
        # SimpleQueue: its put() is safe inside a signal handler.
        self._events: queue.SimpleQueue[Message] = queue.SimpleQueue()
        log_folder.mkdir(parents=True, exist_ok=True)
        colours = get_colours()
        self._running = {
            child.name: _Running(
                child,
                (log_folder / f"{child.name.replace(' ', '_')}.log").open("wb"),
                next(colours),
            )
            for child in children
        }
        self._asked: list[_Running] = []  # the group that is stopping now
        self._deadline: float | None = None  # for that group, by the steady clock
        self._stopping = False
        self._turns_over = 0
        self._is_mute = False
        self._exit_code = 0

    def run(self) -> int:
        """Run to the end; call it once, from the main thread if signals are to stop it.

        Returns:
            0 after an orderly stop, 1 if a child ended by itself, had to be killed, or stopped
            with an error. A child of the first group may end by itself with 0: an operator has
            shut it down. After the last of them the rest is stopped.
        """
        try:
            with self._stop_signals():
                for running in self._running.values():
                    threading.Thread(target=self._read, args=(running,), daemon=True).start()
                while any(running.is_alive for running in self._running.values()):
                    self._handle_next()
        finally:
            for running in self._running.values():  # nothing is alive unless an exception came
                running.signal_group(signal.SIGKILL)
                running.log.close()
        return self._exit_code

    def request_stop(self, *, exit_code: int = 0) -> None:
        """Stop all children in order; any thread may call it, at any time."""
        self._post("quit", exit_code)

    def say(self, text: str, *, colour: str | None = None) -> None:
        """Show a line of our own."""
        self._show(Message("line", text, datetime.now(), SYSTEM, colour))

    def _read(self, running: _Running) -> None:
        """Start a child and pass on what it says, until it ends (a thread of its own).

        The kernel ties the child to the thread that started it, so this thread must live as long
        as the child.
        """
        reader = Reader(
            list(running.child.command),
            name=running.child.name,
            colour=running.colour,
            env=self._env,
        )
        reader._child_ctor = _popen  # honcho's seam for this
        reader.run(self._events)

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
        """Wait for the next event, or for the deadline of the group that is stopping."""
        try:
            if self._deadline is None:
                message = self._events.get()
            else:
                message = self._events.get(timeout=max(0.0, self._deadline - time.monotonic()))
        except queue.Empty:
            self._kill(self._asked)
            return
        if message.type == "interrupt":
            self._on_interrupt()
        elif message.type == "quit":
            self._exit_code = max(self._exit_code, message.data)
            self._stop()
        else:
            self._on_child(self._running[message.name], message)

    def _on_child(self, running: _Running, message: Message) -> None:
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
            self._on_end(running)

    def _on_interrupt(self) -> None:
        if self._stopping:
            self.say("asked again: killing what is left")
            self._kill(list(self._running.values()))
        else:
            self.say("stopping (once more kills at once)")
            self._stop()

    def _on_end(self, running: _Running) -> None:
        name, how = running.child.name, _how_it_ended(running.returncode)
        if not running.asked and running.returncode == 0 and not running.child.stop_turn:
            self.say(f"{name} has been shut down")  # by an operator, through the graph
            rest = (other for other in self._running.values() if not other.child.stop_turn)
            if not any(other.is_alive for other in rest):
                self._stop()
        elif not running.asked:
            self._exit_code = 1
            self.say(f"{name} {how}; its last words:", colour="31")
            for line in running.last_words or ["(it said nothing)"]:
                self.say(f"    {line}")
            if not self._stopping:
                self.say("stopping the others")
                self._stop()
        elif not running.ended_orderly and not running.killed:
            self._exit_code = 1
            self.say(f"{name} {how} while it was stopping", colour="31")
        if self._stopping and not any(other.is_alive for other in self._asked):
            self._ask_next_group()

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._ask_next_group()

    def _ask_next_group(self) -> None:
        """Ask those to stop whose turn is next."""
        alive = [running for running in self._running.values() if running.is_alive]
        turn = min((running.child.stop_turn for running in alive), default=0)
        self._asked = [running for running in alive if running.child.stop_turn == turn]
        for running in self._asked:
            running.asked = True
            running.signal_group(signal.SIGINT)
        self._deadline = time.monotonic() + self._bounds_s[min(self._turns_over, 1)]
        self._turns_over += 1

    def _kill(self, group: Sequence[_Running]) -> None:
        for running in (running for running in group if running.is_alive):
            running.asked = running.killed = True
            running.signal_group(signal.SIGKILL)
            self.say(f"{running.child.name} did not stop in time and is killed", colour="31")
            self._exit_code = 1
        self._deadline = None  # SIGKILL needs no second try

    def _show(self, message: Message) -> None:
        if self._is_mute:
            return
        try:
            self._printer.write(message)
        except OSError:
            # The terminal or the pipe behind us is gone; to stop in order matters more.
            self._is_mute = True


def _popen(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a child in its own session, so that Ctrl-C reaches the runner alone."""
    wrapper = [sys.executable, "-I", "-S", str(Path(__file__).with_name("child.py"))]
    return subprocess.Popen(
        [*wrapper, str(os.getpid()), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        **options,
    )


def _how_it_ended(returncode: int | None) -> str:
    if returncode is None or returncode >= 0:
        return f"ended by itself with exit code {returncode}"
    return f"was killed by {signal.Signals(-returncode).name}"
