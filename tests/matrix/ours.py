"""Our clients and our room: real replicas that are offline while they edit, and come back one after the other."""

from __future__ import annotations

import asyncio

from collabkernel.client.block import Block
from collabkernel.client.doc import Doc
from collabkernel.limits import Limits
from tests.matrix.scenarios import Edit, Outline, Scenario
from tests.simulation.clockwork import Clockwork
from tests.simulation.ledger import Ledger
from tests.simulation.peers import Writer
from tests.simulation.room_server import RoomServer

NAME = "collabkernel"


def outcome(scenario: Scenario, is_last_first: bool) -> Outline:
    """What all see in the end; the last of them comes back first, or the first does."""
    with asyncio.Runner() as loop:
        clockwork, ledger = Clockwork("matrix"), Ledger()
        server = RoomServer(clockwork, loop, Limits())
        writers = [Writer(f"writer {i}", clockwork, server, ledger) for i in range(len(scenario.edits))]
        for writer in writers:
            writer.connect()
        _settle(clockwork)
        docs = [writer.room.doc("body") for writer in writers]
        _write(docs[0], scenario.outline)
        _settle(clockwork)
        order = sorted(range(len(writers)), reverse=is_last_first)
        for i, writer in enumerate(writers):
            writer.cut(away_ms=1000 * (1 + order.index(i)))
            _edit(docs[i], scenario.edits[i])
        _settle(clockwork)
        outlines = [_read(doc.children) for doc in docs]
    assert all(each == outlines[0] for each in outlines), outlines
    return outlines[0]


def _settle(clockwork: Clockwork) -> None:
    until_ms = clockwork.now_ms + 10_000
    while clockwork.now_ms < until_ms and clockwork.step():
        pass


def _write(doc: Doc, outline: Outline) -> None:
    for text, below in outline:
        (block,) = doc.append(text)
        for inner, _ in below:
            doc.append(inner)[0].move(into=block)


def _read(blocks: list[Block]) -> Outline:
    return [(block.text, _read(block.children)) for block in blocks]


def _edit(doc: Doc, edit: Edit) -> None:
    block = _find(doc, edit["block"])
    match edit["do"]:
        case "type":
            block.insert(edit["at"], edit["text"])
        case "split":
            block.split(edit["at"])
        case "merge":
            block.merge()
        case "delete":
            block.delete()
        case "move":
            block.move(**{where: _find(doc, edit[where]) for where in ("after", "into") if where in edit})


def _find(doc: Doc, letter: str) -> Block:
    return next(block for block in doc if block.text.startswith(letter))
