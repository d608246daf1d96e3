"""A converter in memory: speaks the real bytes, obeys at once, and has faults on demand."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from random import Random

from apis_driver.errors import PortError
from apis_driver.eza2500_protocol import (
    NOT_SUPPORTED,
    Addresses,
    RequestReader,
    encode_refusal,
    encode_reply,
    table,
)

SHIPPED = Addresses()
RATINGS = {
    "vgn": 24320,
    "vgnq": 6,
    "ign": 32000,
    "ignq": 12,
    "vbn": 24576,
    "vbnq": 9,
    "ibn": 26665,
    "ibnq": 9,
    "wn": 20000,
    "wnq": 3,
}


class FakeEza:
    """Both the converter and the transport to it.

    Attributes:
        raw: Its registers, in counts.
        asked: Names of the commands that reached it.
        refuse: Command -> reason.
        garble: What becomes of its answers on the way; None = lost.
        garble_request: The same of what is said to it.
    """

    address = "fake"
    dead_man = None

    def __init__(self, at: Addresses = SHIPPED) -> None:
        self.at = at
        self.raw = dict.fromkeys(
            (
                f.name
                for c in table().commands.values()
                for f in (*c.request.fields, *c.reply.fields)
            ),
            0,
        )
        self.raw |= RATINGS
        for block in ("10-1", "11-1"):
            for field in table()[block].reply.fields:
                self.raw[field.name.replace("fan", "fn").replace("v5s", "v5") + "q"] = (
                    field.spec.q or 0
                )
        self.set(vg=350.0, ig=0.0, vb=52.0, ib=0.0, tmp=25.0, dvg=350.0)
        self.raw |= {"min": 4, "maj": 1}
        self.asked: list[str] = []
        self.refuse: dict[str, int] = {}
        self.garble: Callable[[bytes], bytes | None] = lambda answer: answer
        self.garble_request: Callable[[bytes], bytes] = lambda request: request
        self.obeys: Callable[[str, dict[str, int]], dict[str, int]] = lambda _command, raw: raw
        self.is_gone = False
        self._reader = RequestReader(at)
        self.incoming: deque[bytes] = deque()

    def set(self, **values: float) -> None:
        """Put values into its registers."""
        fields = {f.name: f for c in table().commands.values() for f in c.reply.fields}
        for name, value in values.items():
            self.raw[name] = round(value / float(fields[name].scale))

    def open(self) -> None:
        if self.is_gone:
            raise PortError("fake: there is no such port; is the adapter plugged in?")

    def close(self) -> None:
        self.incoming.clear()

    def write(self, data: bytes) -> None:
        self._must_be_there()
        self._reader.reset()
        found = self._reader.feed(self.garble_request(data))
        if found is None:
            return
        frame, command, raw = found
        if command is None:
            self._say(encode_refusal(frame.command, NOT_SUPPORTED, self.at))
            return
        self.asked.append(command.name)
        if command.name in self.refuse:
            self._say(encode_refusal(command.code, self.refuse[command.name], self.at))
            return
        self.raw |= self.obeys(command.name, raw)
        held = {field.name: self.raw[field.name] for field in command.reply.fields}
        self._say(encode_reply(command.name, held, self.at))

    def read(self, deadline_s: float) -> bytes:
        self._must_be_there()
        if self.incoming:
            return self.incoming.popleft()
        time.sleep(max(min(deadline_s - time.monotonic(), 0.5), 0.0))
        return b""

    def drop_input(self) -> int:
        dropped = sum(map(len, self.incoming))
        self.incoming.clear()
        return dropped

    def _say(self, answer: bytes) -> None:
        garbled = self.garble(answer)
        if garbled:
            self.incoming.append(garbled)

    def _must_be_there(self) -> None:
        if self.is_gone:
            raise PortError("fake: the port has gone")


def flips(rng: Random, rate: float) -> Callable[[bytes], bytes]:
    """A line that flips bits at random."""

    def garble(data: bytes) -> bytes:
        out = bytearray(data)
        for bit in range(8 * len(out)):
            if rng.random() < rate:
                out[bit // 8] ^= 1 << bit % 8
        return bytes(out)

    return garble
