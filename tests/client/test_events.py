"""Changes of one key in one envelope become one."""

from __future__ import annotations

import pytest

from collabkernel.client.events import merged
from collabkernel.crdt.ids import ROOT, OpId
from collabkernel.document.live_tree import ABSENT, Change
from collabkernel.document.operations import ContainerKind, ContainerRef

pytestmark = pytest.mark.core


def test_the_first_old_and_the_last_new_count():
    changes = [
        Change(ROOT, "set", "a", 1, 2),
        Change(ROOT, "set", "b", ABSENT, 1),
        Change(ROOT, "delete", "a", 2),
        Change(ROOT, "set", "a", ABSENT, 3),
    ]

    assert merged(changes) == [Change(ROOT, "set", "a", 1, 3), Change(ROOT, "set", "b", ABSENT, 1)]


def test_what_came_and_went_is_nothing():
    assert merged([Change(ROOT, "set", "a", ABSENT, 1), Change(ROOT, "delete", "a", 1)]) == []


def test_the_same_shared_container_written_twice_is_nothing():
    ref = ContainerRef(OpId(0, 5), ContainerKind.LIST)

    assert merged([Change(ROOT, "set", "a", ref, ref)]) == []


def test_list_changes_are_kept_one_by_one():
    changes = [Change(ROOT, "insert", 0, ABSENT, 1), Change(ROOT, "remove", 0, 1)]

    assert merged(changes) == changes
