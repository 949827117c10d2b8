"""What a kernel of this server gets to find it: the URL in its environment, and a scoped token in a 0600 file.

Kernels inherit the server's environment, so two variables set before the first kernel starts reach them all. The token
is not the server's own: it opens rooms, and tells what ``info`` does, nothing else of Jupyter, and it dies with the
server. It acts as one stable user (by default who runs the server), since code in a kernel has no login of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from jupyter_server.auth import User
from jupyter_server.utils import check_pid

URL_VARIABLE = "COLLABKERNEL_URL"
TOKEN_FILE_VARIABLE = "COLLABKERNEL_TOKEN_FILE"
_FILE = re.compile(r"collabkernel-(\d{1,9})-[0-9a-f]+\.token")
_AUTHORIZATION = re.compile(r"(?:token|bearer)\s+(\S+)\s*", re.IGNORECASE)


def _sweep(folder: Path) -> None:
    """Remove the files of servers that were killed; their tokens open nothing any more."""
    for path in folder.glob("collabkernel-*.token"):
        match = _FILE.fullmatch(path.name)
        if match is not None and not check_pid(int(match.group(1))):
            with contextlib.suppress(OSError):
                path.unlink()


class KernelCredential:
    """The kernels' token: in a file while published, as a hash in memory."""

    def __init__(self, user: User, runtime_dir: str) -> None:
        self.user = user
        self.path = Path(runtime_dir) / f"collabkernel-{os.getpid()}-{secrets.token_hex(4)}.token"
        self._digest: bytes | None = None
        self._environment_before: dict[str, str | None] = {}

    def publish(self, url: str) -> None:
        """Write the token's file and set the environment of the kernels to come.

        Args:
            url: Base URL of this server, as a kernel on this machine reaches it.
        """
        token = secrets.token_urlsafe(32)
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(self.path.parent)
        # O_EXCL and the mode at creation: at no moment can another user read it or have put a file of his there.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(token)
        self._digest = hashlib.sha256(token.encode()).digest()
        for variable, value in ((URL_VARIABLE, url), (TOKEN_FILE_VARIABLE, str(self.path))):
            self._environment_before[variable] = os.environ.get(variable)
            os.environ[variable] = value

    def withdraw(self) -> None:
        """Make the token worthless, remove its file, and put the environment back; idempotent."""
        self._digest = None
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        for variable, value in self._environment_before.items():
            if value is None:
                os.environ.pop(variable, None)
            else:
                os.environ[variable] = value
        self._environment_before.clear()

    def user_of(self, authorization: str) -> User | None:
        """The kernels' user if this ``Authorization`` header carries their token, compared in constant time."""
        match = _AUTHORIZATION.fullmatch(authorization)
        if match is None or self._digest is None:
            return None
        digest = hashlib.sha256(match.group(1).encode("utf-8", "surrogatepass")).digest()
        return self.user if hmac.compare_digest(digest, self._digest) else None
