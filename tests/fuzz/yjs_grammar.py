"""A generator of Yjs updates: built struct by struct, each part right or wrong by chance, or mutated real ones.

Everything comes from the ``random.Random`` passed in, so a seed names a case for ever.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Mapping

LIMITS = (
    0,
    1,
    127,
    128,
    2**14,
    2**31 - 2,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**53 - 1,
    2**53,
    2**63,
    2**64 - 1,
    2**70,
)
WORDS = (
    "a",
    "bc",
    "hello ",
    "\n",
    "ä",
    "né",
    "漢字",
    "😀",
    "👩‍👩‍👧",
    "x😀y🎉",
    "\u0000",
    "\ufffc",
    "e\u0301",
    "\ufeff",
    "𝔘𝔫𝔦",
)
BAD_UTF8 = (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\xf4\x90\x80\x80", b"a\x80")
FORMAT_KEYS = ("bold", "italic", "link", "", "k" * 64, "k" * 65, "__proto__", "ä", "\u0000")
GOOD_JSON = ("true", "null", "1", "-0.5", '"red"', '{"href":"x"}', "[1,[2,{}]]", '"\\u00e9"', "1e3", '"\\ud83d\\ude00"')
GOOD_EMBEDS = (b"{}", b'{"mention":"\xc3\xa4"}', b'{"a":[1,{"b":null}]}')
BAD_JSON = (
    "", "NaN", "Infinity", "-", "1e999", "01", "{", '"', '"\\ud800"', "[" * 17 + "]" * 17, "[" * 5000, "1" * 5000,
    "true false", "'a'", '{"a":}', "9" * 30, "\ufefftrue", '{"a":1,}', " " * 5000 + "1", '"' + "x" * 5000 + '"',
)  # fmt: skip


def uint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def buffer(raw: bytes) -> bytes:
    return uint(len(raw)) + raw


class YjsGrammar:
    """Updates of one client for a document with known clocks.

    Args:
        rng: The source of every choice.
        clocks: The document's state vector.
        client: The sender.
        wrong: The chance of each single choice to be a wrong one.
    """

    def __init__(self, rng: random.Random, clocks: Mapping[int, int], client: int, wrong: float) -> None:
        self.rng = rng
        self.clocks = clocks
        self.client = client
        self.wrong = wrong
        self.clock = clocks.get(client, 0)
        self._right: bytes | None = None

    def update(self) -> bytes:
        rng = self.rng
        if self._is_wrong() and rng.random() < 0.2:
            return rng.randbytes(rng.randint(0, 24))
        structs = b""
        clients = rng.choices((0, 1, 2, rng.choice(LIMITS)), (20, 75, 5 * self._is_wrong(), self._is_wrong()))[0]
        for _ in range(min(clients, 2)):
            structs += self._client()
        deletes = self._deletes()
        if not structs and deletes == b"\x00" and not self._is_wrong():
            clients, structs = 1, self._client()
        out = self._uint(clients) + structs + deletes
        if self._is_wrong():
            out += rng.choice((b"\x00", b"\x01", b"\x00\x00", out))
        return out

    def _is_wrong(self) -> bool:
        return self.rng.random() < self.wrong

    def _uint(self, value: int) -> bytes:
        if self.rng.random() < self.wrong / 10:
            raw = uint(value)
            return raw[:-1] + bytes([raw[-1] | 0x80]) + b"\x80" * self.rng.randint(0, 9) + b"\x00"
        return uint(value)

    def _number(self, right: int) -> bytes:
        if self._is_wrong():
            right = self.rng.choice((*LIMITS, right + 1, max(right - 1, 0)))
        return self._uint(right)

    def _client(self) -> bytes:
        rng = self.rng
        count = rng.choice((1, 1, 1, 1, 2, 3, 6))
        client = rng.choice((*self.clocks, 99, 0, *LIMITS)) if self._is_wrong() else self.client
        head = self._number(count) + self._uint(client) + self._number(self.clock)
        return head + b"".join(self._struct() for _ in range(count))

    def _struct(self) -> bytes:
        rng = self.rng
        kind = rng.choices((4, 6, 5, 1), (75, 10, 5, 10))[0]
        if self._is_wrong():
            kind = rng.randrange(32)
        info = kind | rng.choice((0, 0x80, 0x80, 0x40, 0xC0, 0xC0))
        if self._right is not None and rng.random() < 0.7:
            info = kind | 0x80 | (0x40 if self._right else 0)
        elif not any(self.clocks.values()) and self.clock == 0 and not self._is_wrong():
            info = kind
        if self._is_wrong():
            info |= 0x20
        out = bytes([info])
        if kind in (0, 10) and rng.random() < 0.9:
            return bytes([kind]) + self._number(self._advance(rng.randint(1, 5)))
        out += self._references(info)
        if not info & 0xC0:
            out += self._parent()
            if info & 0x20:
                out += buffer(rng.choice((b"key", b"", b"\xff")))
        return out + self._content(kind)

    def _references(self, info: int) -> bytes:
        """An origin, a right origin, or both: own typing going on, or two clocks of one client in a row."""
        if self._right is not None and info & 0x80 and bool(info & 0x40) == bool(self._right) and not self._is_wrong():
            return uint(self.client) + uint(self.clock - 1) + self._right
        if info & 0xC0 != 0xC0 or self._is_wrong():
            found = b"".join(self._reference() for bit in (0x80, 0x40) if info & bit)
            self._right = found if info & 0xC0 == 0x40 else b""
            return found
        pairs = [client for client, end in self.clocks.items() if end > 1]
        if not pairs or self.rng.random() < 0.2:
            return self._reference() + self._reference()
        client = self.rng.choice(pairs)
        clock = self.rng.randrange(self.clocks[client] - 1)
        self._right = self._uint(client) + self._uint(clock + 1)
        return self._uint(client) + self._uint(clock) + self._right

    def _reference(self) -> bytes:
        rng = self.rng
        if self._is_wrong():
            return self._uint(rng.choice((*self.clocks, self.client, 0, 99, *LIMITS))) + self._uint(rng.choice(LIMITS))
        choices = [client for client, end in self.clocks.items() if end]
        if self.clock:
            choices.append(self.client)
        if not choices:
            return uint(self.client) + uint(0)
        client = rng.choice(choices)
        end = self.clock if client == self.client else self.clocks[client]
        clock = end - 1 if rng.random() < 0.4 else rng.randrange(end)
        if self._is_wrong():
            clock = end + rng.choice((0, 1, 10))
        return self._uint(client) + self._uint(clock)

    def _parent(self) -> bytes:
        if not self._is_wrong():
            return b"\x01" + buffer(b"text")
        rng = self.rng
        name = rng.choice((b"text", b"other", b"", b"\xff", b"t" * 2000))
        return rng.choice(
            (b"\x01" + buffer(name), b"\x00" + self._reference(), self._number(2), b"\x02" + buffer(b"text"))
        )

    def _advance(self, length: int) -> int:
        self.clock += length
        return length

    def _content(self, kind: int) -> bytes:
        rng = self.rng
        if kind == 4:
            return self._string()
        if kind in (0, 1, 10):
            return self._number(self._advance(rng.choice((1, 1, 2, 7))))
        if kind == 2:
            count = self._advance(rng.randint(1, 3))
            return self._number(count) + b"".join(buffer(self._json()) for _ in range(count + rng.randint(0, 1)))
        if kind == 8:
            count = self._advance(rng.randint(1, 3))
            return self._number(count) + b"".join(self._any(0) for _ in range(count))
        self._advance(1)
        if kind == 3:
            return buffer(rng.randbytes(rng.randint(0, 9)))
        if kind == 5:
            return buffer(self._json() if self._is_wrong() else self.rng.choice(GOOD_EMBEDS))
        if kind == 6:
            key = rng.choice(FORMAT_KEYS) if self._is_wrong() else rng.choice(FORMAT_KEYS[:3])
            return buffer(key.encode()) + buffer(self._json())
        if kind == 7:
            return self._number(rng.randrange(10)) + rng.choice((b"", buffer(b"p")))
        if kind == 9:
            return buffer(b"guid") + self._any(0)
        return rng.randbytes(rng.randint(0, 6))

    def _string(self) -> bytes:
        rng = self.rng
        text = "".join(rng.choices(WORDS, k=rng.choice((1, 1, 1, 2, 5))))
        raw = text.encode()
        self._advance(len(text.encode("utf-16-le")) // 2)
        if self._is_wrong():
            raw = rng.choice((b"", raw + rng.choice(BAD_UTF8), rng.choice(BAD_UTF8)))
        if self._is_wrong():
            return self._number(len(raw)) + raw
        return buffer(raw)

    def _json(self) -> bytes:
        return (self.rng.choice(BAD_JSON) if self._is_wrong() else self.rng.choice(GOOD_JSON)).encode()

    def _any(self, depth: int) -> bytes:
        rng = self.rng
        if self._is_wrong() and rng.random() < 0.2:
            deep = rng.choice((15, 16, 17, 3000))
            return b"\x75\x01" * deep + b"\x7e"
        tag = rng.randrange(112, 128) if self._is_wrong() else rng.choice((119, 120, 121, 125, 126, 127, 123))
        if depth < 4 and rng.random() < 0.2:
            tag = rng.choice((117, 118))
        out = bytes([tag])
        if tag == 119:
            return out + buffer(rng.choice(WORDS).encode())
        if tag == 125:
            return out + bytes([rng.randrange(128)])
        if tag == 123:
            return out + struct.pack(">d", rng.choice((0.5, -1.0, float("nan") if self._is_wrong() else 2.0)))
        if tag in (117, 118):
            count = rng.randint(0, 3)
            items = b"".join((buffer(b"k") if tag == 118 else b"") + self._any(depth + 1) for _ in range(count))
            return out + self._number(count) + items
        return out + (rng.randbytes(8) if tag in (122, 116, 124) else b"")

    def _deletes(self) -> bytes:
        rng = self.rng
        known = {client: end for client, end in {**self.clocks, self.client: self.clock}.items() if end}
        count = rng.choices((0, 1, 2, 3), (60, 30, 8, 2))[0]
        picked = (
            rng.choices(list(known), k=count)
            if known and self._is_wrong()
            else rng.sample(list(known), min(count, len(known)))
        )
        out = self._number(len(picked))
        for client in picked:
            ranges = self._ranges(known[client])
            out += self._uint(client if not self._is_wrong() else rng.choice((99, *LIMITS)))
            out += self._number(len(ranges))
            out += b"".join(self._number(clock) + self._number(length) for clock, length in ranges)
        return out

    def _ranges(self, end: int) -> list[tuple[int, int]]:
        rng = self.rng
        marks = sorted(rng.sample(range(end + 1), min(end + 1, 2 * rng.choice((1, 1, 2)))))
        ranges = [(start, stop - start) for start, stop in zip(marks[::2], marks[1::2], strict=False)]
        if self._is_wrong():
            rng.shuffle(ranges)
            ranges += ranges[:1]
        return ranges


def mutate(rng: random.Random, update: bytes) -> bytes:
    """One to three random injuries to a real update."""
    data = bytearray(update)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(6):
            case 0:
                del data[at:]
            case 1 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 2 if at < len(data):
                data[at] = rng.choice((0, 1, 4, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 3:
                end = rng.randrange(at, len(data) + 1)
                data[at:at] = data[at:end]
            case 4:
                del data[at : at + rng.randint(1, 3)]
            case _:
                data[at:at] = rng.randbytes(rng.randint(1, 4))
    return bytes(data)


def describe(value: object) -> str:
    """A case in one line, for a failure."""
    return json.dumps(value, default=lambda raw: raw.hex())
