"""The process manager with fake children: order, restarts, exit codes, last words, no orphans."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(60)

Behaviours = list[tuple[str, str, str]]  # name, behaviour, role


@dataclass
class FakeGrid:
    """A runner of fake children, and what it has said so far."""

    process: subprocess.Popen[str]
    folder: Path
    said: list[str] = field(default_factory=list)
    child_pids: list[int] = field(default_factory=list)

    def read_until_ready(self, count: int) -> None:
        """Wait until so many children are up."""
        assert self.process.stdout is not None
        while len(self.child_pids) < count:
            line = self.process.stdout.readline()
            assert line, "the runner ended too soon:\n" + "".join(self.said)
            self.said.append(line)
            if "| ready " in line:
                self.child_pids.append(int(line.split()[-1]))

    def read_until(self, words: str) -> None:
        """Wait until it has said so."""
        assert self.process.stdout is not None
        while not any(words in line for line in self.said):
            line = self.process.stdout.readline()
            assert line, "the runner ended too soon:\n" + "".join(self.said)
            self.said.append(line)

    def end(self) -> tuple[int, str]:
        """Wait for the end; the exit code and everything that was said."""
        rest, _ = self.process.communicate(timeout=30)
        return self.process.returncode, "".join(self.said) + rest

    @property
    def stopped(self) -> list[str]:
        """The children in the order in which they were asked to stop."""
        return (self.folder / "stopped").read_text().split()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Behaviours], FakeGrid]]:
    grids: list[FakeGrid] = []

    def _start(children: Behaviours, *options: str) -> FakeGrid:
        script = Path(__file__).with_name("fake_grid.py")
        process = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path), json.dumps(children), *options],
            stdout=subprocess.PIPE,
            text=True,
        )
        grids.append(FakeGrid(process, tmp_path))
        return grids[-1]

    yield _start
    for grid in grids:
        if grid.process.poll() is None:
            grid.process.kill()
            grid.process.wait()


def kill(grid: FakeGrid, name: str) -> None:
    """Kill a child that is up."""
    ready = next(line for line in grid.said if f"{name} " in line and "| ready " in line)
    os.kill(int(ready.split()[-1]), signal.SIGKILL)


def wait_until_gone(pid: int, *, within_s: float = 10.0) -> bool:
    """Whether the process ends in time; one that is no longer there has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], within_s)[0])
    finally:
        os.close(handle)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_signal_stops_one_turn_after_the_other(start, number):
    grid = start(
        [("hardware", "good", "WORLD"), ("driver", "good", "DRIVER"), ("unit", "good", "UNIT")]
    )
    grid.read_until_ready(3)

    grid.process.send_signal(number)
    code, _ = grid.end()

    assert code == 0
    assert grid.stopped == ["unit", "driver", "hardware"]


def test_a_child_that_dies_is_named_with_its_last_words_and_the_others_stop(start):
    grid = start([("hardware", "dies", "WORLD"), ("unit", "good", "UNIT")])

    code, said = grid.end()

    assert code == 1
    assert "hardware ended by itself with exit code 3; its last words:" in said
    assert said.count("I see no bus") == 2  # when it said so, and as its last words
    assert not said.count("unit ended")


def test_a_unit_that_was_shut_down_leaves_the_others_alone(start):
    grid = start(
        [
            ("hardware", "good", "WORLD"),
            ("unit E001", "good", "UNIT"),
            ("unit E002", "leaves", "UNIT"),
        ]
    )
    grid.read_until_ready(3)
    grid.read_until("unit E002 has been shut down")  # maybe before the others were ready
    assert grid.process.poll() is None

    grid.process.send_signal(signal.SIGINT)
    code, _ = grid.end()

    assert code == 0
    assert grid.stopped == ["unit", "E001", "hardware"]


def test_with_the_last_unit_everything_stops(start):
    grid = start([("hardware", "good", "WORLD"), ("unit", "leaves", "UNIT")])

    code, said = grid.end()

    assert code == 0
    assert "unit has been shut down" in said


def test_windows_go_on_when_the_units_were_shut_down(start):
    grid = start(
        [
            ("hardware", "good", "WORLD"),
            ("page", "good", "WINDOW"),
            ("unit", "leaves", "UNIT"),
        ]
    )
    grid.read_until_ready(3)
    grid.read_until("no unit is left; the windows go on")
    assert grid.process.poll() is None

    grid.process.send_signal(signal.SIGINT)

    assert grid.end()[0] == 0


def test_a_killed_child_is_named_with_the_signal(start):
    grid = start([("hardware", "good", "WORLD")])
    grid.read_until_ready(1)

    os.kill(grid.child_pids[0], signal.SIGSEGV)
    code, said = grid.end()

    assert code == 1
    assert "hardware was killed by SIGSEGV" in said


def test_a_stubborn_child_is_killed_and_named(start):
    grid = start([("hardware", "stubborn", "WORLD"), ("unit", "good", "UNIT")])
    grid.read_until_ready(2)

    grid.process.send_signal(signal.SIGINT)
    code, said = grid.end()

    assert code == 1
    assert "hardware did not stop in time and is killed" in said
    assert "unit did not" not in said
    assert all(wait_until_gone(pid) for pid in grid.child_pids)


def test_a_child_that_fails_while_stopping_is_not_hidden(start):
    grid = start([("unit", "fails", "UNIT")])
    grid.read_until_ready(1)

    grid.process.send_signal(signal.SIGINT)
    code, said = grid.end()

    assert code == 1
    assert "unit ended by itself with exit code 4 while it was stopping" in said


def test_a_child_that_its_own_alarm_ends_has_done_all_that_matters(start):
    grid = start([("unit", "hangs", "UNIT")])
    grid.read_until_ready(1)

    grid.process.send_signal(signal.SIGINT)
    code, said = grid.end()

    assert code == 0
    assert "ended" not in said


def test_a_second_ctrl_c_kills_at_once(start):
    grid = start([("hardware", "good", "WORLD"), ("unit", "stubborn", "UNIT")])
    grid.read_until_ready(2)

    grid.process.send_signal(signal.SIGINT)
    assert grid.process.stdout is not None
    while "once more kills at once" not in grid.process.stdout.readline():
        pass
    grid.process.send_signal(signal.SIGINT)
    code, said = grid.end()

    assert code == 1
    assert "asked again" in said
    assert all(wait_until_gone(pid) for pid in grid.child_pids)


def test_when_the_runner_is_killed_every_child_is_asked_to_end_in_order(start):
    """So that units and drivers say WAIT, and a recording is complete."""
    roles = {"hardware": "WORLD", "driver": "DRIVER", "unit": "UNIT", "recorder": "RECORDER"}
    grid = start([(name, "good", role) for name, role in roles.items()])
    grid.read_until_ready(4)

    grid.process.kill()
    grid.end()

    assert all(wait_until_gone(pid) for pid in grid.child_pids)
    assert set(grid.stopped) == roles.keys()


def test_every_child_has_a_log_file(start):
    grid = start([("unit E001", "dies", "UNIT")], "--fail-fast")

    grid.end()

    assert "I see no bus" in (grid.folder / "log" / "unit_E001.log").read_text()


def test_a_program_that_does_not_exist_is_named(tmp_path):
    from apis_bringup.roles import Role
    from apis_bringup.runner import Child, Runner

    runner = Runner([Child("ghost", ("/no/such/program",), Role.WORLD)], log_folder=tmp_path)

    assert runner.run() == 1
    assert "cannot start /no/such/program: No such file" in (tmp_path / "ghost.log").read_text()


def test_a_unit_that_is_killed_is_started_again_and_the_others_go_on(start):
    grid = start([("hardware", "good", "WORLD"), ("unit E001", "good", "UNIT")])
    grid.read_until_ready(2)

    kill(grid, "unit E001")
    grid.read_until_ready(3)
    grid.process.send_signal(signal.SIGINT)
    code, said = grid.end()

    assert code == 0
    assert "unit E001 was killed by SIGKILL; its last words:" in said
    assert "unit E001 is started again now (try 1 of 5)" in said
    assert grid.stopped == ["unit", "E001", "hardware"]


def test_one_that_dies_again_and_again_is_left_out(start):
    children = [("hardware", "good", "WORLD"), ("a", "dies", "UNIT"), ("b", "good", "UNIT")]
    grid = start(children, "0", "0.1")
    grid.read_until("a is left out after 2 tries; the others go on")
    assert grid.process.poll() is None

    grid.process.send_signal(signal.SIGINT)
    code, said = grid.end()

    assert code == 1
    assert said.count("a ended by itself with exit code 3; its last words:") == 3


def test_when_every_unit_is_left_out_the_rest_stops(start):
    code, said = start([("hardware", "good", "WORLD"), ("a", "dies", "UNIT")], "0").end()

    assert code == 1
    assert "no unit is left" in said


@pytest.mark.parametrize(("role", "ended"), [("WINDOW", "page has ended"), ("UNIT", "shut down")])
def test_what_ends_in_order_is_not_started_again(start, role, ended):
    grid = start([("unit", "good", "UNIT"), ("page", "leaves", role)])
    grid.read_until(ended)

    grid.process.send_signal(signal.SIGINT)

    assert grid.end()[0] == 0


def test_a_recorder_that_dies_is_left_out_at_once(start):
    grid = start([("unit", "good", "UNIT"), ("recorder", "dies", "RECORDER")])
    grid.read_until("recorder is left out; the others go on")

    grid.process.send_signal(signal.SIGINT)

    assert grid.end()[0] == 1


def test_with_fail_fast_the_first_death_ends_all(start):
    grid = start([("unit", "good", "UNIT"), ("driver", "dies", "DRIVER")], "--fail-fast")

    code, said = grid.end()

    assert code == 1
    assert "stopping the others" in said
    assert grid.stopped[-1] == "rescue"  # the unit may not have been up yet


def test_a_driver_that_is_not_there_at_the_end_is_started_once_more_to_say_wait(start):
    children = [("hardware", "good", "WORLD"), ("driver", "good", "DRIVER")]
    grid = start([*children, ("unit", "good", "UNIT")], "3600")
    grid.read_until_ready(3)
    kill(grid, "driver")
    grid.read_until("driver is started again in 3600 s")

    grid.process.send_signal(signal.SIGINT)
    code, said = grid.end()

    assert code == 0
    assert "driver: its converter is in WAIT" in said
    assert grid.stopped == ["unit", "rescue", "hardware"]


def test_for_a_driver_that_is_left_out_wait_is_said_at_once(start):
    grid = start([("driver", "dies", "DRIVER"), ("unit", "good", "UNIT")], "0")
    grid.read_until("driver: its converter is in WAIT")
    assert grid.process.poll() is None
    grid.read_until("unit   | ready")

    grid.process.send_signal(signal.SIGINT)
    code, said = grid.end()

    assert code == 1
    assert "driver is left out after 1 tries; the others go on" in said
    assert grid.stopped == ["rescue", "unit"]


def test_a_driver_that_hangs_is_killed_and_another_one_says_wait(start):
    grid = start([("driver", "stubborn", "DRIVER"), ("unit", "good", "UNIT")])
    grid.read_until_ready(2)

    grid.process.send_signal(signal.SIGINT)
    code, said = grid.end()

    assert code == 1
    assert "driver did not stop in time and is killed" in said
    assert "driver: its converter is in WAIT" in said


def test_a_converter_that_nobody_could_tell_is_named_at_the_end(start):
    grid = start([("driver", "cut off", "DRIVER"), ("unit", "good", "UNIT")], "3600")
    grid.read_until_ready(2)
    kill(grid, "driver")
    grid.read_until("driver is started again in 3600 s")

    grid.process.send_signal(signal.SIGINT)
    code, said = grid.end()

    assert code == 1
    assert "driver: its converter could not be told WAIT and may still be on" in said
