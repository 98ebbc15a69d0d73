from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cvat_helpers import Answer, FaultProxy

from lsl_core.cvat import (
    ConnectStep,
    PasswordLogin,
    SavedKey,
    TokenLogin,
    connect,
    list_tasks,
    server_address,
)
from lsl_core.errors import (
    CvatAuth,
    CvatError,
    CvatNotFound,
    CvatRequestFailed,
    CvatTooOld,
    CvatUnreachable,
    UserInput,
)
from lsl_core.sandbox import Sandbox

GOOD = PasswordLogin("demo", "demo-password")


def test_connect_reports_every_step_in_order(sandbox):
    steps: list[tuple[ConnectStep, str]] = []
    with connect(sandbox.url, GOOD, organisation="lab", report=lambda *s: steps.append(s)) as s:
        assert (s.url, s.user, s.organisation) == (sandbox.url, "demo", "lab")
        assert s.server.is_sandbox
        assert s.server.keeps_score
        assert s.server.has_tokens
    assert [step for step, _ in steps] == list(ConnectStep)
    assert dict(steps)[ConnectStep.SIGNED_IN] == "demo"


def test_a_wrong_password_is_an_auth_error_without_the_password(sandbox):
    with pytest.raises(CvatAuth, match='password of "demo"') as caught:
        connect(sandbox.url, PasswordLogin("demo", "wrong-9f3"))
    assert "wrong-9f3" not in repr(caught.value.__dict__)
    assert caught.value.exit_code == 11


def test_an_unreachable_server_is_named_with_host_and_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(CvatUnreachable, match=f"127.0.0.1:{port} does not answer") as caught:
        connect(f"http://127.0.0.1:{port}", GOOD)
    assert caught.value.hint


def test_a_server_that_says_nothing_is_given_up_after_the_timeout():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(CvatUnreachable, match="took too long"):
            connect(f"http://127.0.0.1:{silent.getsockname()[1]}", GOOD, timeout_s=0.2)


def test_https_to_a_plain_http_server_says_so(sandbox):
    with pytest.raises(CvatUnreachable, match="does not speak https"):
        connect(sandbox.url.replace("http:", "https:"), GOOD)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_an_unknown_certificate_is_refused_unless_the_check_is_off(tmp_path):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subject = ["-subj", "/CN=localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*request, *subject], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with _Page(b"<html>hello</html>", context) as url:
        with pytest.raises(CvatUnreachable, match="certificate"):
            connect(url, GOOD)
        with pytest.raises(CvatRequestFailed, match="not CVAT"):
            connect(url, GOOD, verify_tls=False)


@pytest.mark.parametrize("body", [b"<html>Apache</html>", b'{"hello": 1}', b"[]"])
def test_a_server_that_is_not_cvat_is_told(body):
    with _Page(body) as url, pytest.raises(CvatRequestFailed, match="not CVAT"):
        connect(url, GOOD)


def test_a_wrong_organisation_names_those_that_exist(sandbox):
    with pytest.raises(CvatNotFound, match='"lba"') as caught:
        connect(sandbox.url, PasswordLogin("ana", "ana-password"), organisation="lba")
    assert "field, lab" in caught.value.hint


def test_organisations_are_listed_whatever_is_chosen(sandbox):
    login = PasswordLogin("ana", "ana-password")
    for chosen in (None, "", "lab"):
        with connect(sandbox.url, login, organisation=chosen) as session:
            assert [o.slug for o in session.organisations()] == ["field", "lab"]


def test_the_saved_login_signs_in_again_without_the_password(sandbox):
    with connect(sandbox.url, GOOD) as first:
        saved = first.saved_login
    assert isinstance(saved, SavedKey)
    assert "demo-password" not in saved.key
    with connect(sandbox.url, saved) as again:
        assert again.user == "demo"
        assert list_tasks(again) == []


def test_a_login_without_a_key_goes_on_with_cookies(sandbox):
    def without_key(method, path, forward):
        answer = forward()
        return Answer(answer.status, answer.headers, b"{}") if "login" in path else answer

    with FaultProxy(sandbox.url) as proxy:
        proxy.fault = without_key
        with connect(proxy.url, GOOD) as first:
            assert first.user == "demo"
        with connect(proxy.url, first.saved_login) as again:
            assert again.user == "demo"


def test_a_key_that_was_withdrawn_asks_to_sign_in_again(sandbox):
    with pytest.raises(CvatAuth, match='saved sign-in of "demo"'):
        connect(sandbox.url, SavedKey("demo", "0" * 40))


def test_a_token_signs_in_and_a_wrong_one_does_not(sandbox):
    with connect(sandbox.url, TokenLogin(sandbox.make_token("ana"))) as session:
        assert session.user == "ana"
        assert isinstance(session.saved_login, TokenLogin)
    with pytest.raises(CvatAuth, match="access token"):
        connect(sandbox.url, TokenLogin("no-such-token"))


def test_an_old_server_keeps_no_score_and_knows_no_tokens(tmp_path):
    with Sandbox(tmp_path, version="2.30.0") as old:
        with connect(old.url, GOOD) as session:
            assert not session.server.keeps_score
            assert not session.server.has_tokens
        with pytest.raises(CvatTooOld, match="no personal access tokens"):
            connect(old.url, TokenLogin("any"))


def test_secrets_never_show_in_a_repr(sandbox):
    with connect(sandbox.url, GOOD) as session:
        shown = repr((GOOD, TokenLogin("t0ken"), SavedKey("demo", "k3y"), session))
        assert session.key not in shown
    for secret in ("demo-password", "t0ken", "k3y"):
        assert secret not in shown


def test_being_asked_to_slow_down_says_for_how_long(sandbox):
    with FaultProxy(sandbox.url) as proxy:
        proxy.fault = lambda *request: Answer(429, [("Retry-After", "7")], b"{}")
        with pytest.raises(CvatError, match="asked too often") as caught:
            connect(proxy.url, GOOD)
    assert "7 seconds" in caught.value.hint


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("cvat.example.org", "https://cvat.example.org"),
        ("https://cvat.example.org/", "https://cvat.example.org"),
        ("localhost:8080", "http://localhost:8080"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        (" http://cvat.lan:8080/tasks?page=1 ", "http://cvat.lan:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_addresses_are_taken_as_people_paste_them(typed, address):
    assert server_address(typed) == address


@pytest.mark.parametrize("typed", ["", "ftp://x", "http://", "http://x:notaport", "http://u:p@x"])
def test_what_is_no_address_is_refused(typed):
    with pytest.raises(UserInput):
        server_address(typed)


class _Page:
    """A web server with one page, for every GET."""

    def __init__(self, body: bytes, context: ssl.SSLContext | None = None) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response_only(200)
                self.end_headers()
                self.wfile.write(body)

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._scheme = "http"
        if context:
            self._scheme = "https"
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda *args: None  # type: ignore[method-assign]

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
