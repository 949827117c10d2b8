"""Where the server is."""

from __future__ import annotations

import pytest

import collabkernel as ck
from collabkernel.client.discover import NoServerError, find_server


def test_what_the_user_says_counts():
    server = find_server("http://host:1/", "secret", {"COLLABKERNEL_URL": "http://other/"})

    assert (server.urls, server.read_token()) == (("http://host:1/",), "secret")


def test_a_kernel_finds_the_server_that_started_it(tmp_path):
    file = tmp_path / "token"
    file.write_text("first\n")
    environment = {"COLLABKERNEL_URL": "http://host:1/base/", "COLLABKERNEL_TOKEN_FILE": str(file)}
    server = find_server(None, None, environment)

    assert (server.urls, server.read_token()) == (("http://host:1/base/",), "first")
    file.write_text("second")
    assert server.read_token() == "second"
    file.unlink()
    with pytest.raises(NoServerError, match="Restart this kernel"):
        server.read_token()


def test_a_token_is_not_sent_to_another_server(tmp_path):
    file = tmp_path / "token"
    file.write_text("secret")
    environment = {"COLLABKERNEL_URL": "http://host:1/", "COLLABKERNEL_TOKEN_FILE": str(file)}

    assert find_server("http://elsewhere/", None, environment).read_token() == ""
    assert find_server("http://host:1", None, environment).read_token() == "secret"


def test_several_servers_are_named_in_a_list_or_with_commas_in_the_environment(tmp_path):
    file = tmp_path / "token"
    file.write_text("secret")
    environment = {"COLLABKERNEL_URL": "http://a:1/, http://b:1/base/,", "COLLABKERNEL_TOKEN_FILE": str(file)}

    found = find_server(None, None, environment)
    assert (found.urls, found.read_token()) == (("http://a:1/", "http://b:1/base/"), "secret")
    assert find_server("http://b:1/base", None, environment).read_token() == "secret"
    given = find_server(["http://b:1/base/", "http://c:1/"], None, environment)
    assert (given.urls, given.read_token()) == (("http://b:1/base/", "http://c:1/"), "")
    assert find_server([], None, environment).urls == found.urls


def test_without_a_server_the_error_says_what_to_do():
    with pytest.raises(NoServerError) as caught:
        find_server(None, None, {})

    for help_ in ("jupyter lab", "url=", "memory://", "COLLABKERNEL_URL"):
        assert help_ in str(caught.value)


def test_a_kernel_finds_its_server(jupyter):
    code = "import collabkernel as ck; room = ck.connect('found'); room.root.a = 1; room.flush(); print(room.to_json())"

    assert jupyter.run_in_kernel(code).strip().endswith("{'a': 1}")
    with ck.connect("found", url=jupyter.base_url, token=jupyter.token) as room:
        assert room.to_json() == {"a": 1}
