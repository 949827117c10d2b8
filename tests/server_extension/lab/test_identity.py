"""Who somebody is in a document: stable across a script's reconnects, and with what his colleagues see of him."""

from __future__ import annotations

from typing import Any

import pytest
from collabkernel_server.lab.identity import ANONYMOUS, document_principal
from jupyter_server.auth import IdentityProvider, User
from jupyter_server.base.handlers import JupyterHandler
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.web import Application

from collabkernel.wire.messages import Role

COOKIE = "username-here"


class Line:
    """A connection as far as a request looks at it."""

    context = None

    def set_close_callback(self, _: Any) -> None:
        """Nothing is closed."""


@pytest.fixture
def handler() -> JupyterHandler:
    provider = IdentityProvider(cookie_name=COOKIE)
    application = Application(identity_provider=provider)
    request = HTTPServerRequest(
        start_line=RequestStartLine("GET", "/", "HTTP/1.1"), headers=HTTPHeaders({"Host": "here"}), connection=Line()
    )  # type: ignore[arg-type]
    return JupyterHandler(application, request)


def made_up(handler: JupyterHandler) -> User:
    return handler.identity_provider.generate_anonymous_user(handler)


def test_named_user_is_himself(handler: JupyterHandler) -> None:
    ann = User("ann", name="Ann", display_name="Ann B.", initials="AB", color="#aabbcc")
    principal = document_principal(handler, ann, Role.WRITER)

    assert (principal.actor, principal.name, principal.role) == ("ann", "Ann B.", Role.WRITER)
    assert principal.identity == {
        "username": "ann", "name": "Ann", "display_name": "Ann B.", "initials": "AB", "color": "#aabbcc"
    }  # fmt: skip


def test_what_jupyter_does_not_know_is_left_to_the_page(handler: JupyterHandler) -> None:
    assert "color" not in document_principal(handler, User("ann"), Role.READER).identity


def test_token_without_a_cookie_is_one_actor_each_time(handler: JupyterHandler) -> None:
    first, second = (document_principal(handler, made_up(handler), Role.WRITER) for _ in range(2))

    assert first.actor == second.actor == ANONYMOUS
    assert first.identity["username"] != second.identity["username"]


def test_anonymous_page_with_its_cookie_is_itself(handler: JupyterHandler) -> None:
    user = made_up(handler)
    handler.request.headers["Cookie"] = f"{COOKIE}=x"

    assert document_principal(handler, user, Role.WRITER).actor == user.username
