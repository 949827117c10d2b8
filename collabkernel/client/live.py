"""What every live value has in common: who it is, where it is, who watches it.

A live value is a *facade*: it holds the id of a container and looks it up in the room's replica at each use, so it
stays right when the replica takes a snapshot. One container has one facade a room. A facade that the user made himself,
like ``LiveText("hello")`` or a ``LiveObject`` record, is a *draft* until it is put into a room.

A value that was deleted from its room is *detached*: it can still be read, and shows what it held last; changing it
raises ``DetachedError``. It is attached again when an undo brings it back under the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Protocol, TypeVar

from collabkernel.client.actors import Actors, Authors
from collabkernel.client.edit import Edit
from collabkernel.client.observers import Callback, Observers
from collabkernel.client.replica import Replica
from collabkernel.client.sketch import Draft, Sketch, Sketched, sketch, sketch_of_tree
from collabkernel.crdt.ids import ROOT, OpId
from collabkernel.crdt.lww import TOMBSTONE
from collabkernel.document.live_tree import LiveTree, MapNode, Node
from collabkernel.document.operations import ContainerKind, ContainerRef, MapSet, NewContainer, StoredValue
from collabkernel.errors import DetachedError, InvalidValueError

L = TypeVar("L", bound="Live")


class Context(Protocol):
    """What a live value needs of its room."""

    replica: Replica
    observers: Observers
    actors: Actors

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Held while the tree is read or changed."""

    def editing(self, is_batch: bool = False, is_undoable: bool = True) -> AbstractContextManager[Edit]:
        """An edit, which joins the open batch of this thread if there is one."""

    def facade(self, ref: ContainerRef, as_type: object = None) -> Live:
        """The facade of a container."""

    def bind(self, draft: Live, id: OpId) -> None:
        """A draft has become a container."""

    def ask_authors(self, ops: Sequence[OpId], sites: Sequence[int], then: Callable[[Authors], Any]) -> Any:
        """Ask the server who made operations and writes as sites; what ``then`` gives, to be awaited if rooms are."""

    def look_at(self, blocks: Iterable[OpId] | None) -> None:
        """Look at these blocks of the room's documents alone from now on, or at everything."""

    def wait_in_sight(self, timeout_s: float) -> Any:
        """Wait until they are here; to be awaited if rooms are."""

    def view(self, live: Live) -> Any:
        """The widget that shows a live value; None when no package brings one."""


class Live(Draft):
    """A live value: a map, a list, a record, or a text."""

    kind: ClassVar[ContainerKind]
    __hash__: ClassVar[None]  # type: ignore[assignment]  # equal by contents, which change

    def __init__(self) -> None:
        self._context: Context | None = None
        self._id = ROOT

    # -- identity

    @property
    def id(self) -> str:
        """The container's name in the room, as ``site.counter``; stable for ever."""
        self._room()
        return f"{self._id.site}.{self._id.counter}"

    @property
    def room(self) -> Any:
        """The room that holds it; None for a draft."""
        return self._context

    @property
    def path(self) -> tuple[str | int, ...] | None:
        """Keys and indexes from the room's root to here; None while it is detached."""
        context = self._room()
        with context.lock:
            return context.replica.tree.path(self._id)

    @property
    def is_attached(self) -> bool:
        """Whether it is part of its room."""
        return self._context is not None and self.path is not None

    # -- contents

    def to_json(self) -> Any:
        """A plain copy: dicts, lists, strings and scalars (bytes stay bytes)."""
        if self._context is None:
            return plain(sketch(self))
        with self._context.lock:
            tree = self._context.replica.tree
            self._node(tree)
            return tree.to_plain(self._ref)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Live):
            same = self._context is not None and self._context is other._context and self._id == other._id
            return same or (type(self).kind == type(other).kind and bool(self.to_json() == other.to_json()))
        return bool(self.to_json() == other)

    def __copy__(self) -> Any:
        return self.to_json()

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self.to_json()

    def __repr__(self) -> str:
        name = type(self).__name__
        try:
            return f"{name}({self.to_json()!r})"
        except DetachedError:
            return f"<{name}, no longer in its room>"

    # -- watching

    def observe(self, callback: Callback, names: str | int | tuple[str | int, ...] | None = None) -> None:
        """Call ``callback(change)`` after each change of this value, remote ones too.

        Args:
            callback: Gets a ``Change``: ``name``, ``old``, ``new``, ``owner``, ``type`` as in traitlets, and ``actor``,
                ``path``, ``remote``. Runs on the thread that made the change; for remote changes that is the room's
                own thread (with ``connect``) or the event loop (with ``aio.connect``).
            names: Only changes of these keys or indexes; None for all.
        """
        context = self._room()
        with context.lock:
            context.observers.add(self._id, callback, names, self)

    def unobserve(self, callback: Callback, names: str | int | tuple[str | int, ...] | None = None) -> None:
        """Stop calling ``callback``; ``names`` as given to ``observe``."""
        context = self._room()
        with context.lock:
            context.observers.remove(self._id, callback, names)

    def view(self) -> Any:
        """A widget that shows this value and follows it; needs ``pip install collabkernel[widgets]``."""
        found = self._room().view(self)
        if found is None:
            raise InvalidValueError("no widgets are installed here: pip install 'collabkernel[widgets]'")
        return found

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        widget = self._context.view(self) if self._context is not None else None
        if widget is not None and hasattr(widget, "_repr_mimebundle_"):
            return widget._repr_mimebundle_(include=include, exclude=exclude)
        return {"text/plain": repr(self)}

    # -- inside

    @property
    def _ref(self) -> ContainerRef:
        return ContainerRef(self._id, type(self).kind)

    def _room(self) -> Context:
        if self._context is None:
            raise DetachedError(f"this {type(self).__name__} is in no room yet: assign it to a key or append it first")
        return self._context

    def _node(self, tree: LiveTree) -> Node:
        node = tree.nodes.get(self._id)
        if node is None:
            raise DetachedError(f"this {type(self).__name__} is no longer in its room: its edit was refused or undone")
        return node

    def _attached(self, tree: LiveTree) -> None:
        self._node(tree)
        if tree.path(self._id) is None:
            raise DetachedError(f"this {type(self).__name__} was deleted from its room; put a copy back to go on")

    def _present(self, value: object, as_type: object = None) -> Any:
        """A stored value as the user sees it."""
        if isinstance(value, ContainerRef):
            return self._room().facade(value, as_type)
        return value

    def _sketch(self, depth: int) -> Sketch:
        if self._context is None:
            return self._draft_sketch(depth)
        with self._context.lock:
            tree = self._context.replica.tree
            self._node(tree)
            copied = sketch_of_tree(tree, self._ref)
        assert isinstance(copied, Sketch)
        return copied

    def _draft_sketch(self, depth: int) -> Sketch:
        raise NotImplementedError

    def _is_shown_as(self, value: object) -> bool:
        """Whether a stored value is this very container: assigning it to where it is changes nothing."""
        return isinstance(value, ContainerRef) and self._context is not None and value.id == self._id


def plain(value: Sketched) -> Any:
    """A sketch as plain Python."""
    if not isinstance(value, Sketch):
        return value
    if value.kind is ContainerKind.TEXT:
        return "".join(part["insert"] for part in value.delta)
    if value.kind is ContainerKind.LIST:
        return [plain(item) for _, item, _ in value.items]
    return {key: plain(item) for key, item, _ in value.items}


def on_made(context: Context) -> Callable[[Sketch, OpId], None]:
    """Binds the user's drafts to the containers that they become."""

    def bind(made: Sketch, id: OpId) -> None:
        if isinstance(made.origin, Live):
            context.bind(made.origin, id)

    return bind


def get_or_create(parent: Live, key: str, kind: ContainerKind, as_type: object) -> Live:
    """The container at a key, made there if there is nothing; two clients who make it at once make one.

    Raises:
        InvalidValueError: Something else is there.
        ReadOnlyError: Nothing is there, and this session may only read.
    """
    context = parent._room()
    with context.lock:
        tree = context.replica.tree
        node = parent._node(tree)
        assert isinstance(node, MapNode), "only maps and records have keys"
        value = node.entries.get(key, TOMBSTONE)
        if value is TOMBSTONE:
            parent._attached(tree)
            register = node.entries.register(key)
            new = NewContainer(kind, shared=True, after=None if register is None else register[0])
            with context.editing() as edit:
                edit.perform(MapSet(node.id, key, new))
            value = node.entries.get(key)
        if not isinstance(value, ContainerRef) or value.kind is not kind:
            what = value.kind.name.lower() if isinstance(value, ContainerRef) else type(value).__name__
            raise InvalidValueError(f"{key!r} holds a {what} and no {kind.name.lower()}: choose another name")
        return context.facade(value, as_type)


def stored(value: object) -> StoredValue:
    """For mypy: what a tree gives is a stored value."""
    return value  # type: ignore[return-value]  # the tree's containers are generic
