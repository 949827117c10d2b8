"""A block document of a room: ``room.doc("body")``.

::

    doc = room.doc("body")
    doc.append("## Plan")
    first = doc.append("Write it.")[0]
    first.text += " Today."
    doc["b7"].move(after=first)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, overload

from collabkernel.client.blame import blame_of
from collabkernel.client.block import Block, block_name, parse_block_name, place_beside, root_of
from collabkernel.client.comments import Comments
from collabkernel.client.doc_diff import DocDiff
from collabkernel.client.live import Context
from collabkernel.client.lost_edit import LostEdit
from collabkernel.client.observers import Callback
from collabkernel.client.restore import restore
from collabkernel.client.sight import viewport_of
from collabkernel.crdt.ids import ROOT, OpId
from collabkernel.document.block_blame import typed_by
from collabkernel.document.block_document import BlockDocument, Line
from collabkernel.document.operations import NewDocument, document_id
from collabkernel.errors import DetachedError, InvalidValueError

SHOW_TIMEOUT_S = 10.0


class Doc:
    """A document: blocks in their order, each of which may hold others."""

    def __init__(self, context: Context, name: str) -> None:
        """Open a document, and make it if there is none: two who make it at once make one.

        Raises:
            ReadOnlyError: There is none, and this session may only read.
        """
        self._context = context
        self._root = document_id(name)
        self.name = name
        with context.lock:
            blocks = context.replica.state.blocks
            if blocks is None or self._root not in blocks:
                with context.editing() as edit:
                    edit.perform(NewDocument(ROOT, name))

    # -- reading

    def __iter__(self) -> Iterator[Block]:
        """All its blocks in document order, nested ones behind the block they are in."""
        with self._context.lock:
            ids = list(self._blocks.tree.in_order(self._root))
        return iter([Block(self._context, id) for id in ids])

    def __len__(self) -> int:
        with self._context.lock:
            return sum(1 for _ in self._blocks.tree.in_order(self._root))

    def __bool__(self) -> bool:
        return True

    @overload
    def __getitem__(self, key: str | int) -> Block: ...

    @overload
    def __getitem__(self, key: slice) -> list[Block]: ...

    def __getitem__(self, key: str | int | slice) -> Block | list[Block]:
        """The block of a name (``"b7"``, ``"b7.3735928559"``), or those at places in document order.

        Raises:
            KeyError: There is no such block, or several have that number.
            IndexError: There are fewer blocks.
        """
        if isinstance(key, slice):
            with self._context.lock:
                ids = list(self._blocks.tree.in_order(self._root))[key]
            return [Block(self._context, id) for id in ids]
        if isinstance(key, int):
            return self[key : key + 1 or None][0]
        counter, site = parse_block_name(key)
        found = [each for each in self if each._id.counter == counter and site in (None, each._id.site)]
        if len(found) != 1:
            names = ", ".join(each.id for each in found)
            raise KeyError(f"{key}: " + (f"say which of {names}" if found else "this document has no such block"))
        return found[0]

    def __contains__(self, block: object) -> bool:
        with self._context.lock:
            blocks = self._blocks
            if not isinstance(block, Block) or block._context is not self._context:
                return False
            return blocks.tree.is_alive(block._id) and root_of(blocks, block._id) == self._root

    @property
    def children(self) -> list[Block]:
        """The blocks at its top."""
        with self._context.lock:
            return [Block(self._context, id) for id in self._blocks.tree.shown_children(self._root)]

    @property
    def text(self) -> str:
        """The texts of its blocks, a line each; all of them have to be loaded."""
        return "\n".join(line.text for line in self._lines())

    def outline(self) -> str:
        """Its blocks with their names, nested by indentation: to see where one is. Those not loaded have no text."""
        with self._context.lock:
            blocks = self._blocks
            lines = [
                f"{'  ' * depth}{block_name(id)} {blocks.block(id).type}"
                + (f": {blocks.text(id)[:60]}" if blocks.is_loaded(id) else ", not loaded")
                for id, depth in blocks.tree.walk(self._root)
            ]
        return "\n".join(lines)

    def markdown(self) -> str:
        """The whole document as Markdown; all of it has to be loaded."""
        from collabkernel.client.specs import export_markdown, spec_of  # as in _insert

        with self._context.lock:
            return export_markdown(spec_of(self._blocks, self._root))[0]

    def __repr__(self) -> str:
        return f"<Doc {self.name!r}, {len(self)} blocks>"

    def _lines(self) -> list[Line]:
        with self._context.lock:
            return list(self._blocks.outline(self._root))

    # -- changing

    def append(self, markdown: str) -> list[Block]:
        """Add blocks at the end, read from Markdown, and return those at the top."""
        return self._insert(markdown, self._root, None, is_after=False)

    def insert(self, markdown: str, *, after: Block | None = None, before: Block | None = None) -> list[Block]:
        """Add blocks behind or before another, read from Markdown, and return those at the top.

        Raises:
            InvalidValueError: Not one of the two is given.
        """
        beside = after if after is not None else before
        if beside is None or (after is not None and before is not None):
            raise InvalidValueError("say one of after=, before=")
        return self._insert(markdown, self._root, beside, is_after=after is not None)

    def _insert(self, markdown: str, root: OpId, beside: Block | None, *, is_after: bool) -> list[Block]:
        # The Markdown parser is loaded when it is first used: rooms without documents are opened without it.
        from collabkernel.client.specs import import_markdown, insert_spec

        made: list[OpId] = []
        with self._context.lock, self._context.editing(is_batch=True) as edit:
            parent, index = root, len(edit.blocks.tree.children(root))
            if beside is not None:
                beside._attached()
                parent, index = place_beside(edit.blocks, beside._id, is_after=is_after, is_into=False)
            for spec in import_markdown(markdown).children:
                made.append(insert_spec(edit, parent, index + len(made), spec))
        return [Block(self._context, id) for id in made]

    @property
    def comments(self) -> Comments:
        """The threads on its blocks and on their texts."""
        return Comments(self._context, self.name)

    @property
    def crowds(self) -> dict[str, int]:
        """How many sessions are in a block, by its name, where they are more than ten: of some it is not told here."""
        with self._context.lock:
            crowds = self._context.replica.attendance.crowds
            return {block_name(id): count for id, count in crowds.items() if root_of(self._blocks, id) == self._root}

    # -- what of it is loaded

    def show(self, *blocks: Block | Iterable[Block], around: int = 0, timeout_s: float = SHOW_TIMEOUT_S) -> Any:
        """Load some blocks, and wait until they are here; ``await`` it in an ``aio`` room.

        From then on this room follows these, and some near them, in place of those that it followed before: reading or
        changing what is in others raises ``NotLoadedError``, sooner or later. Where blocks stand is known of all.

        Args:
            blocks: Blocks of this room, or lists of them: ``doc["b7"]``, ``doc[100:150]``.
            around: So many blocks before and behind each of them, too.
            timeout_s: How long to wait.

        Raises:
            InvalidValueError: They are more than a viewport holds (500).
            TimeoutError: They did not come in time; they may still.
        """
        self.scroll_to(*blocks, around=around)
        return self._context.wait_in_sight(timeout_s)

    def scroll_to(self, *blocks: Block | Iterable[Block], around: int = 0) -> None:
        """``show`` that does not wait: ``observe`` tells what is loaded. The server is told at most twice a second."""
        listed = [each for given in blocks for each in ([given] if isinstance(given, Block) else given)]
        with self._context.lock:
            named = viewport_of(self._blocks, self._root, [each.in_room(self._context) for each in listed], around)
            self._context.look_at(named)

    def show_all(self, timeout_s: float = SHOW_TIMEOUT_S) -> Any:
        """Load everything again, and wait for it; ``await`` it in an ``aio`` room.

        Raises:
            TimeoutError: It did not come in time; it may still.
        """
        self._context.look_at(None)
        return self._context.wait_in_sight(timeout_s)

    # -- its past

    def blame(self) -> Any:
        """Who made each block, when, and who typed what in it: a list of ``Blame``, in document order.

        The server is asked; ``await`` it in an ``aio`` room.
        """
        context = self._context
        with context.lock:
            blocks = [(block, block._id, typed_by(self._blocks, block._id)) for block in self]
            sites = context.actors.missing(site for _, id, typed in blocks for site in (id.site, *dict(typed)))
        ids = [id for _, id, _ in blocks]
        return context.ask_authors(ids, sites, lambda found: blame_of(blocks, found, context.actors))

    def diff(self, old: Context, new: Context | None = None) -> DocDiff:
        """What became of it between two states of its room, such as ``room.at(seq)``; without ``new``, until now."""
        return DocDiff(old, new or self._context, self._root)

    def restore(self, past: Context) -> None:
        """Make it what it was in a past state of its room, by new edits; nobody's are lost, and undo takes them back.

        All of it is one envelope, or several where one would be too large. Blocks that were deleted so long ago that
        they are gone come back under other names.
        """
        with self._context.lock, past.lock:
            restore(self._context, past.replica.state.blocks or BlockDocument(), self._root)

    # -- watching

    def observe(self, callback: Callback) -> None:
        """Call ``callback(change)`` after each change of a block of this document, remote ones too.

        ``change.owner`` is the block, ``change.type`` what happened to it: ``insert``, ``move``, ``remove`` (it came,
        stands elsewhere, went); ``text`` with its ``delta``; ``set`` or ``delete`` of the property ``change.name``;
        ``reset`` (the server's state has replaced it); ``load`` or ``unload`` (what is in it has come, or is not here
        any more).
        """
        with self._context.lock:
            self._context.observers.add(self._root, callback, None, self)

    def unobserve(self, callback: Callback) -> None:
        """Stop calling ``callback``."""
        with self._context.lock:
            self._context.observers.remove(self._root, callback, None)

    def on_lost_edit(self, callback: Callable[[LostEdit], object]) -> None:
        """Call ``callback(lost)`` when text or a property was written here in a block that somebody else has
        deleted, or deletes without having seen it, at most five seconds apart.

        The delete wins, and what was written is kept with the block: ``lost.restore()`` brings it back, ``lost.block``
        and ``lost.actor`` say what was deleted and by whom.
        """
        with self._context.lock:
            self._context.observers.add_lost(self._root, callback)

    def off_lost_edit(self, callback: Callable[[LostEdit], object]) -> None:
        """Stop calling ``callback``."""
        with self._context.lock:
            self._context.observers.remove_lost(self._root, callback)

    @property
    def _blocks(self) -> BlockDocument:
        blocks = self._context.replica.state.blocks
        if blocks is None or self._root not in blocks.tree:
            raise DetachedError(f"the document {self.name!r} is not here: its making was refused, or it is joined anew")
        return blocks
