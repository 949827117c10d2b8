"""Every limit is a trait, with the help that limits.py gives."""

from __future__ import annotations

import dataclasses

import pytest
from collabkernel_server.app import CollabKernelServer
from collabkernel_server.settings import field_docs, limits_of
from traitlets import TraitError

from collabkernel.limits import Limits


def test_every_limit_is_a_configurable_trait_with_help() -> None:
    traits = CollabKernelServer.class_traits(config=True)

    for field in dataclasses.fields(Limits):
        assert traits[field.name].default_value == field.default
        assert traits[field.name].help, field.name


def test_docs_are_those_of_the_fields() -> None:
    docs = field_docs()

    assert docs["key_bytes"] == "A map key, UTF-8: names, not contents."
    assert docs["flush_tick_min_ms"] == docs["flush_tick_max_ms"]


def test_defaults_are_the_limits_own() -> None:
    assert limits_of(CollabKernelServer()) == Limits()


def test_a_set_trait_reaches_the_limits() -> None:
    assert limits_of(CollabKernelServer(key_bytes=7)) == dataclasses.replace(Limits(), key_bytes=7)


def test_negative_limit_is_refused() -> None:
    with pytest.raises(TraitError, match="key_bytes"):
        CollabKernelServer(key_bytes=-1)


def test_help_names_them_all() -> None:
    text = CollabKernelServer.class_get_help()

    assert "--CollabKernelServer.sessions_per_room=" in text
    assert "--CollabKernelServer.db_url=" in text
