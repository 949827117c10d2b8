"""The traits that stand for ``Limits``: one for each field, with its docstring as help."""

from __future__ import annotations

import ast
import dataclasses
import inspect

from traitlets import Bool, Float, HasTraits, Int, TraitType, Unicode

from collabkernel.limits import Limits

_TRAIT_BY_TYPE = {int: Int, bool: Bool, float: Float, str: Unicode}


def field_docs() -> dict[str, str]:
    """The docstring below each field of ``Limits``; a field without one shares the next one's."""
    docs: dict[str, str] = {}
    waiting: list[str] = []
    (body,) = ast.parse(inspect.getsource(Limits)).body
    assert isinstance(body, ast.ClassDef)
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            waiting.append(node.target.id)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docs.update(dict.fromkeys(waiting, " ".join(node.value.value.split())))
            waiting.clear()
    return docs


def limit_traits() -> dict[str, TraitType[object, object]]:
    """A configurable trait for each field of ``Limits``, named as the field is."""
    docs = field_docs()
    traits: dict[str, TraitType[object, object]] = {}
    for field in dataclasses.fields(Limits):
        kind = type(field.default)
        options = {"min": 0} if kind is int else {}
        trait = _TRAIT_BY_TYPE[kind](field.default, help=docs.get(field.name, ""), **options)
        traits[field.name] = trait.tag(config=True)
    return traits


def limits_of(settings: HasTraits) -> Limits:
    """The ``Limits`` that the traits of ``settings`` say."""
    return Limits(**{field.name: getattr(settings, field.name) for field in dataclasses.fields(Limits)})
