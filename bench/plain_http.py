"""A server of the kind that the original emulator has, to measure ours against in the same run.

One thread, HTTP/1.0, a connection for each request, a line for each in the log, JSON made anew
each time: what `bottle` does by itself. ``python -m bench.plain_http`` prints its port and serves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import make_server

from apis_compat.emulator.template import filtered, unit_document

HOUSES = 100


def main() -> None:
    """Serve until killed."""
    units = {f"E{number:03}": unit_document(number) for number in range(1, HOUSES + 1)}
    path = re.compile("/get/unit/(?P<unit_id>[^/]+)")

    def application(
        environment: dict[str, Any], start: Callable[[str, list[tuple[str, str]]], Any]
    ) -> Iterable[bytes]:
        match = path.fullmatch(environment["PATH_INFO"])
        assert match is not None
        document = units[match["unit_id"]]
        body = json.dumps({**document, "dcdc": filtered(document["dcdc"])}).encode()
        headers = [("Content-Length", str(len(body))), ("Content-Type", "application/json")]
        start("200 OK", headers)
        return [body]

    with make_server("127.0.0.1", 0, application) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
