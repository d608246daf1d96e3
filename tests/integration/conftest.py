"""Starts ``apisctl`` as its users do: as a program, in a ROS domain of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Running:
    """A command that runs in the background, and what it has said so far."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    def read_until(self, text: str) -> str:
        """Wait until a line with this text comes; the line."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if text in line:
                return line
        raise AssertionError(f"it ended without saying {text!r}:\n{''.join(self.said)}")

    def end(self) -> tuple[int, str]:
        """Wait for its end; the exit code and everything that it said."""
        rest, _ = self.process.communicate(timeout=50)
        return self.process.returncode, "".join(self.said) + rest


@dataclass
class Apisctl:
    """Runs commands in one environment."""

    env: dict[str, str]
    background: list[Running] = field(default_factory=list)

    def __call__(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self._command(*arguments), env=self.env, capture_output=True, text=True, timeout=100
        )

    def start(self, *arguments: str | Path) -> Running:
        """Start a command."""
        process = subprocess.Popen(
            self._command(*arguments),
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.background.append(Running(process))
        return self.background[-1]

    @staticmethod
    def _command(*arguments: str | Path) -> list[str]:
        return [sys.executable, "-m", "apis_bringup.cli", *map(str, arguments)]


@contextmanager
def _apisctl(domain: int) -> Iterator[Apisctl]:
    """The command in a ROS domain; what it has left running is stopped at the end."""
    command = Apisctl({**os.environ, "ROS_DOMAIN_ID": str(domain)})
    yield command
    for running in command.background:
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGINT)
            running.process.communicate(timeout=50)


def _install_fakes(apisctl: Apisctl, prefix: Path, **culprits: str) -> None:
    script = Path(__file__).with_name("fake_node.py")
    for package, executable in (("apis_emulator", "emulator"), ("apis_node", "unit")):
        program = prefix / "lib" / package / executable
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {script} {executable} "$@"\n')
        program.chmod(0o755)
    before = apisctl.env.get("AMENT_PREFIX_PATH", "")
    apisctl.env["AMENT_PREFIX_PATH"] = f"{prefix}:{before}"
    apisctl.env.update({f"FAKE_{name.upper()}": value for name, value in culprits.items()})


@pytest.fixture
def apisctl(domains: tuple[int, int]) -> Iterator[Apisctl]:
    """The command."""
    with _apisctl(domains[0]) as command:
        yield command


@pytest.fixture
def fakes(apisctl: Apisctl, tmp_path: Path) -> Callable[..., None]:
    """Has `apisctl` start stand-ins instead of the nodes; keywords are their FAKE_ variables."""
    return lambda **culprits: _install_fakes(apisctl, tmp_path, **culprits)


@pytest.fixture(scope="module")
def on_grid(
    domains: tuple[int, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Apisctl]:
    """The command on a grid of two stand-ins, which runs while the module's tests do."""
    with _apisctl(domains[1]) as command:
        _install_fakes(command, tmp_path_factory.mktemp("fakes"))
        command.start("run", "--no-web", "--units", "2").read_until("Ctrl-C")
        yield command
