"""What the texts of blocks cost: memory, encoding, edits; a rope for each block beside one Yjs document for all.

What is measured, so that the figures are read aright:

- A document has 2,000 blocks with 60 characters each, typed by one author, a block an update.
- *memory*: growth of the resident memory of a fresh process, a block. *no text*: blocks that nobody typed in. *loaded*:
  from a snapshot, and not edited since. The peers hold the same texts in one Y.Doc a block, and in one Y.Doc whose root
  map has them all.
- *encode*: the states of all ropes after an edit in each; for one Y.Doc its update after one edit, since any edit makes
  all of it be encoded anew.
- *keystroke*: one character, validated and applied, as a server does it; *told*, as a client that shows it.
  *20 markers*: in a rope that was split so often.
- *read*: the text of every block of a document, in order. Time is the thread's time on the processor.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pycrdt import Doc, Map, Text

from collabkernel.crdt.ids import ROOT, OpId, Slot, Stamp
from collabkernel.crdt.order_key import key_between
from collabkernel.crdt.text import TextRope
from collabkernel.crdt.yjs.markers import marker
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.operations import BlockInsert, NewDocument, Op, TextEdit, TreeOp, document_id
from tests.benchmarks.report import Row, row

BLOCKS = 2_000
TEXT = "The quick brown fox jumps over the lazy dog, as it must do. "
MARKERS = 20
SITE = 7
BODY = document_id("body")
PEER = f"pycrdt {version('pycrdt')}"


def rows(is_quick: bool, blocks: int = BLOCKS) -> list[Row]:
    """Every cost; quick means fewer runs, not smaller sizes."""
    runs = 3 if is_quick else 7
    memory, encode = memory_rows(1 if is_quick else 3, blocks), encode_rows(runs, blocks)
    return [*memory, *encode, *edit_rows(runs), *_read(runs, blocks)]


# -- memory


def memory_rows(runs: int, blocks: int) -> list[Row]:
    """Memory a block, each case in a process of its own."""
    cases: list[tuple[str, Callable[[int], Any], str]] = [
        ("no text", _untyped, "collabkernel"),
        ("typed", make_document, "collabkernel"),
        ("loaded", _loaded, "collabkernel"),
        ("a Y.Doc a block", _docs, PEER),
        ("one Y.Doc", _one_doc, PEER),
    ]
    return [
        row(f"text/memory/{name}/{blocks}", [_grown_kb(make, blocks) for _ in range(runs)], "kB/block", system)
        for name, make, system in cases
    ]


def _grown_kb(make: Callable[[int], Any], blocks: int) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured_kb, (make, blocks))


def _measured_kb(make: Callable[[int], Any], blocks: int) -> float:
    make(10)
    before = _resident_bytes()
    kept = make(blocks)
    grown = _resident_bytes() - before
    del kept
    return grown / blocks / 1000


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def make_document(blocks: int, text: str = TEXT, texts_warm: int | None = None) -> BlockDocument:
    """A document as a server has it, folded from its operations; with so many texts ready to be edited, or all."""
    document = BlockDocument()
    document.tells_changes = False
    _take(document, OpId(SITE, 1), NewDocument(ROOT, "body"))
    key = None
    for i in range(blocks):
        key = key_between(key, None, SITE)
        block = OpId(SITE, 2 * i + 2)
        _take(document, block, BlockInsert(BODY, Slot.CHILD, key, "paragraph"))
        if text:
            _take(document, OpId(SITE, 2 * i + 3), TextEdit(block, TextRope(SITE).insert(0, text)))
            if texts_warm is not None and i % texts_warm == 0:
                document.cool(texts_warm)
    return document


def _take(document: BlockDocument, op_id: OpId, op: Op) -> None:
    document.admit(op_id, Stamp(op_id.counter, SITE), op)
    if isinstance(op, TreeOp):
        document.judge(op_id, op, op_id.counter, 0)


def _untyped(blocks: int) -> BlockDocument:
    return make_document(blocks, "")


def _loaded(blocks: int) -> BlockDocument:
    document = make_document(blocks, "")
    state = TextRope(SITE).insert(0, TEXT)
    for block in list(document.blocks):
        if block != BODY:
            document.enter_rope(block, state)
    return document


def _docs(blocks: int) -> list[Doc[Text]]:
    update = TextRope(SITE).insert(0, TEXT)
    docs = [Doc[Text](client_id=SITE) for _ in range(blocks)]
    for doc in docs:
        doc.get("text", type=Text)
        doc.apply_update(update)
    return docs


def _one_doc(blocks: int) -> Doc[Map[Text]]:
    doc = Doc[Map[Text]](client_id=SITE)
    texts: Map[Text] = doc.get("texts", type=Map)
    for i in range(blocks):
        texts[str(i)] = Text(TEXT)
    return doc


# -- time


def encode_rows(runs: int, blocks: int) -> list[Row]:
    """All ropes after an edit in each, and one document after one edit."""
    document, doc = make_document(blocks), _one_doc(blocks)
    ours, peer = [], []
    for i in range(runs):
        for rope in document.ropes.values():
            rope.rope.apply(_typed_by(i + 100), i + 100)
        ours.append(_ms(lambda: [rope.rope.encode_state() for rope in document.ropes.values()]))
        doc.get("texts", type=Map)["0"] = Text("x")
        peer.append(_ms(doc.get_update))
    return [
        row(f"text/encode/{blocks}", ours, "ms"),
        row(f"text/encode/{blocks}", peer, "ms", PEER),
    ]


def _typed_by(site: int) -> bytes:
    return TextRope(site).insert(0, "x")


def edit_rows(runs: int, keystrokes: int = 500) -> list[Row]:
    """Keystrokes at the end of a block's text."""
    found: list[Row] = []
    for markers in (0, MARKERS):
        for is_told in (False, True):
            name = f"text/keystroke{'/told' * is_told}{f'/{markers} markers' * (markers > 0)}"
            found.append(row(name, [_keystroke_us(keystrokes, markers, is_told) for _ in range(runs)], "us"))
    return found


def _keystroke_us(keystrokes: int, markers: int, is_told: bool) -> float:
    document = make_document(1)
    (block,) = document.tree.children(BODY)
    author = TextRope.from_state(document.rope(block).encode_state(), SITE)
    counter, key = 10, document.tree.key_at(BODY, Slot.CHILD, 1, SITE)
    for i in range(markers):
        name = OpId(SITE, counter + 1)
        _take(document, OpId(SITE, counter), TextEdit(block, author.embed(3 * i + 2, marker("block", name))))
        _take(document, name, BlockInsert(BODY, Slot.CHILD, key, "paragraph", block))
        counter, key = counter + 2, key_between(key, None, SITE)
    updates = [author.insert(len(author), "x") for _ in range(keystrokes)]
    document.tells_changes = is_told
    return 1000 * _ms(lambda: _take_all(document, block, updates)) / keystrokes


def _take_all(document: BlockDocument, block: OpId, updates: list[bytes]) -> None:
    for update in updates:
        _take(document, OpId(SITE, 10**6), TextEdit(block, update))


def _read(runs: int, blocks: int) -> list[Row]:
    document = make_document(blocks)
    return [row(f"text/read/{blocks}", [_ms(lambda: list(document.outline(BODY))) for _ in range(runs)], "ms")]


def _ms(do: Callable[[], object]) -> float:
    start_ns = time.thread_time_ns()
    do()
    return (time.thread_time_ns() - start_ns) / 1e6
