"""Processes of a grid as actions of ROS 2's `launch`; imported by the launch files only.

They follow the same roles as under ``apisctl run``: who dies is started again or left out, and all
stop in turns, so that every converter is in WAIT before its hardware goes.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launch import LaunchContext
from launch.actions import EmitEvent, LogInfo, OpaqueFunction, TimerAction
from launch.events import Shutdown
from launch.launch_description_entity import LaunchDescriptionEntity
from launch_ros.actions import Node

from apis_bringup.processes import Process
from apis_bringup.roles import RESTART_DELAYS_S, WRONG_CONFIGURATION, Restarts, Role
from apis_bringup.shared_memory import remove_dead_segments

__all__ = ["LaunchFailedError", "Members"]

STOPS_WITHIN_S = 20.0  # a bus takes its time to go down
ENDED_AS_ASKED = (0, -signal.SIGINT, 128 + signal.SIGINT)  # it may not have had a handler yet

Entities = list[LaunchDescriptionEntity]


class LaunchFailedError(Exception):
    """A process is missing for good: makes the exit code of `ros2 launch` 1."""


class Members:
    """Starts the processes of a launch file, starts again those that die, stops them in order.

    `launch` tells all processes at the same moment to stop, and the terminal's Ctrl-C reaches all
    of them; here each runs in a session of its own and is interrupted when its turn has come.

    Args:
        fail_fast: The first process that ends by itself ends all.
        needs_all: All end when one of them is left out.
    """

    def __init__(
        self, context: LaunchContext, *, fail_fast: bool = False, needs_all: bool = False
    ) -> None:
        self._context = context
        self._fail_fast = fail_fast
        self._needs_all = needs_all
        self._members: list[_Member] = []
        self._failures: list[str] = []
        # A shell that starts `ros2 launch` in the background makes it ignore Ctrl-C.
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def start_process(
        self, process: Process, stops_within_s: float = STOPS_WITHIN_S, **environment: str
    ) -> Entities:
        """Actions that start a process of a grid; see :meth:`start`."""
        return self.start(
            process.name,
            process.role,
            stops_within_s,
            package=process.package,
            executable=process.executable,
            # Without one, the executable names its own nodes.
            namespace=process.namespace or None,
            arguments=list(process.arguments),
            parameters=[str(process.params_file)],
            additional_env=environment or None,
        )

    def start(
        self, name: str, role: Role, stops_within_s: float = STOPS_WITHIN_S, **options: Any
    ) -> Entities:
        """Actions that start a node.

        Args:
            name: As people know it, such as ``unit E001``.
            role: What it is for; says when it stops, and what happens when it dies.
            stops_within_s: Wall time from SIGINT to SIGTERM. [s]
            options: Of launch_ros's `Node`.
        """
        member = _Member(name, role, {**options, "sigterm_timeout": str(stops_within_s)})
        self._members.append(member)
        return [self._node_of(member)]

    def ask_to_stop(self, member: _Member) -> Entities:
        """Interrupt a process if its turn has come; else that is done when the others have
        ended.
        """
        if member.is_alive and member.role.stop_turn == self._turn():
            return member.stop(self._context)
        return []

    def _node_of(self, member: _Member) -> Node:
        member.started_s = time.monotonic()
        options = dict(member.options)
        if member.is_rescue:
            options["arguments"] = [*options.get("arguments", ()), "--put-to-wait"]
        member.node = _Node(
            lambda: self.ask_to_stop(member),
            exec_name=member.name.replace(" ", "_"),
            prefix=_prefix(self._context, member.options["executable"]),
            output="screen",
            emulate_tty=True,
            on_exit=lambda event, _context: self._on_exit(member, event.returncode),
            **options,
        )
        return member.node

    def _turn(self) -> int:
        return min(
            (member.role.stop_turn for member in self._members if member.is_alive), default=0
        )

    def _on_exit(self, member: _Member, returncode: int) -> Entities:
        if returncode < 0:
            remove_dead_segments()
        if self._context.is_shutdown:
            return self._on_asked_exit(member, returncode)
        if member.is_rescue:
            return self._on_rescued(member, returncode)
        if returncode == 0 and member.role not in (Role.DRIVER, Role.WORLD):
            # By somebody, in order.
            how = "been shut down" if member.role is Role.UNIT else "ended"
            return [LogInfo(msg=f"{member.name} has {how}"), *self._end_if_pointless()]
        how = f"{member.name} ended by itself (exit code {returncode}; its last words are above)"
        delay_s = None
        if member.role.is_restarted and returncode != WRONG_CONFIGURATION and not self._fail_fast:
            delay_s = member.restarts.delay_s(time.monotonic() - member.started_s)
        if delay_s is not None:
            count = f"try {member.restarts.tries} of {len(RESTART_DELAYS_S)}"
            when = f"in {delay_s:g} s" if delay_s else "now"
            again = f"{how}: it is started again {when} ({count}); the others go on"
            member.node = None
            member.is_coming = True
            start = OpaqueFunction(function=lambda _context: self._again(member))
            return [LogInfo(msg=again), TimerAction(period=delay_s, actions=[start])]
        self._failures.append(how)
        if member.role is Role.DRIVER and returncode != WRONG_CONFIGURATION:
            member.is_rescue = True
            once_more = LogInfo(msg=f"{how}: it is started once more to say WAIT")
            return [once_more, self._node_of(member)]
        return self._go_on_without(member, how)

    def _on_rescued(self, member: _Member, returncode: int) -> Entities:
        """What stood in for a driver that is missing for good has ended."""
        if returncode == 0:
            how = f"{member.name}: its converter is in WAIT"
        else:
            how = (
                f"{member.name}: its converter could not be told WAIT and may still be on; "
                "switch it off by hand"
            )
            self._failures.append(how)
        return self._go_on_without(member, how)

    def _go_on_without(self, member: _Member, how: str) -> Entities:
        if self._fail_fast or self._needs_all or member.role.is_required:
            raise LaunchFailedError(f"{how}: the others are stopped")
        left_out = LogInfo(msg=f"{how}: it is left out; the others go on")
        return [left_out, *self._end_if_pointless()]

    def _again(self, member: _Member) -> Entities:
        member.is_coming = False
        return [self._node_of(member)]

    def _on_asked_exit(self, member: _Member, returncode: int) -> Entities:
        # Its own alarm ends a process that has done all but leave the graph.
        if returncode not in (*ENDED_AS_ASKED, -signal.SIGALRM):
            self._failures.append(f"{member.name} ended with exit code {returncode}")
        alive = [other for other in self._members if other.is_alive]
        if not alive and self._failures:
            raise LaunchFailedError("; ".join(self._failures))
        return [action for other in alive for action in self.ask_to_stop(other)]

    def _end_if_pointless(self) -> Entities:
        """When no unit is left, or of windows alone the last one has gone, the rest is stopped.

        Of units that an operator has shut down the windows go on.
        """
        units = [member for member in self._members if member.role is Role.UNIT]
        if any(member.is_alive or member.is_coming for member in units or self._members):
            return []
        lookers = (Role.WINDOW, Role.RECORDER)
        if not self._failures and any(
            member.is_alive for member in self._members if member.role in lookers
        ):
            return [LogInfo(msg="no unit is left; the windows go on until Ctrl-C")]
        reason = "no unit is left" if units else "nothing is left"
        if self._failures:
            raise LaunchFailedError(f"{reason}: {'; '.join(self._failures)}")
        return [EmitEvent(event=Shutdown(reason=reason))]


class _Member:
    """One process, and what has become of it."""

    def __init__(self, name: str, role: Role, options: dict[str, Any]) -> None:
        self.name = name
        self.role = role
        self.options = options
        self.node: _Node | None = None
        self.restarts = Restarts()
        self.started_s = 0.0  # steady
        self.is_rescue = False  # only tells the converter WAIT
        self.is_coming = False  # its next start has been ordered
        self._is_asked = False

    @property
    def is_alive(self) -> bool:
        future = self.node.get_asyncio_future() if self.node else None
        return future is not None and not future.done()

    def stop(self, context: LaunchContext) -> Entities:
        """Interrupt it, once."""
        if self._is_asked or self.node is None:
            return []
        self._is_asked = True
        return self.node.stop(context) or []


class _Node(Node):
    """A node that asks whether its turn has come before it stops."""

    def __init__(self, ask: Callable[[], Entities], **options: Any) -> None:
        super().__init__(**options)
        self._ask = ask

    def stop(self, context: LaunchContext) -> Entities | None:
        """Interrupt it, terminate it and kill it when it takes too long."""
        entities: Entities | None = super()._shutdown_process(context, send_sigint=True)
        return entities

    def _shutdown_process(self, context: LaunchContext, *, send_sigint: bool) -> Entities:
        """What `launch` calls on every shutdown, of all processes at the same moment."""
        return self._ask()


def _prefix(context: LaunchContext, executable: str) -> list[str]:
    """Makes the kernel tell a process to stop when `ros2 launch` is gone, however it went.

    What the user wants in front of the program (``--launch-prefix``) comes after that.
    """
    child = str(Path(__file__).with_name("child.py"))
    words = [sys.executable, "-I", "-S", child, str(os.getpid()), str(int(signal.SIGTERM))]
    configurations = context.launch_configurations
    if re.match(configurations.get("launch-prefix-filter", ""), executable):
        return [" ".join([shlex.join(words), configurations.get("launch-prefix", "")])]
    return [shlex.join(words)]
