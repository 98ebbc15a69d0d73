import pytest

from lsl_core.errors import LabelStudioError, UserInput
from lsl_core.labelstudio import LabelStudio, config_for

from .fake import REFRESH, TOKEN, FakeLabelStudio

CONFIG = config_for(["bolt"], "brushlabels")


@pytest.fixture
def fake():
    with FakeLabelStudio(page_limit=3) as made:
        yield made


@pytest.fixture
def server(fake):
    with LabelStudio(fake.url, TOKEN, image_hosts=["localhost"]) as made:
        yield made


def test_all_pages_of_tasks_come_in_order(fake, server):
    number = fake.add_project(CONFIG, *((f"{i}.png", b"x", []) for i in range(8)))
    assert [task["id"] for task in server.tasks(number)] == list(range(100, 108))


def test_a_new_token_is_renewed_when_it_ran_out(fake):
    with LabelStudio(fake.url, REFRESH) as server:
        assert server.user() == "ana@example.org"
        fake.expired.add("Bearer access1")
        assert server.user() == "ana@example.org"
    used = [given for _, path, given in fake.calls if path.endswith("whoami")]
    assert used == ["Bearer access1", "Bearer access1", "Bearer access2"]


@pytest.mark.parametrize("token", ["wrong", "a.b.c"])
def test_a_refused_token_says_what_to_do(fake, token):
    with LabelStudio(fake.url, token) as server, pytest.raises(LabelStudioError) as caught:
        server.user()
    assert "labelstudio-setup" in caught.value.hint
    assert token not in str(caught.value) + caught.value.detail or token == "wrong"


def test_images_come_from_the_server_and_its_storages(fake, server):
    fake.files |= {"upload/1/a.png": b"first", "bucket/b.png": b"second"}
    assert server.image("/data/upload/1/a.png") == b"first"
    assert server.image(f"{fake.url}/data/upload/1/a.png") == b"first"
    assert server.image("s3://bucket/b.png", task_id=7) == b"second"
    assert server.image("data:image/png;base64,aGVsbG8=") == b"hello"


@pytest.mark.parametrize(
    "address",
    ["http://169.254.169.254/latest/meta-data", "file:///etc/passwd", "ftp://x/y.png",
     "http://127.0.0.1:1/a.png", "//evil.example/a.png", "data:image/png;base64,%%%"],
)  # fmt: skip
def test_images_are_fetched_from_nowhere_else(server, address):
    with pytest.raises(UserInput):
        server.image(address)


def test_the_token_never_goes_to_another_host(fake, server):
    fake.files["a.png"] = b"secret"
    port = fake.url.rpartition(":")[2]
    with pytest.raises(LabelStudioError):
        server.image(f"http://localhost:{port}/data/a.png")
    assert fake.calls[-1] == ("GET", "/data/a.png", "")


def test_a_server_that_is_not_there_or_is_another_is_named():
    with LabelStudio("http://127.0.0.1:1", TOKEN) as nobody, pytest.raises(LabelStudioError) as e:
        nobody.user()
    assert "127.0.0.1:1 does not answer" in e.value.message
    with pytest.raises(UserInput, match="no address"):
        LabelStudio("localhost:8080", TOKEN)


def test_the_token_is_in_no_error(fake):
    with LabelStudio(fake.url, TOKEN) as server, pytest.raises(LabelStudioError) as caught:
        server.project(99)
    assert TOKEN not in repr(caught.value) + caught.value.detail + str(vars(caught.value))
    assert "404" in caught.value.message


def test_a_refused_token_comes_with_the_reason_of_the_server(fake):
    fake.refusal = "legacy token authentication has been disabled for this organization"
    with LabelStudio(fake.url, "f" * 40) as server, pytest.raises(LabelStudioError) as caught:
        server.user()
    assert str(caught.value).startswith(f"{fake.url} refused the token: legacy token auth")


@pytest.mark.parametrize("token", ["ähh…", "", "one\ntwo", "one two"])
def test_a_token_that_cannot_be_one_is_refused_before_it_is_sent(fake, token):
    with pytest.raises(UserInput, match="sign that no token has"):
        LabelStudio(fake.url, token)
    assert fake.calls == []


@pytest.mark.parametrize("token", [TOKEN, REFRESH])
def test_the_address_of_a_page_is_no_server(fake, token):
    with (
        LabelStudio(f"{fake.url}/projects/3/data", token) as server,
        pytest.raises(LabelStudioError, match="There is no Label Studio at") as caught,
    ):
        server.user()
    assert "/projects" in caught.value.hint


def test_what_is_wrong_with_a_request_is_said(server):
    with pytest.raises(LabelStudioError, match=r"answered 400 .*no more than 50 characters\.$"):
        server.create_project("x" * 51, CONFIG)


@pytest.mark.parametrize(
    "address",
    [
        "http://studio.example.org/data/upload/1/00000000-a.png",
        "https://studio.example.org:8443/ls/data/upload/1/00000000-a.png",
    ],
)
def test_files_of_the_server_are_found_under_every_name_it_has(fake, server, address):
    """Label Studio writes addresses of local files with LABEL_STUDIO_HOST."""
    fake.add_project(CONFIG, ("a.png", b"pixels", []))
    assert server.image(address) == b"pixels"


def test_other_addresses_are_not_taken_for_files_of_the_server(fake, server):
    fake.add_project(CONFIG, ("a.png", b"pixels", []))
    with pytest.raises(UserInput, match="may not be fetched"):
        server.image("http://studio.example.org/data/other/a.png")
    assert fake.calls == []
    with pytest.raises(UserInput, match="no address"):
        server.image(" ")


def test_a_project_is_found_by_its_whole_title_the_newest_first(fake, server):
    for title in ("Cells", "cells", "Cells, second", "Cells", "Other cells"):
        fake.projects[fake.add_project(CONFIG)]["title"] = title
    found = server.project_named("Cells")
    assert found is not None
    assert found["id"] == 4
    assert server.project_named("Cell") is None
