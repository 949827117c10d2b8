"""Every address of JupyterLab's documents asks who somebody is, and what he may."""

from __future__ import annotations

import inspect

import pytest
from collabkernel_server.lab.serve import HANDLERS

pytestmark = pytest.mark.core
METHODS = ("get", "put", "post", "patch", "delete", "head", "options")
CASES = [(handler, method) for _, handler in HANDLERS for method in METHODS if method in vars(handler)]


@pytest.mark.parametrize(("handler", "method"), CASES)
def test_method_is_guarded(handler: type, method: str) -> None:
    source = inspect.getsource(inspect.unwrap(vars(handler)[method]))
    decorators = [line.strip() for line in source.split("def ")[0].splitlines() if line.strip().startswith("@")]

    assert decorators[0] in ("@web.authenticated", "@ws_authenticated")
    assert decorators[1] in ("@authorized_to_read", "@authorized_to_write")


def test_all_are_looked_at() -> None:
    assert {handler for handler, _ in CASES} == {handler for _, handler in HANDLERS}
