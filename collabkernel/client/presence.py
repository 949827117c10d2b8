"""Who is in the room: what this session shows of itself, and what the others show."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collabkernel.client.block import block_name, parse_block_name
from collabkernel.client.replica import Replica
from collabkernel.crdt.ids import OpId
from collabkernel.errors import InvalidValueError, TooLargeError
from collabkernel.wire.messages import Presence, PresenceEntry

if TYPE_CHECKING:
    from collabkernel.client.block import Block


def to_json(value: Any, what: str, limit_bytes: int) -> str:
    """A value as JSON text for presence and broadcasts.

    Raises:
        InvalidValueError: It is no JSON.
        TooLargeError: It is over the limit.
    """
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValueError(f"{what} must be JSON: {error}") from None
    if size > limit_bytes:
        raise TooLargeError(what, size, limit_bytes)
    return text


@dataclass(frozen=True, slots=True)
class Other:
    """Another session in the room."""

    site: int
    """Its name in this room; one user may have several sessions."""
    actor: str
    """The user name."""
    name: str
    """What to call the user."""
    color: str
    kind: str
    """``person``, ``script`` or ``agent``."""
    state: dict[str, Any]
    """What the session shows of itself."""
    block: str | None = None
    """The name of the block that it is in, as ``doc[name]`` takes it."""


Others = list[Other]


def other_of(entry: PresenceEntry) -> Other:
    """How a face shows a presence entry."""
    state = json.loads(entry.state_json) if entry.state_json else {}
    block = None if entry.block is None else block_name(entry.block)
    return Other(entry.site, entry.actor, entry.name, entry.color, entry.kind.name.lower(), state, block)


@dataclass(frozen=True, slots=True)
class Broadcast:
    """An event that another session has sent."""

    name: str
    payload: Any
    actor: str
    site: int


class Me(MutableMapping[str, Any]):
    """This session as the others see it: a dict of JSON values, sent when it changes and never stored.

    It is sent at most four times a second, the last state wins.
    """

    def __init__(self, replica: Replica, on_change: Callable[[Presence], None]) -> None:
        self._replica = replica
        self._on_change = on_change
        self._state: dict[str, Any] = {}
        self._block: OpId | None = None

    @property
    def block(self) -> str | None:
        """The name of the block of a document that this session is in; those who look there see its state, else all.

        Set it to a block (``room.me.block = doc["b7"]``), to its name with its site, or to None.

        Raises:
            InvalidValueError: It is no name of a block.
        """
        return None if self._block is None else block_name(self._block)

    @block.setter
    def block(self, block: Block | str | None) -> None:
        self._block = None if block is None else _block_id(block if isinstance(block, str) else block.id)
        self._become(self._state)

    @property
    def actor(self) -> str:
        """The user name that the server knows this session by."""
        return self._replica.actor

    @property
    def name(self) -> str:
        """What the others see as the user's name."""
        return self._replica.name

    @property
    def color(self) -> str:
        """``#rrggbb``, or empty."""
        return self._replica.color

    @property
    def site(self) -> int:
        """This session's name in the room."""
        return self._replica.site

    def __getitem__(self, key: str) -> Any:
        return self._state[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._become({**self._state, key: value})

    def __delitem__(self, key: str) -> None:
        self._become({name: value for name, value in self._state.items() if name != key} if key in self else _no(key))

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._state))

    def __len__(self) -> int:
        return len(self._state)

    def update(self, *others: Any, **values: Any) -> None:
        """Change several keys at once."""
        state = dict(self._state)
        state.update(*others, **values)
        self._become(state)

    def clear(self) -> None:
        """Show nothing any more."""
        self._become({})

    def __repr__(self) -> str:
        return f"Me({self._state!r})"

    def _become(self, state: dict[str, Any]) -> None:
        text = to_json(state, "presence", self._replica.limits.presence_bytes)
        self._state = json.loads(text)
        self._on_change(Presence(text, self._block))


def _block_id(name: str) -> OpId:
    counter, site = parse_block_name(name)
    if site is None:
        raise InvalidValueError(f"say {name}.SITE, as block.id does: others have to know which block it is")
    return OpId(site, counter)


def _no(key: str) -> dict[str, Any]:
    raise KeyError(key)
