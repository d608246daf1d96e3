"""A grid holds its domain until its last process has ended, also when its runner was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apis_bringup import child, run_lock
from apis_bringup.errors import CommandError

GRID = run_lock.RunningGrid("village", ("E001",), "/nowhere", None)
RUNNER = """
import os, subprocess, sys, time
from apis_bringup import run_lock
grid = run_lock.RunningGrid("village", ("E001",), "/nowhere", None)
with run_lock.claim(grid):
    child, last_signal, code = sys.argv[1:]
    words = [sys.executable, "-I", "-S", child, str(os.getpid()), last_signal]
    environment = {**os.environ, **run_lock.members_environment()}
    subprocess.Popen([*words, sys.executable, "-c", code], env=environment)
    time.sleep(60)
"""
SAYS_WAIT = """
import signal, sys, time
def stop(*_):
    print("WAIT", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("up", flush=True)
time.sleep(60)
"""
IS_STUCK = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)


@pytest.fixture
def start() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    runners = []

    def start(code: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", RUNNER, child.__file__, str(int(signal.SIGTERM)), code]
        runner = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        runners.append(runner)
        assert runner.stdout.readline() == "up\n"
        return runner

    yield start
    for runner in runners:
        runner.kill()
        runner.wait()
        for pid in run_lock.leftovers():
            os.kill(pid, signal.SIGKILL)


def wait_until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < end_s, "did not come true in 30 s"
        time.sleep(0.02)


def test_a_process_whose_runner_was_killed_says_wait_and_ends(start):
    runner = start(SAYS_WAIT)
    runner.kill()
    runner.wait()
    assert runner.stdout.read() == "WAIT\n"  # and the end of the file: nobody writes any more
    wait_until(lambda: run_lock.leftovers() == [])
    with run_lock.claim(GRID):
        assert run_lock.find() is not None


def test_a_second_grid_does_not_start_beside_what_is_left_of_the_first(start):
    runner = start(IS_STUCK)
    runner.kill()
    runner.wait()
    assert run_lock.find() is None
    (pid,) = run_lock.leftovers()
    with pytest.raises(CommandError, match=rf"earlier grid still run .* \({pid}\)"):
        run_lock.claim(GRID).__enter__()


def test_what_is_left_of_a_grid_is_stopped(start):
    runner = start(IS_STUCK)
    runner.kill()
    runner.wait()
    pids = run_lock.leftovers()
    assert run_lock.stop_leftovers(pids, within_s=0.2) == pids
    wait_until(lambda: run_lock.leftovers() == [])
    with run_lock.claim(GRID):
        pass


def test_a_runner_that_nobody_has_waited_for_yet_does_not_run(start):
    runner = start(IS_STUCK)
    assert run_lock.find() is not None
    assert run_lock.leftovers() == []  # they have their runner
    runner.kill()
    wait_until(lambda: run_lock.find() is None)  # a zombie
