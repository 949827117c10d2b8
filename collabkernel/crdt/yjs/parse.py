"""Strict reading of lib0, the byte format of Yjs updates: integers, strings, JSON and ``Any`` values.

Whatever the bytes are, each function returns what it read or raises ``InvalidYjsUpdateError``; time and memory are
bounded by the length of the input, and recursion by the depth of a value. Stricter than lib0 on purpose: where two
implementations could read the same bytes differently (a longer form of an integer, invalid UTF-8, JSON numbers that
are not finite), the bytes are refused.

======== ===================================================================================
uint     7 bits a byte, low bits first, 0x80 on all but the last; at most 53 bits, shortest form
sint     as uint, but the first byte carries 0x40 for the sign and 6 bits
string   uint number of bytes, then UTF-8
buffer   uint number of bytes, then the bytes
json     a string that holds one JSON text
any      a tag byte (116 to 127), then what the tag asks for
======== ===================================================================================
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from collabkernel.crdt.strict_json import strict_decoder
from collabkernel.errors import InvalidYjsUpdateError

UINT_MAX = 2**53 - 1
"""lib0 integers stay exact in a JavaScript number."""
VALUE_DEPTH_MAX = 16
"""Nesting of a JSON value: a format or an embed is a small record."""
JSON_DIGITS_MAX = 19
"""Digits of an integer in JSON: 64 bits; longer ones lose digits in every implementation, differently in each."""

_JSON = strict_decoder(JSON_DIGITS_MAX + 1)
_HIGH_BITS = {shift: sum(0x80 << low for low in range(0, shift, 7)) for shift in range(7, 56, 7)}
_SCALARS: dict[bytes, Any] = {b"true": True, b"false": False, b"null": None, **{b"%d" % n: n for n in range(10)}}


def read_uint(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned integer at ``at`` and the position after it.

    Raises:
        InvalidYjsUpdateError: It is over 53 bits or not in its shortest form.
        IndexError: The data ends inside it; for callers that look ahead and fall back.
    """
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    # The bits 0x80 of all bytes so far are taken off in one go: 32-bit client ids are most of what is read.
    value = byte
    shift = 7
    while True:
        at += 1
        byte = data[at]
        if byte < 0x80:
            break
        value += byte << shift
        shift += 7
        if shift > 49:
            raise InvalidYjsUpdateError(f"integer at byte {at} is longer than 53 bits")
    value -= _HIGH_BITS[shift]
    if byte == 0:
        raise InvalidYjsUpdateError(f"integer that ends at byte {at} is not in its shortest form")
    value += byte << shift
    if value > UINT_MAX:
        raise InvalidYjsUpdateError(f"integer that ends at byte {at} is over 2**53 - 1")
    return value, at + 1


def write_uint(value: int) -> bytes:
    """The shortest form of an unsigned integer."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def low_surrogates(text: str, clock: int) -> list[int]:
    """The clocks of the second halves of surrogate pairs in a text that begins at ``clock``."""
    # Each astral character takes two clocks, so the k-th one has moved everything behind it by k.
    astral = (index for index, char in enumerate(text) if char > "\uffff")
    return [clock + index + number + 1 for number, index in enumerate(astral)]


def is_unicode(text: str) -> bool:
    """Whether a text has no lone surrogates, which JSON can write and UTF-8 cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def splits_pair(lows: Mapping[int, Sequence[int]], client: int, clock: int) -> bool:
    """Whether a cut before ``clock`` falls between the halves of a pair; ``lows`` are the second halves, rising."""
    of_client = lows.get(client)
    if of_client is None:
        return False
    index = bisect_left(of_client, clock)
    return index < len(of_client) and of_client[index] == clock


class Reader:
    """A position in one update. ``what`` names the thing being read, for the message of a refusal."""

    __slots__ = ("at", "data", "value_depth_max")

    def __init__(self, data: bytes, *, at: int = 0, value_depth_max: int = VALUE_DEPTH_MAX) -> None:
        self.data = data
        self.at = at
        self.value_depth_max = value_depth_max

    def byte(self, what: str) -> int:
        if self.at >= len(self.data):
            self.fail_truncated(what)
        value = self.data[self.at]
        self.at += 1
        return value

    def uint(self, what: str) -> int:
        at = self.at
        try:
            value = self.data[at]
            if value < 0x80:
                self.at = at + 1
            else:
                value, self.at = read_uint(self.data, at)
        except IndexError:
            self.fail_truncated(what)
        return value

    def reference(self, what: str, own: int, own_raw: bytes) -> tuple[int, int]:
        """A client id and a clock; most name the client ``own``, whose bytes need no reading."""
        data = self.data
        try:
            if data.startswith(own_raw, self.at):
                client, at = own, self.at + len(own_raw)
            else:
                client, at = read_uint(data, self.at)
            clock = data[at]
            if clock < 0x80:
                self.at = at + 1
            else:
                clock, self.at = read_uint(data, at)
        except IndexError:
            self.fail_truncated(what)
        return client, clock

    def sint(self, what: str) -> int:
        first = self.byte(what)
        value = first & 0x3F
        if first & 0x80:
            rest = self.uint(what)
            if rest == 0:
                raise InvalidYjsUpdateError(f"{what} that ends at byte {self.at} is not in its shortest form")
            value |= rest << 6
        if value > UINT_MAX:
            raise InvalidYjsUpdateError(f"{what} that ends at byte {self.at} is over 53 bits")
        return -value if first & 0x40 else value

    def take(self, size: int, what: str) -> bytes:
        raw = self.data[self.at : self.at + size]
        if len(raw) != size:
            self.fail_truncated(what)
        self.at += size
        return raw

    def buffer(self, what: str) -> bytes:
        data = self.data
        at = self.at
        try:
            size = data[at]
            if size < 0x80:
                at += 1
            else:
                size, at = read_uint(data, at)
        except IndexError:
            self.fail_truncated(what)
        raw = data[at : at + size]
        if len(raw) != size:
            self.fail_truncated(what)
        self.at = at + size
        return raw

    def string(self, what: str) -> str:
        raw = self.buffer(what)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise InvalidYjsUpdateError(f"{what} before byte {self.at} is not UTF-8: {error.reason}") from None

    def json(self, what: str, bytes_max: int) -> Any:
        """A JSON value of at most ``bytes_max`` bytes, ``VALUE_DEPTH_MAX`` deep."""
        raw = self.buffer(what)
        if len(raw) > bytes_max:
            raise InvalidYjsUpdateError(f"{what} of {len(raw)} bytes is over the limit of {bytes_max} bytes")
        if raw in _SCALARS:
            return _SCALARS[raw]
        if len(raw) > 2 and raw[0] == raw[-1] == 0x22 and raw[1:-1].isalnum():  # a plain word, such as a colour
            return raw[1:-1].decode()
        return _strict_json(raw, what)

    def any(self, what: str) -> None:
        """Step over a lib0 ``Any`` value, ``value_depth_max`` deep; nobody here needs the value itself."""
        data, at = self.data, self.at
        if at < len(data) and data[at] not in (117, 118):
            self.at = at + 1
            self._scalar(data[at], what)
            return
        open_: list[tuple[int, bool]] = []
        left, has_keys = 1, False
        while True:
            while left == 0:
                if not open_:
                    return
                left, has_keys = open_.pop()
            left -= 1
            if has_keys:
                self.string(what)
            tag = self.byte(what)
            if tag == 117 or tag == 118:
                if len(open_) + 1 >= self.value_depth_max:
                    raise InvalidYjsUpdateError(f"{what} is nested over {self.value_depth_max} levels")
                open_.append((left, has_keys))
                left, has_keys = self.uint(what), tag == 118
            else:
                self._scalar(tag, what)

    def _scalar(self, tag: int, what: str) -> None:
        if tag == 119:
            self.string(what)
        elif tag in (120, 121, 126, 127):  # true, false, null, undefined
            pass
        elif tag == 125:
            self.sint(what)
        elif tag in (122, 123):  # 64 bits, a double; notebooks do hold NaN
            self.take(8, what)
        elif tag == 124:
            self.take(4, what)
        elif tag == 116:
            self.buffer(what)
        else:
            raise InvalidYjsUpdateError(f"{what} has the unknown tag {tag} at byte {self.at - 1}")

    def fail_truncated(self, what: str) -> NoReturn:
        raise InvalidYjsUpdateError(f"the update of {len(self.data)} bytes ends inside {what}")


def encode_vector(clocks: Mapping[int, int]) -> bytes:
    """A state vector, which tells the next clock by client."""
    return write_uint(len(clocks)) + b"".join([write_uint(client) + write_uint(clocks[client]) for client in clocks])


def decode_vector(data: bytes) -> dict[int, int]:
    """What ``encode_vector`` encoded.

    Raises:
        InvalidYjsUpdateError: The bytes are no state vector.
    """
    reader = Reader(data)
    clocks: dict[int, int] = {}
    for _ in range(reader.uint("a number of clients")):
        client = reader.uint("a client id")
        clocks[client] = reader.uint("a clock")
    if reader.at != len(data):
        raise InvalidYjsUpdateError(f"{len(data) - reader.at} bytes behind the end of a state vector")
    return clocks


def first_clock(update: bytes, client: int) -> int | None:
    """The clock at which the new structs of ``client`` begin; None if it has none. Reads no further than that."""
    reader = Reader(update)
    if reader.uint("the number of clients") == 0:
        return None
    reader.uint("a number of structs")
    if reader.uint("a client id") != client:
        return None
    return reader.uint("a clock")


def _strict_json(raw: bytes, what: str) -> Any:
    try:
        value = _JSON.decode(raw.decode())
    except (ValueError, RecursionError) as error:
        raise InvalidYjsUpdateError(f"{what} is not strict JSON: {error}") from None
    # Escapes may smuggle in half a surrogate pair, which no UTF-8 can hold; yrs fails on it late.
    _check_value(value, what, 1, b"\\u" in raw)
    return value


def _check_value(value: Any, what: str, depth: int, has_escapes: bool) -> None:
    if isinstance(value, str):
        if has_escapes and not is_unicode(value):
            raise InvalidYjsUpdateError(f"{what} holds half a surrogate pair")
        return
    if not isinstance(value, (dict, list)):
        return
    if depth > VALUE_DEPTH_MAX:
        raise InvalidYjsUpdateError(f"{what} is nested over {VALUE_DEPTH_MAX} levels")
    if isinstance(value, dict):
        for key in value:
            _check_value(key, what, depth, has_escapes)
        value = list(value.values())
    for item in value:
        _check_value(item, what, depth + 1, has_escapes)
