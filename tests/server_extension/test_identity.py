"""Users become principals."""

from __future__ import annotations

import pytest
from collabkernel_server.identity import default_kernel_user, principal_of
from jupyter_server.auth import User

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


def test_kernels_act_as_the_hub_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_USER", "hub-ann")
    assert default_kernel_user() == "hub-ann"


def test_kernels_act_as_who_runs_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    monkeypatch.setenv("LOGNAME", "ann")
    assert default_kernel_user() == "ann"
