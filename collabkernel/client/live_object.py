"""A live record: attributes with types, for what is always there, like settings or a task."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, get_type_hints

from collabkernel.client.live import Live, get_or_create
from collabkernel.client.live_map import Keyed
from collabkernel.client.sketch import NO_SOURCE, Sketch, check_key, sketch
from collabkernel.client.typing_rules import accept, kind_of
from collabkernel.crdt.lww import TOMBSTONE
from collabkernel.document.operations import ContainerKind
from collabkernel.errors import InvalidValueError
from collabkernel.wire.messages import Role

MISSING: Any = object()
"""No default."""


RESERVED = frozenset(("id", "kind", "room", "path", "is_attached", "to_json", "observe", "unobserve", "view"))
"""Names that no field may take, since views and callbacks use them; other methods may be hidden by a field."""


class Field:
    """A field of a record class, in the place of its default."""

    def __init__(self, name: str, default: Any) -> None:
        self.name = name
        self.default = default

    def __get__(self, record: LiveObject | None, owner: type[LiveObject]) -> Any:
        if record is None:
            return None if self.default is MISSING else self.default
        return record._read(self.name)

    def __set__(self, record: LiveObject, value: Any) -> None:
        record._write(self.name, value)

    def __delete__(self, record: LiveObject) -> None:
        if not record._remove(self.name):
            raise AttributeError(f"{self.name!r} is not set")


class LiveObject(Keyed):
    """A record. Subclass it with annotated fields, or use it as it is with any attribute.

    ::

        class Task(LiveObject):
            title: str = ""
            done: bool = False

        task = Task(title="Write")      # a draft
        room.list("tasks", Task).append(task)
        task.done = True                # live now; checked against the annotation

    A field that nobody has written reads as its default; a field of a list, dict or text type is made when it is first
    read. ``record["key"]`` reaches keys that are no Python names.
    """

    kind: ClassVar[ContainerKind] = ContainerKind.OBJECT
    _own_fields: ClassVar[dict[str, Field]] = {}
    _hints: ClassVar[dict[str, Any] | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        fields = dict(cls._own_fields)
        for name, annotation in inspect.get_annotations(cls).items():
            if name.startswith("_") or "ClassVar" in str(annotation):
                continue
            if name in RESERVED:
                raise InvalidValueError(
                    f"the field {name!r} of {cls.__name__} is a name that every live value has; choose another"
                )
            fields[name] = Field(name, cls.__dict__.get(name, MISSING))
            setattr(cls, name, fields[name])
        cls._own_fields = fields
        cls._hints = None

    def __init__(self, **values: Any) -> None:
        super().__init__()
        self._draft: dict[str, Any] = {}
        cls = type(self)
        for name, value in values.items():
            self._draft[name] = accept(self._value_type_of(name), value, f"{cls.__name__}.{name}")
        for name, each in cls._own_fields.items():
            if name in self._draft:
                continue
            if each.default is not MISSING:
                self._draft[name] = accept(self._value_type_of(name), each.default, f"{cls.__name__}.{name}")
            elif kind_of(self._value_type_of(name)) is None:
                raise InvalidValueError(f"{cls.__name__} needs {name}: {cls.__name__}({name}=...)")

    # -- attributes and keys

    def __getattr__(self, name: str) -> Any:
        # Only names that no class has come here: those of untyped records.
        if name.startswith("_"):
            raise AttributeError(name)
        return self._read(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_") or name in type(self)._own_fields:
            object.__setattr__(self, name, value)
        elif hasattr(type(self), name):
            raise AttributeError(f"{name!r} is a name that every live value has; use record[{name!r}] = ...")
        else:
            self._write(name, value)

    def __delattr__(self, name: str) -> None:
        if not self._remove(name):
            raise AttributeError(f"{name!r} is not set")

    def __getitem__(self, key: str) -> Any:
        value = self._look_up(check_key(key))
        if value is TOMBSTONE:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self._write(check_key(key), value)

    def __delitem__(self, key: str) -> None:
        if not self._remove(check_key(key)):
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._look_up(key) is not TOMBSTONE

    def __iter__(self) -> Iterator[str]:
        return iter([key for key, _ in self._now()])

    def __len__(self) -> int:
        return len(self._now())

    def __bool__(self) -> bool:
        return True

    def get(self, key: str, default: Any = None) -> Any:
        """The value at a key, or ``default`` where nothing was written."""
        value = self._look_up(check_key(key))
        return default if value is TOMBSTONE else value

    def keys(self) -> list[str]:
        """The keys that were written."""
        return [key for key, _ in self._now()]

    def items(self) -> list[tuple[str, Any]]:
        """Keys and values that were written."""
        return self._now()

    def update(self, values: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Write many fields in one envelope, or none if one of them is refused."""
        merged = {**(values or {}), **more}
        if self._context is None:
            for key, value in merged.items():
                self._write(check_key(key), value)
            return
        with self._context.lock, self._context.editing(is_batch=True):
            for key, value in merged.items():
                self._write(check_key(key), value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(key for key, _ in self._now())})

    def __repr__(self) -> str:
        if self._context is not None and self._id not in self._context.replica.tree.nodes:
            return f"<{type(self).__name__}, no longer in its room>"
        shown = ", ".join(f"{key}={value!r}" for key, value in self._now())
        return f"{type(self).__name__}({shown})"

    # -- inside

    def _value_type_of(self, key: str) -> object:
        cls = type(self)
        if not cls._own_fields:
            return None
        if cls.__dict__.get("_hints") is None:
            cls._hints = _hints_of(cls)
        assert cls._hints is not None
        if key not in cls._own_fields:
            raise InvalidValueError(f"{cls.__name__} has no field {key!r}; it has {', '.join(cls._own_fields)}")
        return cls._hints.get(key)

    def _look_up(self, key: str) -> Any:
        if self._context is None:
            return self._draft.get(key, TOMBSTONE)
        context = self._context
        with context.lock:
            value = self._entries(context.replica.tree).get(key, TOMBSTONE)
            is_typed = key in type(self)._own_fields
            return self._present(value, self._value_type_of(key) if is_typed else None)

    def _read(self, name: str) -> Any:
        value = self._look_up(name)
        if value is not TOMBSTONE:
            return value
        each = type(self)._own_fields.get(name)
        if each is None:
            raise AttributeError(
                f"{type(self).__name__} has no {name!r}; it has {', '.join(iter(self)) or 'nothing yet'}"
            )
        hint = self._value_type_of(name)
        kind = kind_of(hint)
        if kind is not None and self._context is not None and self._context.replica.role is Role.WRITER:
            return self._make(name, kind, hint)
        if each.default is MISSING:
            raise AttributeError(f"{type(self).__name__}.{name} was not written yet")
        return each.default

    def _make(self, name: str, kind: ContainerKind, hint: Any) -> Any:
        return get_or_create(self, name, kind, hint)

    def _write(self, name: str, value: Any) -> None:
        where = f"{type(self).__name__}.{name}"
        if self._context is None:
            self._draft[name] = accept(self._value_type_of(name), value, where)
        else:
            self._set(name, value, where)

    def _remove(self, name: str) -> bool:
        if self._context is None:
            return self._draft.pop(name, MISSING) is not MISSING
        return self._delete(name)

    def _now(self) -> list[tuple[str, Any]]:
        return list(self._draft.items()) if self._context is None else self._pairs()

    def _pairs(self) -> list[tuple[str, Any]]:
        context = self._room()
        with context.lock:
            return [(key, self._look_up(key)) for key, _ in list(self._entries(context.replica.tree).items())]

    def _draft_sketch(self, depth: int) -> Sketch:
        made = Sketch(ContainerKind.OBJECT, origin=self)
        for key, value in self._draft.items():
            made.items.append((key, sketch(value, depth + 1), NO_SOURCE))
        return made


def _hints_of(cls: type[LiveObject]) -> dict[str, Any]:
    try:
        return get_type_hints(cls)
    except NameError as error:
        raise InvalidValueError(
            f"the annotations of {cls.__name__} name something unknown ({error}); define it before, at module level"
        ) from error


def record_class(as_type: object) -> type[LiveObject] | None:
    """The record class that an annotation or argument names; None if none."""
    if isinstance(as_type, type) and issubclass(as_type, LiveObject):
        return as_type
    if as_type is not None and isinstance(as_type, type) and issubclass(as_type, Live):
        raise InvalidValueError(f"{as_type.__name__} is no record class: subclass LiveObject")
    return None


def blank_record(record: type[LiveObject]) -> LiveObject:
    """A record without defaults, to stand for a container."""
    made = record.__new__(record)
    if record is LiveObject:
        LiveObject.__init__(made)
    else:
        Live.__init__(made)
        made._draft = {}
    return made
