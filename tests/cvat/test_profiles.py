from __future__ import annotations

import pytest
from cvat_sdk.core.auth import AuthStore, ProfileEntry

from lsl_core.cvat import ConnectStep, PasswordLogin, connect, profile_login, saved_profiles
from lsl_core.errors import CvatAuth, UserInput


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    kept = AuthStore()
    kept.put_profile("lab", ProfileEntry("https://lab.example", "lab-token", ""))
    kept.put_profile("field", ProfileEntry("https://field.example", "field-token", ""))
    kept.set_default_profile("field")
    return kept


def test_profiles_are_listed_the_default_first_and_none_where_there_is_no_store(store):
    assert list(saved_profiles().items()) == [
        ("field", "https://field.example"),
        ("lab", "https://lab.example"),
    ]
    store.path.unlink()
    assert saved_profiles() == {}


def test_a_profile_is_a_server_and_a_token_that_never_shows(store):
    url, login = profile_login("lab")
    assert (url, login.token) == ("https://lab.example", "lab-token")
    assert "lab-token" not in repr(login)


def test_an_unknown_profile_names_those_that_exist(store):
    with pytest.raises(UserInput, match='no profile "home"') as caught:
        profile_login("home")
    assert "field, lab" in caught.value.hint


def test_a_store_that_others_can_read_is_not_used_and_its_token_not_told(store):
    store.path.chmod(0o644)
    with pytest.raises(CvatAuth) as caught:
        saved_profiles()
    assert "0o600" in caught.value.hint
    assert "lab-token" not in repr(caught.value) + caught.value.hint + caught.value.detail


@pytest.mark.parametrize(
    ("user", "organisation", "words"),
    [
        ("ana", "lab", "new tasks"),
        ("ben", "night", "assigned to you"),
        ("demo", "", "administrator"),
    ],
)
def test_connecting_tells_what_may_be_written(sandbox, user, organisation, words):
    if organisation == "night":
        sandbox.add_organisation("night", "ana", {"ben": "worker"})
    told = {}
    login = PasswordLogin(user, f"{user}-password")
    with connect(sandbox.url, login, organisation=organisation, report=told.__setitem__) as session:
        assert words in session.rights
    assert list(told) == list(ConnectStep)
    assert told[ConnectStep.MAY_WRITE] == session.rights
