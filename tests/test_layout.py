"""The layout tells the architecture: mirrors, docstrings, and the sizes of files and functions."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

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
    "collabkernel/crdt/tree/node.py": "fields, and walks that crdt/test_move_tree.py takes",
    "collabkernel/document/block.py": "values; document/test_block_document.py makes and changes them",
    "collabkernel/document/operations.py": "values; document/test_live_tree.py and wire/test_codec.py test them",
    "collabkernel/document/markdown/words.py": "two constants; test_read.py and test_write.py see them used",
    "collabkernel/storage/base.py": "a Protocol; contract/storage_contract.py tests it",
    "collabkernel/storage/files.py": "contract/test_storage_files.py tests it on both databases",
    "collabkernel/storage/leases.py": "contract/test_storage_files.py tests it on both databases",
    "collabkernel/storage/saves.py": "contract/test_storage_files.py tests it on both databases",
    "collabkernel/storage/tickets.py": "contract/test_storage_tickets.py tests it on both databases",
    "collabkernel/storage/memory_tickets.py": "contract/test_storage_tickets.py tests it as the twin",
    "collabkernel/storage/versions.py": "contract/test_storage_compaction.py tests it on both databases",
    "collabkernel/storage/memory_files.py": "contract/test_storage_files.py tests it as the twin",
    "collabkernel/storage/holding.py": "server/test_log_compaction.py and storage/test_migration.py hold leases by it",
    "collabkernel/storage/inserts.py": "contract/ has servers that make the same room, file and lease at once",
    "collabkernel/bus/base.py": "a Protocol; contract/ tests it",
    "collabkernel/wire/messages.py": "values; wire/test_codec.py tests them",
    "collabkernel/client/notifications.py": "values; client/test_replica.py and client/test_observers.py see them used",
    "collabkernel/client/site.py": "values; client/test_replica.py and client/test_queue_file.py use them",
    "server_extension/collabkernel_server/socket_handler.py": "test_rooms_socket.py tests it",
    "server_extension/collabkernel_server/lab/api.py": "lab/test_session.py and lab/test_rest.py test it",
    "server_extension/collabkernel_server/lab/forks.py": "lab/test_rest.py tests them",
    "server_extension/collabkernel_server/lab/rooms.py": "lab/test_room_socket.py opens them all",
    "server_extension/collabkernel_server/lab/surroundings.py": "fields; lab/test_binding.py has them",
    "collabkernel/room/events.py": "values; room/test_room.py feeds them",
    "collabkernel/room/effects.py": "values; room/test_room.py asserts them",
    "collabkernel/room/session.py": "fields; room/test_room.py and room/test_intake.py test what is done with them",
    "server_extension/collabkernel_server/lab/file_errors.py": "a table of classes; whoever raises one tests it",
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


def _told(what: str, names: list[str]) -> str:
    return "\n".join([f"{what}:", *names])


def _has_mirror(path: Path) -> bool:
    package = next(package for package in PACKAGES if path.is_relative_to(package))
    folder = PACKAGES[package] / path.parent.relative_to(package)
    stem = path.stem.lstrip("_")
    return (folder / f"test_{stem}.py").exists() or any(folder.glob(f"test_{stem}_*.py"))


class Parsed(NamedTuple):
    """What is wrong with a file may be told by these."""

    name: str
    has_docstring: bool
    long_functions: list[str]


@cache
def _parsed() -> list[Parsed]:
    """Every file, parsed once."""
    return [_parse(path) for path in _python_files()]


def _parse(path: Path) -> Parsed:
    tree = ast.parse(path.read_text())
    long_functions = [
        f"{_name(path)}:{node.lineno} {node.name} has {lines} lines"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]
    return Parsed(_name(path), bool(ast.get_docstring(tree)), long_functions)


def test_every_module_has_its_mirror_in_tests():
    alone = [
        _name(path)
        for path in _modules()
        if path.name != "__init__.py" and _name(path) not in UNMIRRORED and not _has_mirror(path)
    ]

    assert not alone, _told("write tests/FLOOR/test_MODULE.py, or say in UNMIRRORED why it needs none", alone)


def test_exceptions_are_for_files_that_exist():
    gone = [name for name in (*LONG_FILES, *UNMIRRORED) if not (ROOT / name).exists()]

    assert not gone, _told("these are exceptions for files that are no longer there", gone)


def test_every_module_opens_with_a_docstring():
    silent = [module.name for module in _parsed() if not module.has_docstring]

    assert not silent, _told("they do not say what they hold: open each with one sentence", silent)


def test_every_file_is_one_subject():
    long = [
        f"{_name(path)} has {lines} lines"
        for path in _python_files()
        if (lines := path.read_text().count("\n")) > LINES_MAX and _name(path) not in LONG_FILES
    ]

    assert not long, _told(f"over {LINES_MAX} lines: cut them by subject", long)


def test_functions_are_short():
    long = [each for module in _parsed() for each in module.long_functions]

    assert not long, _told(f"over {FUNCTION_LINES_MAX} lines: cut them by step", long)
