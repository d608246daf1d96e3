"""Who may look and who may steer: the file, and every request through the guard."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

pytest.importorskip("starlette")

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from apis_dashboard import access, login_guard
from apis_dashboard.access import AccessError, Users, read_users
from apis_dashboard.login_guard import Guard, root_of
from apis_dashboard.rate_limit import RateLimit

ANNA = access.hash_password("correct horse")
TOKEN = "t" * 40


@pytest.fixture
def users(tmp_path: Path) -> Users:
    return read_users(write(tmp_path, content()))


def content() -> str:
    return (
        "users:\n"
        f'  - {{name: anna, role: operator, password: "{ANNA}"}}\n'
        f'  - {{name: screen, role: viewer, token: "{access.hash_token(TOKEN)}"}}\n'
    )


def write(folder: Path, text: str) -> Path:
    path = folder / "users.yaml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def browser(users: Users | None, log: list[tuple[str, str]] | None = None, **kwargs: object):
    async def who(request: Request) -> PlainTextResponse:
        identity = request.scope["apis.identity"]
        return PlainTextResponse(f"{identity.name} {identity.role.name}")

    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(socket.scope["apis.identity"].name)
        await socket.close()

    app = Starlette(routes=[Route("/", who, methods=["GET", "POST"]), WebSocketRoute("/ws", talk)])
    audit = log if log is not None else []
    guard = Guard(app, users, cluster="village", audit=lambda a, b: audit.append((a, b)))
    return TestClient(guard, base_url="http://127.0.0.1", follow_redirects=False, **kwargs)


def log_in(client: TestClient, password: str = "correct horse"):
    return client.post("/login", data={"name": "anna", "password": password})


def test_here_nobody_logs_in_and_everybody_operates() -> None:
    client = browser(None)
    assert client.get("/").text == "local MAINTAINER"
    with client.websocket_connect("ws://127.0.0.1/ws") as socket:
        assert socket.receive_text() == "local"


def test_a_foreign_name_that_points_here_gets_nothing() -> None:
    client = browser(None)
    assert client.get("/", headers={"host": "evil.example"}).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "localhost.", "LOCALHOST:4382", "[::1]:4382"])
def test_this_machine_may_be_named_in_full(host: str) -> None:
    assert browser(None).get("/", headers={"host": host}).status_code == 200


def test_another_sites_page_cannot_begin_a_live_connection() -> None:
    # it begins with a GET, whose answer Socket.IO lets every site read
    foreign = {"origin": "http://evil.example"}
    answer = browser(None).get("/_nicegui_ws/socket.io/?transport=polling", headers=foreign)
    assert answer.status_code == 403
    assert browser(None).get("/", headers={"origin": "null"}).status_code == 403


def test_behind_a_proxy_everything_stays_below_its_prefix(users: Users) -> None:
    client = browser(users)
    behind = {"x-forwarded-prefix": "/grid", "accept": "text/html"}
    assert client.get("/", headers=behind).headers["location"] == "/grid/login"
    form = {"name": "anna", "password": "correct horse"}
    assert client.post("/login", data=form, headers=behind).headers["location"] == "/grid/"
    assert client.post("/logout", headers=behind).headers["location"] == "/grid/login"


@pytest.mark.parametrize("prefix", ["//evil.example", "/a/../..//b", "https://x", "/<script>"])
def test_a_prefix_that_leads_elsewhere_is_none(prefix: str) -> None:
    assert root_of({"x-forwarded-prefix": prefix}) == ""


@pytest.mark.parametrize("logged_in", [False, True])
def test_another_sites_page_can_do_nothing(users: Users, logged_in: bool) -> None:
    client = browser(users if logged_in else None)
    if logged_in:
        log_in(client)
    foreign = {"origin": "http://evil.example"}
    assert client.post("/", headers=foreign).status_code == 403
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("ws://127.0.0.1/ws", headers=foreign),
    ):
        pass
    own = {"origin": "http://127.0.0.1"}
    assert client.post("/", headers=own).status_code == 200


def test_no_other_page_may_frame_ours(users: Users) -> None:
    for answer in (browser(None).get("/"), browser(users).get("/login")):
        assert answer.headers["x-frame-options"] == "DENY"


def test_an_endless_login_is_cut_off(users: Users) -> None:
    assert browser(users).post("/login", content=b"x" * 5000).status_code == 413


def test_without_a_login_there_is_only_the_login_page(users: Users) -> None:
    client = browser(users)
    asked = client.get("/", headers={"accept": "text/html"})
    assert (asked.status_code, asked.headers["location"]) == (303, "/login")
    assert client.get("/").status_code == 401
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("ws://127.0.0.1/ws"):
        pass
    form = client.get("/login")
    assert form.status_code == 200
    assert "village" in form.text


def test_a_login_holds_until_the_logout(users: Users) -> None:
    log: list[tuple[str, str]] = []
    client = browser(users, log)
    answer = log_in(client)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/").text == "anna OPERATOR"
    with client.websocket_connect("ws://127.0.0.1/ws") as socket:
        assert socket.receive_text() == "anna"
    client.post("/logout")
    assert client.get("/").status_code == 401
    assert [entry[0] for entry in log] == ["anna", "anna"]


def test_a_stolen_cookie_is_of_no_use_after_the_logout(users: Users) -> None:
    client = browser(users)
    log_in(client)
    cookie = client.cookies["apis_session"]
    client.post("/logout")
    client.cookies.set("apis_session", cookie)
    assert client.get("/").status_code == 401


def test_a_token_is_for_programs(users: Users) -> None:
    client = browser(users)
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert client.get("/", headers=bearer).text == "screen VIEWER"
    assert client.get("/", headers={"authorization": "Bearer wrong"}).status_code == 401


def test_guessing_is_slowed_down_and_written_down(users: Users) -> None:
    log: list[tuple[str, str]] = []
    client = browser(users, log)
    assert [log_in(client, "wrong").status_code for _ in range(6)] == [401] * 5 + [429]
    refused = log_in(client)  # the right one has to wait, too
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert len(log) == 5
    assert "'anna'" in log[0][0]


def test_the_limit_forgets() -> None:
    now_s = [0.0]
    limit = RateLimit(2, 10.0, clock=lambda: now_s[0])
    for _ in range(2):
        assert limit.wait_s("a") == 0.0
        limit.note("a")
    assert limit.wait_s("a") == 10.0
    assert limit.wait_s("b") == 0.0
    now_s[0] = 10.0
    assert limit.wait_s("a") == 0.0


def test_a_session_ends_by_itself() -> None:
    now_s = [0.0]
    sessions = login_guard.Sessions(clock=lambda: now_s[0])
    anna = sessions.begin(access.Identity("anna", access.Role.VIEWER))
    assert sessions.find(anna.session) == anna
    now_s[0] = login_guard.SESSION_S
    assert sessions.find(anna.session) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("users: []", "users"),
        ("users: [{name: anna, role: king, password: 'scrypt:a:b'}]", "users.0.role"),
        ("users: [{name: anna, role: viewer, password: hunter2}]", "users.0.password"),
        ("users: [{name: anna, role: viewer}]", "needs a password or a token"),
        (content() + content().replace("users:\n", ""), "anna stands there twice"),
        ("users: [", "not YAML"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(AccessError, match=words) as caught:
        read_users(write(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, content())
    path.chmod(0o666)
    with pytest.raises(AccessError, match="chmod go-w"):
        read_users(path)
    with pytest.raises(AccessError, match="No such file"):
        read_users(tmp_path / "none.yaml")


def test_the_command_makes_a_line_that_the_file_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("battery staple\n"))
    assert access.main(["otto", "--role", "operator"]) == 0
    line = capsys.readouterr().out
    users = read_users(write(tmp_path, f"users:\n{line}"))
    identity = users.by_password("otto", "battery staple")
    assert identity is not None
    assert identity.may_operate
    assert users.by_password("otto", "battery stable") is None
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert access.main(["otto"]) == 2
