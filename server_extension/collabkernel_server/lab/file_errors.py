"""What can go wrong between a document and its file.

::

    CollabKernelError
    └── FileError                 file-error            status 500
        ├── DocumentUnknownError  document-unknown      404: neither file nor history
        ├── FileGoneError         file-gone             404
        ├── UnreadableFileError   unreadable-file       400: no UTF-8, no notebook
        ├── FileChangedError      file-changed          409: somebody wrote it since it was looked at
        └── SaveFailedError       save-failed           500: the disk, the contents manager, or a hook
"""

from __future__ import annotations

from typing import ClassVar

from collabkernel.errors import CollabKernelError


class FileError(CollabKernelError):
    """A file cannot be used as a document."""

    code = "file-error"
    status: ClassVar[int] = 500
    """Of an HTTP answer."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.path = path


class DocumentUnknownError(FileError):
    """No such document: its file id is unknown, or it was never opened and its file is gone."""

    code = "document-unknown"
    status = 404

    def __init__(self, document_id: str) -> None:
        super().__init__("", f"there is no document {document_id}")


class FileGoneError(FileError):
    """No file there."""

    code = "file-gone"
    status = 404

    def __init__(self, path: str) -> None:
        super().__init__(path, "there is no such file")


class UnreadableFileError(FileError):
    """The file is there, but not what its format says."""

    code = "unreadable-file"
    status = 400


class FileChangedError(FileError):
    """Somebody wrote the file between two looks."""

    code = "file-changed"
    status = 409

    def __init__(self, path: str) -> None:
        super().__init__(path, "somebody else wrote it just now")


class SaveFailedError(FileError):
    """The file could not be written."""

    code = "save-failed"
