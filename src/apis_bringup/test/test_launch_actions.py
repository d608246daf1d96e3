"""What the launch files do when a process dies, and in which order they stop; with stand-ins for
`launch` and `launch_ros`, which no wheel brings.
"""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest

from apis_bringup.roles import RESTART_DELAYS_S, Role


class Action:
    def __init__(self, *words: Any, **options: Any) -> None:
        self.words = words
        self.__dict__.update(options)


class LogInfo(Action):
    pass


class TimerAction(Action):
    pass


class EmitEvent(Action):
    pass


class OpaqueFunction(Action):
    pass


class Shutdown(Action):
    pass


class Node:
    """Of launch_ros: alive from its making on, until the test says that it has ended."""

    made: ClassVar[list[Node]] = []

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.is_over = False
        self.interrupted = 0
        Node.made.append(self)

    def get_asyncio_future(self) -> SimpleNamespace:
        return SimpleNamespace(done=lambda: self.is_over)

    def _shutdown_process(self, context: Any, *, send_sigint: bool) -> list[Any]:
        self.interrupted += send_sigint
        return ["timers"]

    def end(self, returncode: int, context: Any) -> list[Any]:
        self.is_over = True
        return self.options["on_exit"](SimpleNamespace(returncode=returncode), context)


@pytest.fixture
def launch_actions(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    def module(name: str, **content: Any) -> None:
        made = ModuleType(name)
        made.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, made)

    module("launch", LaunchContext=object)
    module(
        "launch.actions",
        EmitEvent=EmitEvent,
        LogInfo=LogInfo,
        OpaqueFunction=OpaqueFunction,
        TimerAction=TimerAction,
    )
    module("launch.events", Shutdown=Shutdown)
    module("launch.events.process", ProcessExited=object)
    module("launch.launch_description_entity", LaunchDescriptionEntity=object)
    module("launch_ros")
    module("launch_ros.actions", Node=Node)
    monkeypatch.setattr(Node, "made", [])
    monkeypatch.delitem(sys.modules, "apis_bringup.launch_actions", raising=False)
    yield importlib.import_module("apis_bringup.launch_actions")
    sys.modules.pop("apis_bringup.launch_actions", None)


class Launch:
    """A launch file under way."""

    def __init__(self, module: ModuleType, roles: dict[str, Role], **options: Any) -> None:
        self.context = SimpleNamespace(is_shutdown=False, launch_configurations={})
        self.members = module.Members(self.context, **options)
        self.said: list[str] = []
        for name, role in roles.items():
            self.members.start(name, role, package="p", executable=name)

    def node(self, name: str) -> Node:
        """The newest one of that name."""
        return next(n for n in reversed(Node.made) if n.options["exec_name"] == name)

    def end(self, name: str, returncode: int) -> list[Any]:
        """A process ends; timers of what follows go off at once."""
        actions = self.node(name).end(returncode, self.context)
        self.said += [action.msg for action in actions if isinstance(action, LogInfo)]
        for action in actions:
            if isinstance(action, TimerAction):
                for inner in action.actions:
                    inner.function(self.context)
        return actions

    def interrupt(self) -> list[str]:
        """Ctrl-C; gives those that were interrupted."""
        self.context.is_shutdown = True
        for node in list(Node.made):
            node._shutdown_process(self.context, send_sigint=False)
        return self.interrupted()

    def interrupted(self) -> list[str]:
        return [n.options["exec_name"] for n in Node.made if n.interrupted and not n.is_over]


GRID = {
    "emulator": Role.WORLD,
    "driver": Role.DRIVER,
    "one": Role.UNIT,
    "two": Role.UNIT,
    "dashboard": Role.WINDOW,
    "recorder": Role.RECORDER,
}


def test_units_stop_before_drivers_and_those_before_the_hardware(launch_actions):
    launch = Launch(launch_actions, GRID)
    assert all(float(node.options["sigterm_timeout"]) >= 8.0 for node in Node.made)
    assert launch.interrupt() == ["one", "two"]
    launch.end("one", 0)
    assert launch.interrupted() == ["two"]
    launch.end("two", 0)
    assert launch.interrupted() == ["driver"]
    launch.end("driver", 0)
    assert launch.interrupted() == ["emulator", "dashboard"]
    launch.end("emulator", -signal.SIGALRM)
    launch.end("dashboard", 0)
    assert launch.interrupted() == ["recorder"]
    launch.end("recorder", 0)
    assert all(node.interrupted == 1 for node in Node.made)


def test_who_is_killed_while_it_stops_makes_the_exit_code_1(launch_actions):
    launch = Launch(launch_actions, {"one": Role.UNIT, "dashboard": Role.WINDOW})
    launch.interrupt()
    launch.end("one", -signal.SIGKILL)
    with pytest.raises(launch_actions.LaunchFailedError, match="one ended with exit code -9"):
        launch.end("dashboard", 0)


def test_a_unit_that_dies_is_started_again_and_the_others_go_on(launch_actions):
    launch = Launch(launch_actions, GRID)
    first = launch.node("one")
    actions = launch.end("one", -signal.SIGKILL)
    assert [a.period for a in actions if isinstance(a, TimerAction)] == [RESTART_DELAYS_S[0]]
    assert launch.node("one") is not first
    assert "started again now (try 1 of 5); the others go on" in launch.said[-1]
    assert launch.interrupted() == []


def test_after_five_tries_it_is_left_out_and_the_exit_code_is_1_at_the_end(launch_actions):
    launch = Launch(launch_actions, {"one": Role.UNIT, "two": Role.UNIT})
    for _ in range(len(RESTART_DELAYS_S) + 1):
        launch.end("one", 1)
    assert len(Node.made) == 2 + len(RESTART_DELAYS_S)
    assert "left out; the others go on" in launch.said[-1]
    assert launch.interrupt() == ["two"]
    with pytest.raises(launch_actions.LaunchFailedError, match="one ended by itself"):
        launch.end("two", 0)


def test_a_wrong_configuration_is_not_tried_again(launch_actions):
    launch = Launch(launch_actions, {"one": Role.UNIT}, needs_all=True)
    with pytest.raises(launch_actions.LaunchFailedError, match="exit code 2"):
        launch.end("one", 2)


def test_a_driver_that_is_missing_for_good_has_its_converter_told_wait(launch_actions):
    launch = Launch(launch_actions, {"driver": Role.DRIVER, "one": Role.UNIT}, needs_all=True)
    for _ in range(len(RESTART_DELAYS_S) + 1):
        launch.end("driver", 1)
    assert launch.node("driver").options["arguments"] == ["--put-to-wait"]
    with pytest.raises(launch_actions.LaunchFailedError, match="its converter is in WAIT"):
        launch.end("driver", 0)


def test_a_converter_that_nobody_could_tell_is_named(launch_actions):
    launch = Launch(launch_actions, GRID, fail_fast=True)
    launch.end("driver", -signal.SIGKILL)
    with pytest.raises(launch_actions.LaunchFailedError, match="switch it off by hand"):
        launch.end("driver", 1)


@pytest.mark.parametrize(
    ("name", "options"), [("emulator", {}), ("one", {"fail_fast": True})], ids=["world", "fast"]
)
def test_what_ends_all(launch_actions, name, options):
    launch = Launch(launch_actions, GRID, **options)
    with pytest.raises(launch_actions.LaunchFailedError, match="the others are stopped"):
        launch.end(name, 1)


def test_a_window_that_is_closed_stays_closed(launch_actions):
    launch = Launch(launch_actions, GRID)
    actions = launch.end("dashboard", 0)
    assert launch.said == ["dashboard has ended"]
    assert [type(action) for action in actions] == [LogInfo]


def test_without_units_the_rest_makes_no_sense(launch_actions):
    launch = Launch(launch_actions, {"emulator": Role.WORLD, "one": Role.UNIT})
    actions = launch.end("one", 0)  # an operator has shut it down
    assert [type(action) for action in actions] == [LogInfo, EmitEvent]


def test_what_the_user_puts_in_front_of_a_program_is_kept(launch_actions):
    launch = Launch(launch_actions, {})
    launch.context.launch_configurations["launch-prefix"] = "gdb -ex run --args"
    launch.context.launch_configurations["launch-prefix-filter"] = "un"
    launch.members.start("unit", Role.UNIT, package="p", executable="unit")
    launch.members.start("other", Role.UNIT, package="p", executable="other")
    (wrapped,) = launch.node("unit").options["prefix"]
    assert wrapped.endswith(f"{int(signal.SIGTERM)} gdb -ex run --args")
    assert "gdb" not in launch.node("other").options["prefix"][0]
