"""What was read of a text: kept for the next who asks, and moved along with a change that is known."""

from __future__ import annotations

from typing import Any, NamedTuple

from pycrdt import Text

from collabkernel.crdt.text_delta import EMBED_UNIT, Delta


class Embeds(NamedTuple):
    """The embeds of a text in their order."""

    places: list[int]
    """The index of each."""
    values: list[Any]
    """What each is; the same list as long as none comes or goes."""


class Reading:
    """Of one text; each part is None while it has to be read anew, which is a walk over the whole text."""

    __slots__ = ("embeds", "units")

    def __init__(self, units: str | None = None) -> None:
        self.units = units
        """One character a unit of yrs' indices: an embed is one byte there, and NUL here."""
        self.embeds: Embeds | None = None

    def read_units(self, text: Text, *, has_embeds: bool) -> str:
        """``units`` of the text that is read here, as they are now."""
        if has_embeds:
            self.units = "".join([run if isinstance(run, str) else EMBED_UNIT for run, _ in text.diff()])
        else:
            self.units = str(text)
        return self.units

    def embeds_of(self, text: Text) -> Embeds:
        """``embeds`` of the text that is read here."""
        if self.embeds is None:
            self.embeds = Embeds([], [])
            at = 0
            for run, _ in text.diff():
                if isinstance(run, str):
                    at += len(run)
                else:
                    self.embeds.places.append(at)
                    self.embeds.values.append(run)
                    at += 1
        return self.embeds

    def forget(self) -> None:
        """The text has changed, and nobody knows where."""
        self.units = self.embeds = None

    def follow(self, delta: Delta) -> None:
        """The text has changed like this."""
        if self.units is not None:
            self.units = _changed(self.units, delta)
        if self.embeds is not None:
            self.embeds = _moved(self.embeds, delta)


def _changed(units: str, delta: Delta) -> str:
    parts: list[str] = []
    at = 0
    for part in delta:
        if "insert" in part:
            parts.append(part["insert"] if isinstance(part["insert"], str) else EMBED_UNIT)
        elif "retain" in part:
            parts.append(units[at : at + part["retain"]])
            at += part["retain"]
        else:
            at += part["delete"]
    return "".join([*parts, units[at:]])


def _moved(old: Embeds, delta: Delta) -> Embeds:
    places: list[int] = []
    values: list[Any] = []
    i = at = shift = 0
    is_same = True
    for part in delta:
        if "insert" in part:
            if isinstance(part["insert"], str):
                shift += len(part["insert"])
            else:
                places.append(at + shift)
                values.append(part["insert"])
                shift, is_same = shift + 1, False
            continue
        is_kept = "retain" in part
        at += part["retain"] if is_kept else part["delete"]
        while i < len(old.places) and old.places[i] < at:
            if is_kept:
                places.append(old.places[i] + shift)
                values.append(old.values[i])
            else:
                is_same = False
            i += 1
        shift -= 0 if is_kept else part["delete"]
    places += [place + shift for place in old.places[i:]]
    return Embeds(places, old.values if is_same else [*values, *old.values[i:]])
