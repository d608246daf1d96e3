"""Who may look and who may steer: the file of users, sessions, and a guard before every request.

On a loopback address without a file nobody logs in and everybody here may do everything. Anywhere
else a file is demanded. It is YAML; passwords and tokens stand in it as hashes only, which
``python -m apis_dashboard.access NAME --role operator`` makes::

    users:
      - {name: anna, role: operator, password: "scrypt:..."}
      - {name: hall_screen, role: viewer, token: "sha256:..."}

A session is a random number in a cookie that scripts cannot read and that no other site's request
carries. A token goes into the header ``Authorization: Bearer ...`` of a program's requests.
"""

from __future__ import annotations

import argparse
import getpass
import hashlib
import hmac
import ipaddress
import os
import re
import secrets
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qs, urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from apis_core.model.errors import ConfigError
from apis_site.files import read_text

__all__ = [
    "LOCAL",
    "AccessError",
    "Guard",
    "Identity",
    "RateLimit",
    "Role",
    "Sessions",
    "Users",
    "is_loopback",
    "read_users",
]

COOKIE = "apis_session"
SESSION_S = 12 * 3600.0
SCRYPT = {"n": 2**14, "r": 8, "p": 1}
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")  # anything else would be read as another site
OPEN_PATHS = ("/login", "/favicon.ico")
LARGEST_LOGIN_BYTES = 4096
# no other site's page may show ours inside its own, where clicks could be stolen
PROTECTION = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


class Role(IntEnum):
    """What somebody may do; each includes the ones before it."""

    VIEWER = 1
    OPERATOR = 2  # modes, deals, schedules, the emergency stop
    MAINTAINER = 3  # converters by hand, programs, faults for tests


class AccessError(Exception):
    """The file of users makes no sense, or is missing; one line for people."""


@dataclass(frozen=True)
class Identity:
    """Who somebody is."""

    name: str
    role: Role
    session: str = ""  # empty = not by a session

    @property
    def may_operate(self) -> bool:
        """Whether it may give orders."""
        return self.role >= Role.OPERATOR

    @property
    def may_maintain(self) -> bool:
        """Whether it may also work on converters, programs and emulated hardware."""
        return self.role >= Role.MAINTAINER


LOCAL = Identity("local", Role.MAINTAINER)


class _User(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Annotated[str, Field(pattern=r"^[\w.@-]{1,40}$")]
    role: Literal["viewer", "operator", "maintainer"]
    password: Annotated[str | None, Field(pattern=r"^scrypt:")] = None
    token: Annotated[str | None, Field(pattern=r"^sha256:[0-9a-f]{64}$")] = None

    @model_validator(mode="after")
    def _has_a_secret(self) -> _User:
        if (self.password is None) == (self.token is None):
            raise ValueError("needs a password or a token, and not both")
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    users: Annotated[tuple[_User, ...], Field(min_length=1)]


class Users:
    """Who is in the file."""

    def __init__(self, users: tuple[_User, ...]) -> None:
        self._by_name = {user.name: user for user in users if user.password}
        self._by_token = {user.token: user for user in users if user.token}
        self._nobody = hash_password(secrets.token_hex())

    def by_password(self, name: str, password: str) -> Identity | None:
        """Whose name and password these are; a wrong name takes as long as a wrong password."""
        user = self._by_name.get(name)
        stored = user.password if user and user.password else self._nobody
        if not _is_password(password, stored) or user is None:
            return None
        return Identity(user.name, Role[user.role.upper()])

    def by_token(self, token: str) -> Identity | None:
        """Whose token this is."""
        user = self._by_token.get(hash_token(token))
        return Identity(user.name, Role[user.role.upper()]) if user else None


def read_users(path: Path) -> Users:
    """Read the file.

    Raises:
        AccessError: It is not there, others may write it, or it makes no sense.
    """
    try:
        if path.stat().st_mode & 0o022:
            raise AccessError(f"{path}: others may write it; chmod go-w makes it right")
        content = yaml.safe_load(read_text(path))
        users = _File.model_validate(content).users
    except OSError as error:
        raise AccessError(f"{path}: {error.strerror}") from None
    except ConfigError as error:
        raise AccessError(str(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise AccessError(f"{path}: {place or 'content'}: {first['msg']}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # also the 45th of a month
        raise AccessError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    names = [user.name for user in users]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise AccessError(f"{path}: users: {twice} stands there twice")
    return Users(users)


def hash_password(password: str) -> str:
    """The form of a password that stands in the file."""
    salt = os.urandom(16)
    key = hashlib.scrypt(password.encode(), salt=salt, **SCRYPT)
    return f"scrypt:{b64encode(salt).decode()}:{b64encode(key).decode()}"


def hash_token(token: str) -> str:
    """The form of a token that stands in the file; it is long and random and needs no salt."""
    return f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"


def _is_password(password: str, stored: str) -> bool:
    try:
        _, salt, key = stored.split(":")
        made = hashlib.scrypt(password.encode(), salt=b64decode(salt), **SCRYPT)
        return hmac.compare_digest(made, b64decode(key))
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only."""
    host = host.removesuffix(".")  # a full name of DNS may end in one
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def root_of(headers: Mapping[str, str]) -> str:
    """What stands before every path of ours: the prefix under which a proxy serves the page.

    Args:
        headers: Of a request; a proxy says it in ``X-Forwarded-Prefix``.
    """
    prefix = headers.get("x-forwarded-prefix", "").rstrip("/")
    return prefix if _PREFIX.fullmatch(prefix) else ""


class RateLimit:
    """At most `count` in any `within_s` seconds, for each key."""

    def __init__(
        self, count: int, within_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._count, self._within_s, self._clock = count, within_s, clock
        self._stamps: dict[str, list[float]] = {}

    def wait_s(self, key: str) -> float:
        """How long the next one has to wait; 0 = not at all. [s]"""
        now_s = self._clock()
        stamps = [s for s in self._stamps.get(key, ()) if now_s - s < self._within_s]
        self._stamps[key] = stamps
        if not stamps:
            del self._stamps[key]
        return self._within_s - (now_s - stamps[0]) if len(stamps) >= self._count else 0.0

    def note(self, key: str) -> None:
        """One has happened."""
        self._stamps.setdefault(key, []).append(self._clock())


class Sessions:
    """Who is logged in. Lost when the process ends: everybody logs in again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[str, tuple[Identity, float]] = {}

    def begin(self, identity: Identity) -> Identity:
        """Open a session; its number stands in what is returned."""
        now_s = self._clock()
        self._open = {key: entry for key, entry in self._open.items() if entry[1] > now_s}
        named = Identity(identity.name, identity.role, secrets.token_urlsafe(32))
        self._open[named.session] = (named, now_s + SESSION_S)
        return named

    def find(self, session: str) -> Identity | None:
        """Whose session this is, if it is open."""
        identity, until_s = self._open.get(session, (None, 0.0))
        return identity if self._clock() < until_s else None

    def end(self, session: str) -> None:
        """Close a session."""
        self._open.pop(session, None)


class Guard:
    """Lets nobody through who may not; puts an :class:`Identity` into ``scope["apis.identity"]``.

    Requests that another site's page made do not get through: an Origin, if there is one, must
    name our host, and without a login the Host must be this machine, so that no foreign name can
    point here.

    Args:
        app: What is guarded.
        users: Who may log in; None = nobody needs to.
        cluster: Stands on the login page.
        audit: Takes who and what, of logins and logouts.
    """

    def __init__(
        self,
        app: ASGIApp,
        users: Users | None,
        *,
        cluster: str,
        audit: Callable[[str, str], None],
    ) -> None:
        self._app = app
        self._users = users
        self._cluster = cluster
        self._audit = audit
        self.sessions = Sessions()
        self._failures = RateLimit(5, 60.0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request and pass it on, or answer it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "http":
            send = _protected(send)
        connection = HTTPConnection(scope)
        refusal = self._why_foreign(connection.headers, scope)
        if refusal:
            await self._answer(PlainTextResponse(refusal, 403), scope, receive, send)
            return
        identity = self._identify(connection)
        path = scope["path"]
        if scope["type"] == "http" and self._users is not None and path == "/login":
            response = await self._login(Request(scope, receive))
            await response(scope, receive, send)
        elif scope["type"] == "http" and path == "/logout" and scope["method"] == "POST":
            await self._logout(identity, connection.headers)(scope, receive, send)
        elif identity is None and path not in OPEN_PATHS:
            wants_page = scope["type"] == "http" and "text/html" in connection.headers.get(
                "accept", ""
            )
            denied: Response = (
                RedirectResponse(f"{root_of(connection.headers)}/login", 303)
                if wants_page
                else PlainTextResponse("log in first", 401)
            )
            await self._answer(denied, scope, receive, send)
        else:
            scope["apis.identity"] = identity
            await self._app(scope, receive, send)

    def _why_foreign(self, headers: Headers, scope: Scope) -> str:
        host = headers.get("host", "")
        if self._users is None and not is_loopback(urlsplit(f"//{host}").hostname or ""):
            return "this page is for this machine only"
        # Also of a GET: the live connection begins with one, and whoever only follows a link to
        # us sends no Origin.
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return "another site's page may not do this"
        return ""

    def _identify(self, connection: HTTPConnection) -> Identity | None:
        if self._users is None:
            return LOCAL
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._users.by_token(token.strip())
        return self.sessions.find(connection.cookies.get(COOKIE, ""))

    async def _login(self, request: Request) -> Response:
        assert self._users is not None
        if request.method != "POST":
            return self._form("")
        address = request.client.host if request.client else "?"
        wait_s = self._failures.wait_s(address)
        if wait_s > 0.0:
            answer = self._form(f"Too many tries. Wait {wait_s:.0f} s.", 429)
            answer.headers["Retry-After"] = f"{wait_s:.0f}"
            return answer
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > LARGEST_LOGIN_BYTES:
                return self._form("That is too long.", 413)
        fields: Mapping[str, list[str]] = parse_qs(body.decode("utf-8", "replace"))
        name, password = (fields.get(key, [""])[0] for key in ("name", "password"))
        identity = self._users.by_password(name, password)
        if identity is None:
            self._failures.note(address)
            self._audit(f"{name[:40]!r} from {address}", "login refused")
            return self._form("Name or password is wrong.", 401)
        session = self.sessions.begin(identity)
        self._audit(identity.name, f"logged in from {address} as {identity.role.name.lower()}")
        response = RedirectResponse(f"{root_of(request.headers)}/", 303)
        is_tls = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
        response.set_cookie(
            COOKIE,
            session.session,
            max_age=int(SESSION_S),
            httponly=True,
            samesite="strict",
            secure=is_tls,
        )
        return response

    def _logout(self, identity: Identity | None, headers: Headers) -> Response:
        if identity is not None and identity.session:
            self.sessions.end(identity.session)
            self._audit(identity.name, "logged out")
        response = RedirectResponse(f"{root_of(headers)}/login", 303)
        response.delete_cookie(COOKIE)
        return response

    def _form(self, complaint: str, status: int = 200) -> Response:
        page = (Path(__file__).parent / "static" / "login.html").read_text(encoding="utf-8")
        page = page.replace("{{cluster}}", self._cluster).replace("{{complaint}}", complaint)
        return HTMLResponse(page, status, headers={"Cache-Control": "no-store"})

    async def _answer(
        self, response: Response, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4401})
        else:
            await response(scope, receive, send)


def _protected(send: Send) -> Send:
    async def protected(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in PROTECTION.items():
                headers.setdefault(name, value)
        await send(message)

    return protected


def main(arguments: list[str] | None = None) -> int:
    """Print a line for the file of users; give the exit code."""
    parser = argparse.ArgumentParser(description="A line for the dashboard's file of users.")
    parser.add_argument("name")
    parser.add_argument("--role", choices=[role.name.lower() for role in Role], default="viewer")
    parser.add_argument("--token", action="store_true", help="for a program, not for a person")
    options = parser.parse_args(arguments)
    if options.token:
        token = secrets.token_urlsafe(32)
        print(f"the token, shown this once: {token}", file=sys.stderr)
        secret = f'token: "{hash_token(token)}"'
    else:
        password = (
            getpass.getpass("Password: ")
            if sys.stdin.isatty()
            else sys.stdin.readline().rstrip("\n")
        )
        if len(password) < 8:
            print("access: the password is too short; 8 characters at least", file=sys.stderr)
            return 2
        secret = f'password: "{hash_password(password)}"'
    print(f"  - {{name: {options.name}, role: {options.role}, {secret}}}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
