"""A guard before every request: logs people in and out, and lets nobody through who may not.

A session is a random number in a cookie that scripts cannot read and that no other site's request
carries. A token goes into the header ``Authorization: Bearer ...`` of a program's requests.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from apis_dashboard.access import LOCAL, Identity, Users, is_loopback
from apis_dashboard.rate_limit import RateLimit

__all__ = ["Guard", "Sessions", "root_of"]

COOKIE = "apis_session"
SESSION_S = 12 * 3600.0
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")  # anything else would be read as another site
OPEN_PATHS = ("/login", "/favicon.ico")
LARGEST_LOGIN_BYTES = 4096
# no other site's page may show ours inside its own, where clicks could be stolen
PROTECTION = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


def root_of(headers: Mapping[str, str]) -> str:
    """What stands before every path of ours: the prefix under which a proxy serves the page.

    Args:
        headers: Of a request; a proxy says it in ``X-Forwarded-Prefix``.
    """
    prefix = headers.get("x-forwarded-prefix", "").rstrip("/")
    return prefix if _PREFIX.fullmatch(prefix) else ""


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
