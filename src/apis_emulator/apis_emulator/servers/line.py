"""A serial line as a pseudo-terminal: at the pace of a real one, with its faults, and pluggable.

A pseudo-terminal passes bytes on at once. Here a byte takes its time both ways: what the host
writes is heard by the device when its last bit would have come, and the answer reaches the host in
the small portions in which a serial port's buffer hands them out.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import threading
import time
import tty
from dataclasses import dataclass
from pathlib import Path
from random import Random

from apis_emulator.servers.serial_devices import Talker

__all__ = ["BITS_PER_BYTE", "LineFaults", "SerialLine"]

BITS_PER_BYTE = 10  # start bit, eight data bits, stop bit
PORTION = 8  # bytes that a port hands out at once
SILENT_BYTES = 3.5  # a pause of so many bytes separates frames
LEAST_SILENCE_S = 0.002  # shorter ones cannot be told from a busy machine


@dataclass
class LineFaults:
    """What is wrong with a line; may be changed at any time.

    Attributes:
        flips_per_bit: Probability that a bit arrives wrong, either way, 0..1.
        cut_ratio: Share of the answers that end somewhere in the middle, 0..1.
        bad_sum_ratio: Share of the answers whose last byte is wrong, 0..1.
        noise_ratio: Share of the answers with garbage in front, 0..1.
        is_silent: No answer arrives.
        delay_s: Every answer comes later by this. [s]
        is_echoing: The host hears what it says, as on two wires without direction control.
    """

    flips_per_bit: float = 0.0
    cut_ratio: float = 0.0
    bad_sum_ratio: float = 0.0
    noise_ratio: float = 0.0
    is_silent: bool = False
    delay_s: float = 0.0
    is_echoing: bool = False


class SerialLine:
    """A device on a pseudo-terminal, served by a thread of its own.

    Args:
        talker: The device.
        link: Gets a symbolic link to the pseudo-terminal, whose own name changes whenever it is
            plugged in. The folder is made.
        baud: Bits per second; None = no pacing.
        answer_s: How long the device thinks. [s]
        seed: Of the faults.
    """

    def __init__(
        self,
        talker: Talker,
        link: Path,
        *,
        baud: int | None = 19200,
        answer_s: float = 0.002,
        seed: int = 1,
    ) -> None:
        self.faults = LineFaults()
        self.link = link
        self.bytes_heard = 0
        self.bytes_said = 0
        self.talker = talker
        self._byte_s = BITS_PER_BYTE / baud if baud else 0.0
        self._answer_s = answer_s
        self._random = Random(seed)
        self._lock = threading.Lock()  # of the next three
        self._host_end = -1
        self._device_end = -1
        self._thread: threading.Thread | None = None
        self._is_over = threading.Event()
        self._wake_out, self._wake_in = os.pipe()

    def plug_in(self) -> None:
        """Connect; nothing happens if it is."""
        with self._lock:
            if self._thread is not None:
                return
            self._device_end, self._host_end = pty.openpty()
            tty.setraw(self._host_end)
            os.set_blocking(self._device_end, False)
            self._point_link_to(os.ttyname(self._host_end))
            self._is_over.clear()
            self._thread = threading.Thread(target=self._serve, name=str(self.link), daemon=True)
            self._thread.start()

    def unplug(self) -> None:
        """Pull the plug: the host's port hangs up and is gone. The device lives on."""
        with self._lock:
            if self._thread is None:
                return
            self._is_over.set()
            os.write(self._wake_in, b"x")
            self._thread.join()
            self._thread = None
            with contextlib.suppress(FileNotFoundError):
                self.link.unlink()
            os.close(self._host_end)
            os.close(self._device_end)
            os.read(self._wake_out, 1)

    def close(self) -> None:
        """Unplug for good."""
        self.unplug()
        os.close(self._wake_out)
        os.close(self._wake_in)

    @property
    def is_plugged_in(self) -> bool:
        """Whether there is a port."""
        return self._thread is not None

    # --- the thread ------------------------------------------------------------------------------

    def _serve(self) -> None:
        silence_s = max(SILENT_BYTES * self._byte_s, LEAST_SILENCE_S)
        free_s = 0.0  # when the line has passed on what it was given
        is_quiet = True
        while not self._is_over.is_set():
            wait_s = None if is_quiet else silence_s
            ready, _, _ = select.select([self._device_end, self._wake_out], [], [], wait_s)
            if self._is_over.is_set():
                return
            if not ready:
                if not is_quiet:
                    self.talker.silence()
                    is_quiet = True
                continue
            try:
                data = os.read(self._device_end, 4096)
            except OSError:  # the host has closed its end; ours stays open
                continue
            free_s = max(free_s, time.monotonic()) + len(data) * self._byte_s
            if not self._sleep_until(free_s):
                return
            self.bytes_heard += len(data)
            is_quiet = False
            if self.faults.is_echoing:
                self._put(data)
            answer = self.talker.hear(self._flipped(data), time.monotonic())
            if answer and not self.faults.is_silent:
                if not self._sleep_until(free_s + self._answer_s + self.faults.delay_s):
                    return
                free_s = self._say(self.spoiled(answer), max(free_s, time.monotonic()))

    def _say(self, data: bytes, begin_s: float) -> float:
        """Pass bytes to the host at the line's pace; returns when the last one was there. [s]"""
        for at in range(0, len(data), PORTION):
            portion = data[at : at + PORTION]
            if not self._sleep_until(begin_s + (at + len(portion)) * self._byte_s):
                break
            self._put(portion)
            self.bytes_said += len(portion)
        return begin_s + len(data) * self._byte_s

    def _put(self, data: bytes) -> None:
        # nobody reads: the bytes are lost, as on a wire
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._device_end, data)

    def _sleep_until(self, instant_s: float) -> bool:
        """Whether there is still somebody to go on for."""
        left_s = instant_s - time.monotonic()
        return not (self._is_over.wait(left_s) if left_s > 0.0 else self._is_over.is_set())

    def spoiled(self, answer: bytes) -> bytes:
        """What the line makes of an answer, by its faults."""
        faults, random = self.faults, self._random
        if random.random() < faults.bad_sum_ratio:
            answer = answer[:-1] + bytes((answer[-1] ^ random.randrange(1, 256),))
        if random.random() < faults.cut_ratio:
            answer = answer[: random.randrange(1, len(answer))]
        if random.random() < faults.noise_ratio:
            answer = random.randbytes(random.randrange(1, 12)) + answer
        return self._flipped(answer)

    def _flipped(self, data: bytes) -> bytes:
        ratio = self.faults.flips_per_bit
        if ratio <= 0.0:
            return data
        return bytes(
            byte ^ sum(1 << bit for bit in range(8) if self._random.random() < ratio)
            for byte in data
        )

    def _point_link_to(self, device: str) -> None:
        self.link.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.link.with_name(f".{self.link.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(device)
        fresh.replace(self.link)
