"""A serial line on a pseudo-terminal: its pace, its faults, its plug."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apis_emulator.servers.line import SerialLine

QUESTION, ANSWER = b"question", bytes(range(40))


class Echo:
    """Answers QUESTION by ANSWER, whatever it heard before."""

    def __init__(self) -> None:
        self.heard = b""
        self.silences = 0

    def hear(self, data: bytes, now_s: float) -> bytes:
        self.heard += data
        return ANSWER if self.heard.endswith(QUESTION) else b""

    def silence(self) -> None:
        self.silences += 1


class Host:
    """The other end, as a driver opens it."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY)

    def ask(self, question: bytes = QUESTION) -> None:
        os.write(self.fd, question)

    def read(self, count: int, within_s: float = 5.0) -> bytes:
        """So many bytes, or what has come in time."""
        data, end_s = b"", time.monotonic() + within_s
        while len(data) < count and (left_s := end_s - time.monotonic()) > 0.0:
            if select.select([self.fd], [], [], left_s)[0]:
                data += os.read(self.fd, count - len(data))
        return data

    def close(self) -> None:
        os.close(self.fd)


def until(condition: Callable[[], object], what: str) -> None:
    end_s = time.monotonic() + 5.0
    while not condition():
        assert time.monotonic() < end_s, f"waited in vain for {what}"
        time.sleep(0.001)


@pytest.fixture
def line(tmp_path) -> Iterator[SerialLine]:
    line = SerialLine(Echo(), tmp_path / "tty" / "dcdc", baud=None, answer_s=0.0)
    line.plug_in()
    yield line
    line.close()


@pytest.fixture
def host(line) -> Iterator[Host]:
    host = Host(line.link)
    yield host
    host.close()


def test_it_answers(line, host):
    host.ask()
    assert host.read(len(ANSWER)) == ANSWER
    host.ask(b"?")
    assert host.read(1, 0.05) == b""
    assert line.bytes_heard == len(QUESTION) + 1


def test_every_byte_value_passes(line, host):
    line.talker.hear = lambda data, _now_s: data
    everything = bytes(range(256))
    for at in range(0, 256, 64):
        host.ask(everything[at : at + 64])
        assert host.read(64) == everything[at : at + 64]


def test_bytes_take_their_time_both_ways(tmp_path):
    """At 9600 baud a byte takes 1.04 ms."""
    line = SerialLine(Echo(), tmp_path / "slow", baud=9600, answer_s=0.01)
    line.plug_in()
    host = Host(line.link)
    least_s = (len(QUESTION) + len(ANSWER)) * 10 / 9600 + 0.01
    took_s = []
    for _ in range(5):  # a busy machine may take longer, never shorter
        began_s = time.monotonic()
        host.ask()
        assert host.read(len(ANSWER)) == ANSWER
        took_s.append(time.monotonic() - began_s)
    host.close()
    line.close()
    assert min(took_s) >= least_s
    assert min(took_s) < 1.5 * least_s


def test_an_answer_comes_in_portions(tmp_path):
    line = SerialLine(Echo(), tmp_path / "slow", baud=1200)
    line.plug_in()
    host = Host(line.link)
    host.ask()
    first = host.read(1) + os.read(host.fd, 100)
    assert 1 <= len(first) < len(ANSWER)
    assert first + host.read(len(ANSWER) - len(first)) == ANSWER
    host.close()
    line.close()


def test_the_device_notices_a_pause(line, host):
    host.ask(b"?")
    until(lambda: line.talker.silences == 1, "a pause")


# --- faults --------------------------------------------------------------------------------------


def test_silence(line, host):
    line.faults.is_silent = True
    host.ask()
    assert host.read(1, 0.05) == b""
    line.faults.is_silent = False
    host.ask()
    assert host.read(len(ANSWER)) == ANSWER


def spoiled(line: SerialLine, count: int = 200) -> list[bytes]:
    return [line.spoiled(ANSWER) for _ in range(count)]


def test_what_is_spoiled_is_what_the_host_gets(line, host):
    line.faults.bad_sum_ratio = 1.0
    host.ask()
    answer = host.read(len(ANSWER))
    assert answer[:-1] == ANSWER[:-1]
    assert answer[-1] != ANSWER[-1]


def test_what_the_host_says_is_spoiled_too(line, host):
    line.faults.flips_per_bit = 1.0
    host.ask()
    until(lambda: line.talker.heard, "bytes")
    assert line.talker.heard[0] == QUESTION[0] ^ 0xFF


def test_wrong_sums(line):
    line.faults.bad_sum_ratio = 0.5
    wrong = [answer for answer in spoiled(line) if answer != ANSWER]
    assert 70 < len(wrong) < 130
    assert all(a[:-1] == ANSWER[:-1] and a[-1] != ANSWER[-1] for a in wrong)


def test_cut_answers(line):
    line.faults.cut_ratio = 0.5
    cut = [answer for answer in spoiled(line) if answer != ANSWER]
    assert 70 < len(cut) < 130
    assert all(ANSWER.startswith(answer) and answer for answer in cut)


def test_noise(line):
    line.faults.noise_ratio = 0.5
    noisy = [answer for answer in spoiled(line) if answer != ANSWER]
    assert 70 < len(noisy) < 130
    assert all(answer.endswith(ANSWER) for answer in noisy)


def test_flipped_bits(line):
    line.faults.flips_per_bit = 0.01
    pairs = [pair for answer in spoiled(line) for pair in zip(answer, ANSWER, strict=True)]
    flips = sum(bin(a ^ b).count("1") for a, b in pairs)
    assert 0.008 < flips / (8 * len(pairs)) < 0.012


def test_the_same_seed_gives_the_same_faults(tmp_path):
    def run(seed: int) -> list[bytes]:
        line = SerialLine(Echo(), tmp_path / "x", seed=seed)
        line.faults.cut_ratio = line.faults.noise_ratio = 0.5
        try:
            return spoiled(line)
        finally:
            line.close()

    assert run(7) == run(7)
    assert run(7) != run(8)


def test_an_echo(line, host):
    line.faults.is_echoing = True
    host.ask()
    assert host.read(len(QUESTION) + len(ANSWER)) == QUESTION + ANSWER


def test_a_slow_device(line, host):
    line.faults.delay_s = 0.1
    began_s = time.monotonic()
    host.ask()
    host.read(1)
    assert time.monotonic() - began_s >= 0.1


# --- the plug ------------------------------------------------------------------------------------


def test_pulling_the_plug_hangs_up_and_takes_the_port_away(line, host):
    line.unplug()
    assert os.read(host.fd, 1) == b""  # a hang-up reads as an end
    with pytest.raises(OSError):
        os.write(host.fd, b"x")
    assert not os.path.lexists(line.link)
    assert not line.is_plugged_in


def test_plugged_in_again_it_goes_on(line, host):
    line.unplug()
    line.unplug()
    line.plug_in()
    line.plug_in()
    again = Host(line.link)
    again.ask()
    assert again.read(len(ANSWER)) == ANSWER
    again.close()


def test_a_host_that_goes_and_comes_is_served_again(line, host):
    for _ in range(3):
        other = Host(line.link)
        other.ask()
        assert other.read(len(ANSWER)) == ANSWER
        other.close()


def test_a_host_that_does_not_read_does_not_stop_the_device(line, host):
    for _ in range(400):  # more than a pseudo-terminal keeps
        host.ask()
        time.sleep(0.0005)
    os.read(host.fd, 1)
    until(lambda: line.bytes_heard == 400 * len(QUESTION), "the last question")


def test_nothing_is_left_open(tmp_path):
    before = set(os.listdir("/proc/self/fd"))
    line = SerialLine(Echo(), tmp_path / "x")
    line.plug_in()
    line.close()
    assert len(os.listdir("/proc/self/fd")) <= len(before)
