"""What containers are counted as against what they take: a room's limit is one on memory, or it is none."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

FACTOR_MAX = 2.2
"""Allocators, and versions of Python and yrs, differ; before it was 12 for a list and over 50 for a text."""

PROGRAM = """
import gc, json, os
from collabkernel.crdt.ids import ROOT, OpId, Side, Stamp
from collabkernel.crdt.text import TextRope
from collabkernel.document.live_tree import LiveTree
from collabkernel.document.operations import ContainerKind, ListInsert, MapSet, NewContainer, TextEdit

COUNT = 3000
TYPED = TextRope(7).insert(0, "hello")

def resident_bytes():
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def fill(kind, is_filled, count):
    tree = LiveTree()
    tree.tells_changes = False
    for n in range(count):
        made, stamp = OpId(7, 1 + 2 * n), Stamp(1 << 40 | n, 7)
        tree.apply(made, stamp, MapSet(ROOT, f"key {n}", NewContainer(kind)))
        content = {
            ContainerKind.MAP: MapSet(made, f"key of {n}", 1000 + n),
            ContainerKind.LIST: ListInsert(made, None, Side.RIGHT, 1000 + n),
            ContainerKind.TEXT: TextEdit(made, bytes(bytearray(TYPED))),
        }[kind]
        if is_filled:
            tree.apply(OpId(7, 2 + 2 * n), stamp, content)
    return tree

kept, found = [], {}
for kind in (ContainerKind.MAP, ContainerKind.LIST, ContainerKind.TEXT):
    for is_filled in (False, True):
        fill(kind, is_filled, 10)
        before = resident_bytes()
        kept.append(fill(kind, is_filled, COUNT))
        name = ("filled " if is_filled else "empty ") + kind.name.lower()
        found[name] = [kept[-1].size_bytes // COUNT, (resident_bytes() - before) // COUNT]
print(json.dumps(found))
"""


@pytest.mark.heavy
def test_containers_are_counted_by_what_they_take() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    found: dict[str, list[int]] = json.loads(run.stdout)

    wrong = {
        name: f"counted {counted}, took {taken} bytes"
        for name, (counted, taken) in found.items()
        if not taken / FACTOR_MAX <= counted <= taken * FACTOR_MAX
    }
    assert not wrong
