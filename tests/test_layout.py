"""The layout tells the architecture: mirrors, docstrings, and the sizes of files and functions."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"
LINES_MAX = 500
FUNCTION_LINES_MAX = 60

# Where the tests of a package's modules are.
PACKAGES = {
    ROOT / "collabkernel": TESTS,
    ROOT / "server_extension/collabkernel_server": TESTS / "server_extension",
    ROOT / "widgets/collabkernel_widgets": TESTS / "widgets",
}

# Modules without a test file of their own, and why.
UNMIRRORED = {
    "collabkernel/errors.py": "a table of classes; whoever raises one tests it",
    "collabkernel/limits.py": "a table of numbers; whoever keeps one tests it",
    "collabkernel/crdt/ids.py": "two tuples",
    "collabkernel/document/operations.py": "values; document/test_live_tree.py and wire/test_codec.py test them",
    "collabkernel/storage/base.py": "a Protocol; contract/storage_contract.py tests it",
    "collabkernel/bus/base.py": "a Protocol; contract/ tests it",
    "collabkernel/wire/messages.py": "values; wire/test_codec.py tests them",
    "collabkernel/client/notifications.py": "values; client/test_replica.py and client/test_observers.py see them used",
    "collabkernel/client/site.py": "values; client/test_replica.py and client/test_queue_file.py use them",
    "collabkernel/room/events.py": "values; room/test_room.py feeds them",
    "collabkernel/room/effects.py": "values; room/test_room.py asserts them",
    "collabkernel/room/session.py": "fields; room/test_room.py and room/test_intake.py test what is done with them",
}

# Longer than LINES_MAX, and why.
LONG_FILES: dict[str, str] = {}


def _is_generated(path: Path) -> bool:
    return path.stem.endswith("_pb2") or "migrations" in path.parts


def _modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in package.rglob("*.py") if not _is_generated(path))


def _python_files() -> list[Path]:
    return _modules() + sorted(TESTS.rglob("*.py"))


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", _modules(), ids=_name)
def test_module_has_its_mirror_in_tests(path: Path):
    if path.name == "__init__.py" or _name(path) in UNMIRRORED:
        return
    package = next(package for package in PACKAGES if path.is_relative_to(package))
    folder = PACKAGES[package] / path.parent.relative_to(package)
    stem = path.stem.lstrip("_")

    mirrors = [folder / f"test_{stem}.py", *folder.glob(f"test_{stem}_*.py")]

    assert any(mirror.exists() for mirror in mirrors), (
        f"{_name(path)} has no tests: write {_name(mirrors[0])}, or say in UNMIRRORED why it needs none"
    )


def test_exceptions_are_for_files_that_exist():
    gone = [name for name in (*LONG_FILES, *UNMIRRORED) if not (ROOT / name).exists()]

    assert gone == [], "these are exceptions for files that are no longer there"


@pytest.mark.parametrize("path", _python_files(), ids=_name)
def test_module_opens_with_a_docstring(path: Path):
    docstring = ast.get_docstring(ast.parse(path.read_text()))

    assert docstring, f"{_name(path)} does not say what it holds: open it with one sentence"


@pytest.mark.parametrize("path", _python_files(), ids=_name)
def test_file_is_one_subject(path: Path):
    lines = path.read_text().count("\n")

    assert lines <= LINES_MAX or _name(path) in LONG_FILES, f"{_name(path)} has {lines} lines; cut it by subject"


@pytest.mark.parametrize("path", _python_files(), ids=_name)
def test_functions_are_short(path: Path):
    functions = (
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )

    long = [
        f"{_name(path)}:{node.lineno} {node.name} has {lines} lines"
        for node in functions
        if node.end_lineno and (lines := node.end_lineno - node.lineno + 1) > FUNCTION_LINES_MAX
    ]

    assert long == [], f"over {FUNCTION_LINES_MAX} lines: cut them by step"
