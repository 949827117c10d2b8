"""Order keys: short strings between any two of which there is another, each with its author's site in it.

Children of one parent stand in the order of their keys, compared as ASCII strings, so one can be put anywhere without
touching its neighbours (fractional indexing). Two things go wrong with plain fractions when people insert at one place
at once: keys collide, and runs of inserts interleave. So a key is a path in a tree in which each author has branches of
his own, like the position strings of Weidner & Kleppmann, "The Art of the Fugue" (2023)::

    key       = branch { branch } END
    branch    = side [ site ] offset
    side      = "2" left, other author | "3" left, same author as the branch before it
              | "y" right, other author | "x" right, same author as the branch before it
    site      = 6 digits of base 62, most significant first; only where the author is another
    offset    = a whole number: a head letter that says how many digits follow it ("a" one, "b" two, ..., "z" 26; for
                numbers below 0 "Z" one, "Y" two, ..., "A" 26), then those digits
    END       = "V"

END stands between the left and the right sides, so what hangs left of a key sorts before it and what hangs right of it
after it. The author of a key is the site of its last branch. A run of inserts counts its offset up, or down if it grows
backwards, so its keys stay short (5 digits more for a million) and together. A run that starts between two neighbours
hangs from one of them by Fugue's rule; the branches of several authors there are ordered by site, whole.

The offset's encoding is that of rocicorp/fractional-indexing. A translated key (an older key put behind a newer one,
``newer + older``, when a parent is rebalanced) has END inside, and so has what hangs from it; its author is that of the
older one.
"""

from __future__ import annotations

from typing import NamedTuple

from collabkernel.errors import InvalidOperationError, InvalidValueError
from collabkernel.limits import ORDER_KEY_BYTES_MAX, SITE_MAX

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
BASE = len(DIGITS)
END = "V"
LEFT_OTHER, LEFT_SAME, RIGHT_SAME, RIGHT_OTHER = "2", "3", "x", "y"
SITE_DIGITS = 6
"""62**6 is over 2**32."""
OFFSET_DIGITS_MAX = 26

_VALUE_BY_DIGIT = {digit: value for value, digit in enumerate(DIGITS)}


class _Branch(NamedTuple):
    """One step of a key's path."""

    offset_at: int
    """Where its offset starts in the key."""
    site: int
    offset: int


def key_between(left: str | None, right: str | None, site: int) -> str:
    """A key of this site between two neighbours, either of which may be missing.

    Raises:
        InvalidValueError: If a neighbour is no key, they are out of order, or the key would be over 256 bytes (the
            parent has to be rebalanced).
    """
    if left is not None and right is not None and left >= right:
        raise InvalidValueError(f"order keys {left!r} and {right!r} have nothing between them")
    try:
        left_path = [] if left is None else _path(left)
        right_path = [] if right is None else _path(right)
    except InvalidOperationError as error:
        raise InvalidValueError(f"a neighbour is no order key: {error}") from None
    key = _continue_run(left, left_path, right, right_path, site) or _start_run(
        left, left_path, right, right_path, site
    )
    assert left is None or left < key, "an order key is after its left neighbour"
    assert right is None or key < right, "an order key is before its right neighbour"
    if len(key) > ORDER_KEY_BYTES_MAX:
        raise InvalidValueError(f"an order key between these would have {len(key)} bytes; rebalance their parent")
    return key


def key_again(old: str, left: str | None, right: str | None, site: int) -> str:
    """A key of this site where an older one stood that has gone: the same if it was its own, else right beside it.

    So what comes back has its old order, though each knows only the neighbours that are there: a key from anywhere
    between these may be behind those of others that come back later. Only what hung from the older key, and has gone as
    well, may come to the other side.

    Args:
        old: The older key.
        left: The next key before it; None: there is none.
        right: The next one from it on.
        site: The author.

    Raises:
        InvalidValueError: As ``key_between``.
    """
    is_own = _path(old)[-1].site == site
    sides = (LEFT_SAME, RIGHT_SAME) if is_own else (LEFT_OTHER + _site_digits(site), RIGHT_OTHER + _site_digits(site))
    beside = [old[:-1] + side + _offset_digits(0) + END for side in sides]
    for key in (old, *beside) if is_own else beside:
        if (left is None or left < key) and (right is None or key < right) and len(key) <= ORDER_KEY_BYTES_MAX:
            return key
    return key_between(left, right, site)


def validate(key: str, site: int) -> None:
    """Check a key that a peer says ``site`` has authored.

    Raises:
        InvalidOperationError: If it is over 256 bytes, no key, or another site's.
    """
    if len(key) > ORDER_KEY_BYTES_MAX:
        raise InvalidOperationError(f"an order key of {len(key)} bytes is over the limit of {ORDER_KEY_BYTES_MAX}")
    path = _path(key)
    if path[-1].site != site:
        raise InvalidOperationError(f"order key {key!r} is of site {path[-1].site}, not of {site}")


def _continue_run(
    left: str | None, left_path: list[_Branch], right: str | None, right_path: list[_Branch], site: int
) -> str | None:
    """The next key of a run of this site that ends at the left, or grows backwards from the right."""
    # Outer branches count too: else two people who append in turn would make each key longer than the last.
    for branch in reversed(left_path):
        if left is not None and branch.site == site and branch.offset >= 0:
            key = left[: branch.offset_at] + _offset_digits(branch.offset + 1) + END
            if right is None or key < right:
                return key
    for branch in reversed(right_path):
        if right is not None and branch.site == site and branch.offset <= 0:
            key = right[: branch.offset_at] + _offset_digits(branch.offset - 1) + END
            if left is None or left < key:
                return key
    return None


def _start_run(
    left: str | None, left_path: list[_Branch], right: str | None, right_path: list[_Branch], site: int
) -> str:
    """The first key of a new branch, right of the left neighbour or left of the right one."""
    if right is not None:
        is_right_from_left = left is None or _hangs_right(left, left_path[-1], right, right_path)
        # A run of ours that now grows backwards from its first key stays with it.
        if is_right_from_left or (right_path[-1].site == site and left_path[-1].site != site):
            side = LEFT_SAME if right_path[-1].site == site else LEFT_OTHER + _site_digits(site)
            return right[:-1] + side + _offset_digits(0) + END
    if left is None:
        return RIGHT_OTHER + _site_digits(site) + _offset_digits(0) + END
    side = RIGHT_SAME if left_path[-1].site == site else RIGHT_OTHER + _site_digits(site)
    return left[:-1] + side + _offset_digits(0) + END


def _hangs_right(left: str, last: _Branch, right: str, right_path: list[_Branch]) -> bool:
    """Whether the right neighbour came to be somewhere right of the left one: nothing may be hung there any more."""
    if right.startswith(left[:-1]):
        return True
    if last.offset < 0:
        return False
    # A later key of the same run counts as hanging right of the earlier one, and so does what hangs left of it.
    return any(
        branch.offset_at == last.offset_at and branch.site == last.site and branch.offset > last.offset
        for branch in right_path
        if right[: branch.offset_at] == left[: last.offset_at]
    )


def _path(key: str) -> list[_Branch]:
    """The branches of a key, outermost first.

    Raises:
        InvalidOperationError: If it is no key.
    """
    path: list[_Branch] = []
    at, site = 0, None
    while at < len(key):
        side = key[at]
        at += 1
        if side in (LEFT_OTHER, RIGHT_OTHER):
            new_site = _number(key, at, at + SITE_DIGITS)
            if new_site > SITE_MAX or new_site == site:
                raise InvalidOperationError(f"order key {key!r} has a wrong site at {at}")
            site = new_site
            at += SITE_DIGITS
        elif side not in (LEFT_SAME, RIGHT_SAME) or site is None:
            raise InvalidOperationError(f"order key {key!r} has no branch at {at - 1}")
        offset, end = _offset(key, at)
        path.append(_Branch(at, site, offset))
        at = end
        if key[at : at + 1] == END:
            at += 1
            if at == len(key):
                return path
            site = None
    raise InvalidOperationError(f"order key {key!r} does not end with {END!r}")


def _site_digits(site: int) -> str:
    if not 0 <= site <= SITE_MAX:
        raise InvalidValueError(f"site {site} is outside 0 to {SITE_MAX}")
    return _digits(site, SITE_DIGITS)


def _offset_digits(offset: int) -> str:
    """A whole number so that the order of strings is the order of numbers."""
    rest, head, step = (offset, ord("a"), 1) if offset >= 0 else (-offset - 1, ord("Z"), -1)
    for count in range(1, OFFSET_DIGITS_MAX + 1):
        if rest < BASE**count:
            digits = rest if offset >= 0 else BASE**count - 1 - rest
            return chr(head) + _digits(digits, count)
        rest -= BASE**count
        head += step
    raise InvalidValueError(f"offset {offset} of an order key is too large")


def _offset(key: str, at: int) -> tuple[int, int]:
    """The offset that starts at a place in a key, and where it ends."""
    head = key[at : at + 1]
    if "a" <= head <= "z":
        count = ord(head) - ord("a") + 1
        before = sum(BASE**shorter for shorter in range(1, count))
        return before + _number(key, at + 1, at + 1 + count), at + 1 + count
    if "A" <= head <= "Z":
        count = ord("Z") - ord(head) + 1
        after = sum(BASE**shorter for shorter in range(1, count + 1))
        return _number(key, at + 1, at + 1 + count) - after, at + 1 + count
    raise InvalidOperationError(f"order key {key!r} has no offset at {at}")


def _digits(number: int, count: int) -> str:
    digits = ""
    for _ in range(count):
        number, digit = divmod(number, BASE)
        digits = DIGITS[digit] + digits
    return digits


def _number(key: str, start: int, end: int) -> int:
    number = 0
    if end > len(key):
        raise InvalidOperationError(f"order key {key!r} breaks off")
    for digit in key[start:end]:
        if digit not in _VALUE_BY_DIGIT:
            raise InvalidOperationError(f"order key {key!r} has {digit!r}, which is no digit")
        number = number * BASE + _VALUE_BY_DIGIT[digit]
    return number
