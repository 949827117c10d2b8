"""Comments on a document: threads on a block or a stretch of text, which follow it through whatever is done to it.

They are live values of the room, so no operation is theirs: the map ``$comments`` of the root has a map for each
thread, by its name::

    document   name of the document
    block      name of the block that it is on, where it is on no text
    anchors    text that it is on, as JSON: [[rope, first, last], ...], each [client or site, clock or counter]
    quote      that text, as it was then
    comments   list of texts
    resolved   true once it is

Who wrote a comment is no part of that: it is whose session wrote the text that stands there, as the log has it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from collabkernel.client.block import Block, parse_block_name
from collabkernel.client.edit import list_before
from collabkernel.client.live import Context
from collabkernel.client.live_list import LiveList
from collabkernel.client.live_map import LiveMap
from collabkernel.client.live_object import LiveObject
from collabkernel.client.observers import Change
from collabkernel.crdt.clock import ms_from_hlc
from collabkernel.crdt.ids import ROOT, OpId, Stamp
from collabkernel.document.block_anchors import TextAnchor, anchors_of, find
from collabkernel.document.live_tree import ListNode
from collabkernel.document.operations import ContainerKind, ContainerRef
from collabkernel.errors import DetachedError, InvalidValueError

COMMENTS = "$comments"
"""The key of the root."""
QUOTE_CHARS = 500
"""Of the text that a thread was put on."""
ThreadCallback = Callable[["Thread"], object]


class Comment:
    """One text of a thread."""

    def __init__(self, context: Context, list_id: OpId, element: OpId) -> None:
        self._context = context
        self._list_id = list_id
        self._element = element

    @property
    def text(self) -> str:
        """What it says."""
        with self._context.lock:
            text = self._list()[self._index()]
        return text if isinstance(text, str) else ""

    @text.setter
    def text(self, value: str) -> None:
        with self._context.lock:
            self._list()[self._index()] = _checked(value)

    @property
    def author(self) -> str | None:
        """The user whose session wrote this text; None until ``comments.load_authors()`` has asked who that is."""
        return self._context.actors.of(self._stamp().site)

    @property
    def time_ms(self) -> int:
        """When this text was written, by its author's clock, milliseconds since the Unix epoch."""
        return ms_from_hlc(self._stamp().hlc)

    def delete(self) -> None:
        """Take it away."""
        with self._context.lock:
            del self._list()[self._index()]

    def __repr__(self) -> str:
        return f"<Comment by {self.author or 'somebody'}: {self.text!r}>"

    def _list(self) -> LiveList[Any]:
        found = self._context.facade(ContainerRef(self._list_id, ContainerKind.LIST))
        assert isinstance(found, LiveList), "its kind says so"
        return found

    def _node(self) -> ListNode:
        node = self._context.replica.tree.nodes.get(self._list_id)
        if not isinstance(node, ListNode) or self._element not in node.items:
            raise DetachedError("this comment is no longer in its room")
        return node

    def _index(self) -> int:
        with self._context.lock:
            index = self._node().items.index_of(self._element)
        if index is None:
            raise DetachedError("this comment was deleted")
        return index

    def _stamp(self) -> Stamp:
        with self._context.lock:
            self._index()
            stamp = list_before(self._node(), self._element).stamp
        assert stamp is not None, "it is in the list"
        return stamp


class Thread:
    """A question and what was answered to it, on a block or a stretch of text."""

    def __init__(self, context: Context, name: str) -> None:
        self._context = context
        self.id = name
        """Its name in the room, for ever."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Thread) and other.id == self.id and other._context is self._context

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        if not self.is_there:
            return f"<Thread {self.id}, deleted>"
        return f"<Thread {self.id} on {self.quote!r}: {[comment.text for comment in self]}>"

    @property
    def is_there(self) -> bool:
        """Whether nobody has deleted it."""
        threads = _threads(self._context)
        return threads is not None and isinstance(threads.get(self.id), LiveMap)

    # -- what it is on

    @property
    def quote(self) -> str:
        """The text that it was put on, as it was then."""
        quote = self._map().get("quote")
        return quote if isinstance(quote, str) else ""

    @property
    def ranges(self) -> list[tuple[Block, int, int]]:
        """The text that it is on now: block, start and stop; several where that was split, none if all is deleted."""
        with self._context.lock:
            anchors = _anchors(self._map().get("anchors"))
            blocks = self._context.replica.state.blocks
            found = find(blocks, anchors) if blocks is not None else []
        return [(Block(self._context, each.block), each.start, each.end) for each in found]

    @property
    def block(self) -> Block | None:
        """The block that it is on, or in which its text begins; None where that is deleted."""
        with self._context.lock:
            named = self._map().get("block")
            if named is None:
                ranges = self.ranges
                return ranges[0][0] if ranges else None
            blocks, id = self._context.replica.state.blocks, _block_id(named)
            if blocks is None or id is None or id not in blocks.tree or not blocks.tree.is_alive(id):
                return None
            return Block(self._context, blocks.tree.host_of(id))

    @property
    def text(self) -> str:
        """The text that it is on, as it reads now."""
        return "".join([block.text[start:stop] for block, start, stop in self.ranges])

    @property
    def is_orphaned(self) -> bool:
        """What it was on is deleted. It keeps the quote, and finds its place again if that comes back."""
        return self.block is None

    # -- what it says

    def __iter__(self) -> Iterator[Comment]:
        """Its comments, in their order."""
        with self._context.lock:
            made = self._map().get("comments")
            if not isinstance(made, LiveList):
                return iter(())
            node = self._context.replica.tree.nodes[made._id]
            assert isinstance(node, ListNode), "its kind says so"
            elements = [element for element, _ in node.items.items()]
            return iter([Comment(self._context, node.id, element) for element in elements])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, index: int) -> Comment:
        return list(self)[index]

    def reply(self, text: str) -> Comment:
        """Answer; two who do so at once both do."""
        with self._context.lock:
            self._map().list("comments").append(_checked(text))
            return self[-1]

    @property
    def resolved(self) -> bool:
        """Whether it is settled."""
        return self._map().get("resolved") is True

    def resolve(self) -> None:
        """Say that it is settled."""
        self._map()["resolved"] = True

    def reopen(self) -> None:
        """Say that it is not settled after all."""
        with self._context.lock:
            if self.resolved:
                del self._map()["resolved"]

    def delete(self) -> None:
        """Take it away with all that it says."""
        with self._context.lock:
            self._map()
            threads = _threads(self._context)
            assert threads is not None, "it is in there"
            del threads[self.id]

    def _map(self) -> LiveMap[Any]:
        threads = _threads(self._context)
        found = None if threads is None else threads.get(self.id)
        if not isinstance(found, LiveMap):
            raise DetachedError(f"the thread {self.id} was deleted from its room")
        return found


class Comments:
    """The threads on one document."""

    def __init__(self, context: Context, document: str) -> None:
        self._context = context
        self._document = document

    def __iter__(self) -> Iterator[Thread]:
        """All of them, also resolved and orphaned ones, as they were begun."""
        with self._context.lock:
            threads = _threads(self._context)
            names = [] if threads is None else [name for name in threads if self._is_ours(threads[name])]
        return iter([Thread(self._context, name) for name in sorted(names, key=_begun)])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, name: str) -> Thread:
        """The thread of this name.

        Raises:
            KeyError: There is none on this document.
        """
        found = Thread(self._context, name)
        if found not in list(self):
            raise KeyError(f"{name}: this document has no such thread")
        return found

    def on(self, block: Block) -> list[Thread]:
        """The threads on a block, or on text that it shows."""
        return [thread for thread in self if thread.block == block or block in [place[0] for place in thread.ranges]]

    def add(self, text: str, on: Block, start: int | None = None, stop: int | None = None) -> Thread:
        """Begin a thread on a block, or on its characters from ``start`` to before ``stop``.

        Raises:
            InvalidValueError: There is no text between the two.
            DetachedError: The block is no longer in its document.
        """
        context = self._context
        with context.lock, context.editing(is_batch=True) as edit:
            on._attached()
            made: dict[str, Any] = {"document": self._document, "comments": [_checked(text)]}
            if start is None and stop is None:
                made |= {"block": on.id, "quote": on.text[:QUOTE_CHARS]}
            else:
                first, last = on._range(start or 0, len(on.text) if stop is None else stop)
                if first == last:
                    raise InvalidValueError("a comment is on at least one character, or on a block")
                found = anchors_of(edit.blocks, on._id, first, last)
                made |= {"anchors": json.dumps(found), "quote": on.text[first:last][:QUOTE_CHARS]}
            threads = _root(context).map(COMMENTS)
            name = f"c{edit.next_id.counter}.{edit.next_id.site}"
            threads[name] = made
        return Thread(context, name)

    def observe(self, callback: ThreadCallback) -> Callable[[list[Change]], object]:
        """Call ``callback(thread)`` when a thread is begun, answered, edited, resolved or deleted, by anybody.

        Returns:
            What ``unobserve`` takes.
        """

        def watch(changes: list[Change]) -> None:
            for name in dict.fromkeys(_thread_named(change) for change in changes):
                if name is not None and self._is_told(thread := Thread(self._context, name)):
                    callback(thread)

        with self._context.lock:
            self._context.observers.add_batch(watch)
        return watch

    def unobserve(self, watch: Callable[[list[Change]], object]) -> None:
        """Stop calling; with what ``observe`` returned."""
        with self._context.lock:
            self._context.observers.remove_batch(watch)

    def load_authors(self) -> Any:
        """Ask the server who wrote what was written before this session came; ``await`` it in an ``aio`` room."""
        context = self._context
        with context.lock:
            sites = [comment._stamp().site for thread in self for comment in thread]
            missing = context.actors.missing(sites)
        return context.ask_authors([], missing, lambda found: context.actors.learn(found.actor_by_site))

    def __repr__(self) -> str:
        threads = list(self)
        return f"<Comments on {self._document!r}: {len(threads)} threads, {sum(t.resolved for t in threads)} resolved>"

    def _is_ours(self, thread: object) -> bool:
        return isinstance(thread, LiveMap) and thread.get("document") == self._document

    def _is_told(self, thread: Thread) -> bool:
        """Of a deleted one nobody can say which document it was on."""
        with self._context.lock:
            return not thread.is_there or self._is_ours(thread._map())


def _root(context: Context) -> LiveObject:
    root = context.facade(ContainerRef(ROOT, ContainerKind.OBJECT))
    assert isinstance(root, LiveObject), "its kind says so"
    return root


def _threads(context: Context) -> LiveMap[Any] | None:
    with context.lock:
        found = _root(context).get(COMMENTS)
    return found if isinstance(found, LiveMap) else None


def _thread_named(change: Change) -> str | None:
    path = change.path
    if not path or path[0] != COMMENTS:
        return None
    name = path[1] if len(path) > 1 else change.name
    return name if isinstance(name, str) else None


def _begun(name: str) -> tuple[int, str]:
    """Threads are named by the counter of the edit that began them; names that are none come last."""
    counter = name[1:].partition(".")[0]
    return (int(counter), name) if counter.isascii() and counter.isdigit() and len(counter) < 20 else (2**64, name)


def _anchors(text: object) -> list[TextAnchor]:
    """The anchors in a thread; none where somebody wrote something else there."""
    if not isinstance(text, str):
        return []
    try:
        return [TextAnchor(OpId(*_pair(rope)), _pair(first), _pair(last)) for rope, first, last in json.loads(text)]
    except (ValueError, TypeError, RecursionError):
        return []


def _pair(value: object) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2 or not all(type(each) is int for each in value):
        raise ValueError("no pair of numbers")
    return value[0], value[1]


def _block_id(name: object) -> OpId | None:
    try:
        counter, site = parse_block_name(name if isinstance(name, str) else "")
    except InvalidValueError:
        return None
    return None if site is None else OpId(site, counter)


def _checked(text: object) -> str:
    if not isinstance(text, str) or not text.strip():
        raise InvalidValueError("a comment says something, as a str")
    return text
