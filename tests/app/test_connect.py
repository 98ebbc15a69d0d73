from __future__ import annotations

import pytest
from app_world import World, words

from lsl_core.sandbox import DEMO_PASSWORD, DEMO_USER, Sandbox
from lsl_core.ui import keys


def test_a_new_workspace_asks_for_a_server(open_page) -> None:
    app = open_page("connect")
    assert "Not connected" in words(app) or app.text_input(key=keys.CONNECT_URL).value == ""
    assert app.text_input(key=keys.CONNECT_URL).value == ""


def test_a_saved_sign_in_connects_at_once_and_names_the_sandbox(open_page, world) -> None:
    text = words(open_page("connect"))
    assert "Connected" in text
    assert world.session.url in text
    assert "practice server" in text


def test_a_wrong_password_is_said_and_the_right_one_works(open_page, sandbox) -> None:
    app = open_page("connect")
    app.text_input(key=keys.CONNECT_URL).set_value(sandbox.url)
    app.text_input(key=keys.CONNECT_USER).set_value(DEMO_USER)
    app.text_input(key=keys.CONNECT_PASSWORD).set_value("not it")
    app.button(key=keys.CONNECT_GO).click().run()
    assert 'does not accept the password of "demo"' in words(app)
    assert "not it" not in words(app)
    app.text_input(key=keys.CONNECT_PASSWORD).set_value(DEMO_PASSWORD)
    app.button(key=keys.CONNECT_GO).click().run()
    assert "Connected" in words(app)


def test_an_unreachable_server_names_host_and_port(open_page) -> None:
    app = open_page("connect")
    app.text_input(key=keys.CONNECT_URL).set_value("http://127.0.0.1:9")
    app.text_input(key=keys.CONNECT_USER).set_value("ana")
    app.text_input(key=keys.CONNECT_PASSWORD).set_value("secret")
    app.button(key=keys.CONNECT_GO).click().run()
    assert "127.0.0.1:9" in app.error[0].value


def test_an_unknown_organisation_names_the_known_ones(open_page, sandbox) -> None:
    app = open_page("connect")
    app.text_input(key=keys.CONNECT_URL).set_value(sandbox.url)
    app.text_input(key=keys.CONNECT_USER).set_value(DEMO_USER)
    app.text_input(key=keys.CONNECT_PASSWORD).set_value(DEMO_PASSWORD)
    app.text_input(key=keys.CONNECT_ORGANISATION).set_value("nowhere")
    app.button(key=keys.CONNECT_GO).click().run()
    assert 'no organisation "nowhere"' in words(app)


def test_disconnecting_asks_again(open_page, world) -> None:
    app = open_page("connect")
    app.button(key=keys.CONNECT_LEAVE).click().run()
    assert app.text_input(key=keys.CONNECT_URL).value == world.session.url


def test_a_folder_without_workspace_says_how_to_make_one(monkeypatch, tmp_path, open_page) -> None:
    monkeypatch.setenv("LSL_WORKSPACE", str(tmp_path))
    app = open_page("connect")
    assert next(code.value for code in app.code) == "lsl demo"


@pytest.mark.parametrize("page", ["connect", "tasks", "push", "review"])
def test_a_saved_sign_in_at_a_server_that_is_gone_says_so_first_and_is_tried_again(
    open_page, tmp_path, workspace, page
) -> None:
    with Sandbox(tmp_path / "leaving") as sandbox:
        World.signed_in(sandbox, workspace)
        sandbox.stop()
        app = open_page(page)
        assert "does not answer" in words(app)
        assert "The saved sign-in did not work" not in words(app)
        sandbox.start()
        next(button for button in app.button if button.label == "Try again").click().run()
        assert "does not answer" not in words(app)
        assert "Not connected" not in words(app)
