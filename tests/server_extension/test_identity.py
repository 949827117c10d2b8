"""Users become principals."""

from __future__ import annotations

import pytest
from collabkernel_server.identity import default_kernel_user, principal_of
from jupyter_server.auth import User

from collabkernel.storage.append import is_storable_text
from collabkernel.wire.messages import Role


def test_principal_is_the_user() -> None:
    who = principal_of(User("ann", display_name="Ann B.", color="#12abCD"), Role.WRITER)

    assert (who.actor, who.name, who.color, who.role) == ("ann", "Ann B.", "#12abCD", Role.WRITER)


@pytest.mark.parametrize("color", [None, "", "var(--jp-collaborator-color1)", "#12345", "#1234567", "red"])
def test_colour_that_is_none_is_left_out(color: str | None) -> None:
    assert principal_of(User("ann", color=color), Role.READER).color == ""


def test_names_are_bounded() -> None:
    who = principal_of(User("a" * 5000), Role.READER)

    assert len(who.actor) == len(who.name) == 128


def test_bounding_does_not_make_two_people_one() -> None:
    ann, bob = [principal_of(User("a" * 500 + end), Role.READER) for end in ("nn", "bob")]

    assert ann.actor != bob.actor


@pytest.mark.parametrize("username", ["a\0b", "a\ud800b", "\udcff"])
def test_a_user_name_that_no_database_takes_is_spelled_out(username: str) -> None:
    """With it, each of his edits ended the room for everybody."""
    who = principal_of(User(username), Role.WRITER)

    assert is_storable_text(who.actor)
    assert who.actor != principal_of(User(username + "b"), Role.WRITER).actor
    who.actor.encode()
    who.name.encode()


def test_a_name_is_one_line_in_one_direction() -> None:
    shown = principal_of(User("eve", display_name="Ann\n\x1b[31m\u202eadmin\u2028\ud800"), Role.READER).name

    assert shown == "Ann\ufffd\ufffd[31m\ufffdadmin\ufffd\ufffd"
    assert principal_of(User("ann", display_name="A\u0308nne 👩\u200d🚀"), Role.READER).name == "A\u0308nne 👩\u200d🚀"


def test_kernels_act_as_the_hub_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_USER", "hub-ann")
    assert default_kernel_user() == "hub-ann"


def test_kernels_act_as_who_runs_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    monkeypatch.setenv("LOGNAME", "ann")
    assert default_kernel_user() == "ann"
