"""A SQLite VFS that records writes and syncs, and knows what a power cut would leave.

It is registered as the default VFS of this process, in the library that Python's ``sqlite3`` uses: a copy of SQLite's
own whose files have three methods replaced. So the real ``SqlStorage`` writes real files through it, unchanged.

Source: SQLite, "The SQLite OS Interface or VFS" and ``struct sqlite3_vfs``, ``struct sqlite3_io_methods`` in sqlite3.h,
whose layouts are stable.
"""

from __future__ import annotations

import _sqlite3
import ctypes
from collections.abc import Callable
from pathlib import Path

_Pointer = ctypes.c_void_p
# The name is a pointer, not a c_char_p: SQLite keeps it, and would keep a copy that Python has freed.
_XOpen = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, _Pointer, _Pointer, ctypes.c_int, _Pointer)
_XWrite = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, _Pointer, ctypes.c_int, ctypes.c_int64)
_XTruncate = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, ctypes.c_int64)
_XSync = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, ctypes.c_int)


class _Vfs(ctypes.Structure):
    _fields_ = [
        ("iVersion", ctypes.c_int),
        ("szOsFile", ctypes.c_int),
        ("mxPathname", ctypes.c_int),
        ("pNext", _Pointer),
        ("zName", ctypes.c_char_p),
        ("pAppData", _Pointer),
        ("xOpen", _XOpen),
        ("others", _Pointer * 15),
    ]


class _IoMethods(ctypes.Structure):
    _fields_ = [
        ("iVersion", ctypes.c_int),
        ("xClose", _Pointer),
        ("xRead", _Pointer),
        ("xWrite", _XWrite),
        ("xTruncate", _XTruncate),
        ("xSync", _XSync),
        ("others", _Pointer * 13),
    ]


class RecordingVfs:
    """Registers itself; every database that is opened from then on is recorded."""

    def __init__(self) -> None:
        self.events: list[str] = []
        """``write FILE`` and ``sync FILE``, and what the test puts between them; FILE is a name without its folder."""
        self._synced: dict[Path, bytes] = {}
        """Contents of each file at its last sync."""
        self._path_by_file: dict[int, Path] = {}
        self._kept_alive: list[object] = []
        library = ctypes.CDLL(_sqlite3.__file__)
        try:
            library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        except AttributeError:
            raise RuntimeError(
                "this Python has SQLite built in and hides its functions; run this test with a Python "
                "that uses a shared libsqlite3, as those of Linux distributions, Homebrew and pyenv do"
            ) from None
        self._original = library.sqlite3_vfs_find(None).contents
        self._vfs = _Vfs.from_buffer_copy(self._original)
        self._vfs.zName = b"recording"
        self._vfs.xOpen = _XOpen(self._open)
        assert library.sqlite3_vfs_register(ctypes.byref(self._vfs), 1) == 0

    def left_by_a_power_cut(self) -> dict[str, bytes]:
        """File name to contents, as of the last syncs. A deletion counts: SQLite syncs the folder after it."""
        return {path.name: data for path, data in self._synced.items() if path.exists()}

    def _open(self, vfs: int, name: int | None, file: int, flags: int, out_flags: int) -> int:
        code = self._original.xOpen(vfs, name, file, flags, out_flags)
        if code == 0 and name is not None:
            self._path_by_file[file] = Path(ctypes.string_at(name).decode())
            self._replace_methods(file)
        return int(code)

    def _replace_methods(self, file: int) -> None:
        """The first member of a ``sqlite3_file`` points to its methods; let it point to ours."""
        pointer = ctypes.cast(file, ctypes.POINTER(ctypes.POINTER(_IoMethods)))
        original = pointer.contents.contents
        methods = _IoMethods.from_buffer_copy(original)
        methods.xWrite = self._recorded("write", original.xWrite, _XWrite)
        methods.xTruncate = self._recorded("write", original.xTruncate, _XTruncate)
        methods.xSync = self._recorded("sync", original.xSync, _XSync)
        self._kept_alive.append(methods)
        pointer[0] = ctypes.pointer(methods)

    def _recorded(self, what: str, original: Callable[..., int], kind: Callable[..., object]) -> object:
        def call(file: int, *arguments: int) -> int:
            code = original(file, *arguments)
            path = self._path_by_file[file]
            self.events.append(f"{what} {path.name}")
            if what == "sync" and code == 0:
                self._synced[path] = path.read_bytes()
            return int(code)

        callback = kind(call)
        self._kept_alive.append(callback)
        return callback
