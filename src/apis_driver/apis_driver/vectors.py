"""Runs recorded test vectors of the EZA2500 (format ``eza2500-vectors/1``) through the codec.

A vector has the fields given to the encoder and the frame they must become, and the bytes that
came back and what they must be decoded to. Where the original was too easy-going, ``strict`` says
what is wanted instead.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from apis_core.model.errors import ConfigError, Problem
from apis_driver.errors import (
    BadChecksum,
    DeviceError,
    DeviceRefused,
    DeviceTimeout,
    ImplausibleReply,
    OutOfRange,
    WrongAddress,
    WrongCommand,
    WrongLength,
)
from apis_driver.eza2500_protocol import Addresses, ReplyReader, encode_request, table

__all__ = ["FORMAT", "check_file", "check_vectors", "main"]

FORMAT = "eza2500-vectors/1"
_RESULTS = (
    (DeviceRefused, "device_error"),
    (BadChecksum, "checksum_error"),
    (WrongCommand, "value_error"),
    (WrongAddress, "address_error"),
    (WrongLength, "length_error"),
    (ImplausibleReply, "out_of_range"),
    (DeviceTimeout, "timeout"),
)


def check_file(path: Path) -> tuple[int, list[str]]:
    """Run the vectors of a file.

    Returns:
        How many there are, and one line for each thing that is not as it must be.

    Raises:
        ConfigError: The file cannot be read, or is none of vectors.
    """
    source = str(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            [Problem(source, "", "", f"cannot be read: {error.strerror}")]
        ) from error
    except ValueError as error:
        raise ConfigError([Problem(source, "", "", f"must be JSON: {error}")]) from error
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise ConfigError([Problem(source, "format", json.dumps(found), f'must be "{FORMAT}"')])
    if not isinstance(data.get("vectors"), list):
        raise ConfigError([Problem(source, "vectors", "", "required: a list of vectors")])
    return len(data["vectors"]), list(check_vectors(data))


def check_vectors(data: Mapping[str, Any]) -> Iterator[str]:
    """What does not come out as the file says, a line each."""
    yield from _check_table(data.get("commands", {}))
    for number, vector in enumerate(data["vectors"]):
        name = vector.get("id", f"vector {number}") if isinstance(vector, dict) else number
        try:
            for complaint in (*_check_request(vector), *_check_reply(vector)):
                yield f"{name}: {complaint}"
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            yield f"{name}: is no vector of {FORMAT}: {type(error).__name__} {error}"


def _check_table(commands: Mapping[str, Any]) -> Iterator[str]:
    """The file's own list of commands against our table."""
    for name, spec in commands.items():
        command = table().commands.get(name)
        if command is None:
            yield f"command {name}: is not in our table"
            continue
        for part, block in (("request", command.request), ("reply", command.reply)):
            ours = {field.name: field for field in block.fields}
            if list(ours) != list(spec[part]):
                yield f"command {name}: {part} is {list(ours)}, the file has {list(spec[part])}"
                continue
            for field, theirs in spec[part].items():
                our = ours[field].spec
                mine = (our.type, our.q, _text(our.rating), _text(our.min), _text(our.max))
                its = tuple(theirs.get(key) for key in ("type", "q", "rating", "min", "max"))
                if mine != its:
                    yield f"command {name}: {field} is {mine}, the file has {its}"
        if command.code != int(spec["code"], 16):
            yield f"command {name}: code is {command.code:#04x}, the file has {spec['code']}"


def _check_request(vector: Mapping[str, Any]) -> Iterator[str]:
    request, strict = vector["request"], vector.get("strict", {})
    wanted = strict.get("request_result", request["result"])
    try:
        found = encode_request(vector["command"], request["fields"], _addresses(vector)).hex()
    except OutOfRange as refused:
        if wanted == "ok":
            yield f"request is refused ({refused}), it must be {request['hex']}"
        return
    if wanted != "ok":
        yield f"request is encoded as {found}, it must be refused ({wanted})"
    elif found != request["hex"]:
        yield f"request is {found}, it must be {request['hex']}"


def _check_reply(vector: Mapping[str, Any]) -> Iterator[str]:
    if vector["response"] is None:
        return
    bytes_ = bytes.fromhex(vector["response"]["hex"])
    command, decoded = vector["command"], vector["decoded"]
    strict = vector.get("strict", {})
    wanted = strict.get("result", decoded["result"])
    if (
        "request_result" in strict
        and wanted == "ok"
        and not decoded.get("in_documented_range", True)
    ):
        wanted = "out_of_range"  # the answer to a request that is never sent
    if wanted in ("unverified", "readback_mismatch"):
        wanted = decoded["result"]  # not for a codec to tell
    for pieces in ([bytes_], [bytes_[i : i + 1] for i in range(len(bytes_))]):
        result, raw, unread, ercd = _decoded(command, pieces, _addresses(vector))
        if result != wanted:
            yield f"reply in {len(pieces)} pieces is {result}, it must be {wanted}"
        if result == "ok" and decoded["result"] == "ok":
            if raw != decoded["raw"]:
                yield f"reply has the counts {raw}, it must have {decoded['raw']}"
            values = table()[command].reply.exact_values(raw)
            if _as_text(values) != _as_text(decoded["fields"]):
                yield f"reply has the values {values}, it must have {decoded['fields']}"
            if len(pieces) == 1 and unread != decoded.get("unread_bytes", unread):
                yield f"{unread} bytes are left, it must be {decoded['unread_bytes']}"
        if result == "device_error" and ercd != int(decoded["ercd"], 16):
            yield f"refusal has the code {ercd:#06x}, it must be {decoded['ercd']}"


def _decoded(
    command: str, pieces: list[bytes], at: Addresses
) -> tuple[str, dict[str, int], int, int]:
    """Result, counts, bytes left and error code."""
    reader = ReplyReader(command, at)
    outcome: Exception | None = None
    raw: dict[str, int] | None = None
    try:
        for piece in pieces:
            if (raw := reader.feed(piece)) is not None:
                return "ok", raw, reader.unread, 0
        outcome = reader.complaint
    except DeviceError as error:
        outcome = error
    result = next(name for kind, name in _RESULTS if isinstance(outcome, kind))
    code = str(outcome).rpartition("code ")[2].rstrip(")") if result == "device_error" else "0"
    return result, {}, reader.unread, int(code, 16)


def _addresses(vector: Mapping[str, Any]) -> Addresses:
    return Addresses(vector["ad1"], vector["ad2"])


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _as_text(values: Mapping[str, object]) -> dict[str, object]:
    """Decimal numbers as text without an exponent; whole ones as they are."""
    return {k: v if isinstance(v, (int, str)) else f"{v:f}" for k, v in values.items()}


def main(arguments: list[str] | None = None) -> int:
    """Run the vectors of a file; 0 if all pass, 1 if not, 2 if it is none of vectors."""
    [file] = sys.argv[1:] if arguments is None else arguments
    try:
        count, complaints = check_file(Path(file))
    except ConfigError as error:
        print(f"apisctl: {error}", file=sys.stderr)
        return 2
    for complaint in complaints:
        print(complaint)
    failed = {complaint.partition(":")[0] for complaint in complaints}
    print(f"{file}: {count} vectors, {len(failed) or 'none'} failed")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
