"""``Statements`` on SQLite's driver, past SQLAlchemy.

Its thread gives up Python's lock for each step of a statement, and then waits until the event loop gives it up: with a
thousand editors an append of eight statements took 11 ms, of which SQLite worked 1.5. What sites send next, which is
nearly all that is appended, is therefore one statement and a transaction by itself (4 ms there): an INSERT into a view
of this connection, whose trigger checks each envelope and writes it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple, TypeVar

from sqlalchemy import Executable
from sqlalchemy.dialects import sqlite

from collabkernel.storage.append import fault_in
from collabkernel.storage.base import Appended, AppendRequest
from collabkernel.storage.statements import Compiler, Parameters, Row, wrapped

ROWS_AT_ONCE = 64
"""Rows in one statement of the general way."""
NEXT_OPS = 512
"""Operations that ``append_next`` takes at once; a prepared statement of as many takes 200 KB."""
NEXT_BYTES = 1 << 20
"""... and of their contents: SQLite collects the rows first, and what is over 2 MB of them in a temporary file."""
ROOMS_KNOWN = 1_000
"""Rooms whose heads are known; of others they are asked for first."""

T = TypeVar("T")

_COLUMNS = ("room", "seq", "site", "counter", "first_counter", "base", "hlc", "actor", "kind", "payload")
_CHECKED = ("epoch", "purged_seq", "room_ops", "room_hlc", "now_ms")
_PLACES = f"({', '.join('?' * len((*_COLUMNS, *_CHECKED)))})"
_NO_ROW = (None,) * len((*_COLUMNS, *_CHECKED))
# Without a row where its values would stand a statement is filled up: so there are ten of them, and not 512.
# The rules are those of ``storage/append.py``, for the plain case alone. A room's last row moves its head, which has to
# be where it was known to be: so the seqs that the rows came with are the right ones.
MAKE_NEXT = (
    f"CREATE TEMP VIEW IF NOT EXISTS next_ops AS SELECT {', '.join(f'0 AS {name}' for name in (*_COLUMNS, *_CHECKED))}",
    f"""
CREATE TEMP TRIGGER IF NOT EXISTS append_next INSTEAD OF INSERT ON next_ops WHEN NEW.room IS NOT NULL BEGIN
    SELECT RAISE(ROLLBACK, 'not what its site sends next') WHERE NEW.counter = NEW.first_counter AND NOT EXISTS (
        SELECT 1 FROM sites AS s
        WHERE s.room = NEW.room AND s.site = NEW.site AND s.epoch = NEW.epoch AND NOT s.closed
            AND NEW.counter = 1 + max(s.refused_counter, s.dropped_counter, coalesce(
                (SELECT max(o.counter) FROM ops AS o WHERE o.room = s.room AND o.site = s.site), 0
            ))
    );
    INSERT INTO ops ({", ".join(_COLUMNS)}) VALUES ({", ".join(f"NEW.{name}" for name in _COLUMNS)});
    SELECT RAISE(ROLLBACK, 'not the head of the room') WHERE NEW.room_ops IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM rooms AS r
        WHERE r.key = NEW.room AND r.seq = NEW.seq - NEW.room_ops AND r.purged_seq = NEW.purged_seq AND r.standing = 0
    );
    UPDATE rooms SET seq = NEW.seq, hlc = max(hlc, NEW.room_hlc), updated_ms = NEW.now_ms
    WHERE NEW.room_ops IS NOT NULL AND key = NEW.room;
END
""",
)
_APPEND_NEXT = f"INSERT INTO next_ops VALUES {_PLACES}"
_HEAD = "SELECT key, seq FROM rooms WHERE id = ?"


class _Head(NamedTuple):
    key: int
    seq: int


class _Grown:
    """A room while a batch is gone through."""

    def __init__(self, head: _Head, purged_seq: int) -> None:
        self.head = head
        self.seq = head.seq
        self.purged_seq = purged_seq
        self.hlc = 0
        self.last_row = 0


class SqliteStatements:
    """``Statements`` of one connection. Values are the driver's own: a boolean is a number.

    Statements are known by identity: pass those that are made once.
    """

    dialect = "sqlite"

    def __init__(self, driver: sqlite3.Connection) -> None:
        self._driver = driver
        self._compile = Compiler(sqlite.dialect())
        self._has_begun = False
        self._has_next = False
        """The view is there."""
        self._heads: dict[str, _Head] = {}
        """Where rooms are, by id, since the general way last went; one that is wrong the statement itself finds out."""

    def transact(self, work: Callable[[SqliteStatements], T]) -> T:
        """Run ``work`` in a write transaction, committed at its end, rolled back when something fails.

        It begins with the first statement: what ``append_next`` can store needs none.
        """
        try:
            result = work(self)
            if self._has_begun:
                self._driver.execute("COMMIT")
        except sqlite3.Error as error:
            self._driver.rollback()
            raise wrapped("a transaction", error) from error
        except BaseException:
            self._driver.rollback()
            raise
        finally:
            self._has_begun = False
        return result

    def data_version(self) -> int:
        """What other connections' commits change."""
        try:
            (version,) = self._driver.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error as error:
            raise wrapped("PRAGMA data_version", error) from error
        return int(version)

    def rows(self, statement: Executable, parameters: Parameters) -> Sequence[Row]:
        """All rows of a query."""
        compiled = self._compile(statement)
        try:
            self._begin()
            found: list[Row] = self._driver.execute(compiled.text, compiled.values(parameters)).fetchall()
        except sqlite3.Error as error:
            raise wrapped(compiled.text, error) from error
        return found

    def run_each(self, statement: Executable, parameters: Sequence[Parameters]) -> None:
        """Run it with each of these."""
        compiled = self._compile(statement)
        values = [compiled.values(each) for each in parameters]
        try:
            self._begin()
            if not compiled.more:
                self._driver.executemany(compiled.text, values)
                return
            for start in range(0, len(values), ROWS_AT_ONCE):
                rows = values[start : start + ROWS_AT_ONCE]
                text = compiled.text + compiled.more * (len(rows) - 1)
                self._driver.execute(text, list(chain.from_iterable(rows)))
        except sqlite3.Error as error:
            raise wrapped(compiled.text, error) from error

    def change(self, statement: Executable, parameters: Parameters) -> int:
        """Run one as a transaction of its own, that moves no room's head; how many rows it has changed."""
        assert not self._driver.in_transaction, "it is a transaction of its own"
        compiled = self._compile(statement)
        try:
            return self._driver.execute(compiled.text, compiled.values(parameters)).rowcount
        except sqlite3.Error as error:
            raise wrapped(compiled.text, error) from error

    def append_next(self, batch: Sequence[AppendRequest], now_ms: int) -> list[Appended] | None:
        """Store envelopes by the trigger of this connection, which is made for the first of them."""
        assert not self._driver.in_transaction, "it is a transaction of its own"
        try:
            found = self._next_rows(batch, now_ms)
            if found is None:
                return None
            rows, answers, grown = found
            if not self._has_next:
                for text in MAKE_NEXT:
                    self._driver.execute(text)
                self._has_next = True
            filled = 1 << (len(rows) - 1).bit_length()
            text = _APPEND_NEXT + f", {_PLACES}" * (filled - 1)
            self._driver.execute(text, list(chain(*rows, *[_NO_ROW] * (filled - len(rows)))))
        except sqlite3.IntegrityError:
            # Not what its site sends next, or another server has written: the general way says what it is.
            return None
        except sqlite3.Error as error:
            raise wrapped(_APPEND_NEXT, error) from error
        for room_id, room in grown.items():
            self._heads.pop(room_id)
            self._heads[room_id] = _Head(room.head.key, room.seq)  # the last one to go
        while len(self._heads) > ROOMS_KNOWN:
            del self._heads[next(iter(self._heads))]
        return answers

    def _next_rows(
        self, batch: Sequence[AppendRequest], now_ms: int
    ) -> tuple[list[tuple[object, ...]], list[Appended], dict[str, _Grown]] | None:
        """The rows of a batch, its answers, and where its rooms come; None when it is not for ``append_next``."""
        if sum([len(request.ops) for request in batch]) > NEXT_OPS:
            return None
        if sum([len(payload) for request in batch for _, payload in request.ops]) > NEXT_BYTES:
            return None
        rows: list[tuple[object, ...]] = []
        answers: list[Appended] = []
        grown: dict[str, _Grown] = {}
        for request in batch:
            if request.is_purge or fault_in(request) is not None:
                return None
            room = grown.get(request.room_id)
            if room is None:
                head = self._head(request.room_id)
                if head is None:
                    return None
                room = grown[request.room_id] = _Grown(head, request.purged_seq)
            if request.purged_seq != room.purged_seq:
                return None
            answers.append(Appended(room.seq + 1, request.hlc))
            for nth, (kind, payload) in enumerate(request.ops):
                room.seq += 1
                rows.append((room.head.key, room.seq, request.site, request.counter + nth, request.counter,
                             request.base, request.hlc + nth, request.actor, kind, payload, request.epoch,
                             None, None, None, None))  # fmt: skip
            room.hlc = max(room.hlc, request.hlc + len(request.ops) - 1)
            room.last_row = len(rows) - 1
        for room in grown.values():
            told = (room.purged_seq, room.seq - room.head.seq, room.hlc, now_ms)
            rows[room.last_row] = rows[room.last_row][: -len(told)] + told
        return rows, answers, grown

    def _head(self, room_id: str) -> _Head | None:
        head = self._heads.get(room_id)
        if head is None:
            row = self._driver.execute(_HEAD, (room_id,)).fetchone()
            if row is None:
                return None
            head = self._heads[room_id] = _Head(*row)
        return head

    def _begin(self) -> None:
        if not self._has_begun:
            self._driver.execute("BEGIN IMMEDIATE")
            self._has_begun = True
            self._heads.clear()  # what the general way stores is not followed here
