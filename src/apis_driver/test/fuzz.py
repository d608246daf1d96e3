"""Throws random and mutated frames at the readers of both sides of a line.

    python src/apis_driver/test/fuzz.py 1000000

Whatever is accepted must stand in the bytes as a whole frame with the right header and sum, found
by a second, plain reading of the document; everything that stands there so must be accepted.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from random import Random

from apis_driver.errors import DeviceError, ImplausibleReply
from apis_driver.eza2500_protocol import (
    ReplyReader,
    RequestReader,
    encode_refusal,
    encode_reply,
    table,
)
from apis_driver.frame import REQUEST, Frame

COMMANDS = list(table().commands.values())


@dataclass
class Result:
    """What came of it."""

    frames: int = 0
    accepted: int = 0
    refused: int = 0
    false: int = 0  # accepted, although the line had changed them: what the sum cannot see
    wrong: int = 0  # accepted, or not, against the document


def run(count: int, seed: int = 1) -> Result:
    """So many frames."""
    rng, result = Random(seed), Result()
    for _ in range(count):
        result.frames += 1
        if rng.random() < 0.2:
            _request(rng, result)
        else:
            _reply(rng, result)
    return result


def _reply(rng: Random, result: Result) -> None:
    command = rng.choice(COMMANDS)
    raw = {f.name: rng.randint(f.least, f.most) for f in command.reply.fields}
    good = encode_reply(command.name, raw)
    if rng.random() < 0.1:
        good = encode_refusal(command.code, rng.choice((0xFFFF, 0xFFFC, rng.randrange(65536))))
    line = _mutated(rng, good)
    reader, outcome = ReplyReader(command.name), None
    for piece in _pieces(rng, line):
        try:
            outcome = reader.feed(piece)
        except ImplausibleReply:
            outcome = "implausible"
        except DeviceError:
            outcome = "refused"
        if outcome is not None:
            break
    expected = _expected(command, line)
    found = outcome if isinstance(outcome, str) or outcome is None else tuple(outcome.values())
    result.wrong += found not in expected
    result.accepted += isinstance(found, tuple)
    result.refused += isinstance(found, str)
    if isinstance(found, tuple) and good not in line:
        result.false += 1


def _expected(command, line: bytes) -> list[object]:
    """What may come of a line, by a plain search; pieces decide which of several comes first."""
    found: list[object] = []
    for at in range(len(line)):
        if line[at] != 0x02 or at + 7 > len(line):
            continue
        size = line[at + 1]
        if at + 7 + size > len(line):
            continue
        ad1, ad2, code = line[at + 2 : at + 5]
        data = line[at + 5 : at + 5 + size]
        told = line[at + 5 + size] + 256 * line[at + 6 + size]
        if {ad1, ad2} != {0, 16} or told != ad1 + ad2 + code + sum(data):
            continue
        if code == command.code + 128 and size == 2:
            found.append("refused")
        elif code == command.code and size == command.reply.size:
            raw = command.reply.unpack(data)
            good = all(f.least <= raw[f.name] <= f.most for f in command.reply.fields)
            found.append(tuple(raw.values()) if good else "implausible")
    return found or [None]


def _request(rng: Random, result: Result) -> None:
    command = rng.choice(COMMANDS)
    data = bytes(rng.randrange(256) for _ in range(command.request.size))
    good = Frame(REQUEST, 0, 16, command.code, data).encode()
    line, reader = _mutated(rng, good), RequestReader()
    for piece in _pieces(rng, line):
        found = reader.feed(piece)
        while found is not None:
            result.accepted += 1
            result.wrong += found[0].encode() not in line
            result.false += good not in line
            found = reader.feed(b"")


def _mutated(rng: Random, frame: bytes) -> bytes:
    """What a bad line makes of a frame; sometimes nothing of it is left."""
    line = bytearray(frame)
    for _ in range(rng.choice((0, 1, 1, 2, 3, 6))):
        place = rng.randrange(len(line) + 1)
        match rng.randrange(8):
            case 0 | 1 if line:
                line[place % len(line)] ^= 1 << rng.randrange(8)
            case 2 if line:
                line[place % len(line)] = rng.randrange(256)
            case 3:
                line[place:place] = bytes(rng.randrange(256) for _ in range(rng.randrange(12)))
            case 4:
                del line[place : place + rng.randrange(6)]
            case 5:
                line[place:place] = frame
            case 6:
                line[0:0] = rng.choice(
                    (b"\x02", b"\x02\x02", b"\x02\x10\x00", b"\x05\x00", frame[:6])
                )
            case 7 if len(line) > 1:
                other = rng.randrange(len(line))
                place %= len(line)
                line[place], line[other] = line[other], line[place]
    if rng.random() < 0.1:
        line = bytearray(rng.randrange(256) for _ in range(rng.randrange(60)))
    return bytes(line)


def _pieces(rng: Random, line: bytes) -> list[bytes]:
    pieces, at = [], 0
    while at < len(line):
        size = rng.choice((1, 2, 8, 60))
        pieces.append(line[at : at + size])
        at += size
    return pieces


if __name__ == "__main__":
    begun_s = time.process_time()
    outcome = run(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, seed=int(time.time()))
    print(outcome, f"{time.process_time() - begun_s:.0f} s of CPU")
    sys.exit(outcome.wrong > 0)
