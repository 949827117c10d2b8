"""Where the server is, when the user has not said: a kernel inherits its address and a file with its token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from collabkernel.errors import LocalProtocolError

URL_VARIABLE = "COLLABKERNEL_URL"
"""Base URL of the Jupyter server that runs this kernel; or those of several on one database, with commas between."""
TOKEN_FILE_VARIABLE = "COLLABKERNEL_TOKEN_FILE"
"""A file, readable by its owner alone, with a token that may join rooms and do nothing else."""
HELP = """found no server of live rooms. One of these will do:
  - in a notebook: start JupyterLab with the extension (pip install 'collabkernel[lab]', then jupyter lab) and open the
    notebook there; kernels that were started before it was installed must be restarted;
  - in a script: connect(room, url="http://localhost:8888/", token="...") with the address that `jupyter server list`
    prints, or set COLLABKERNEL_URL; of several servers on one database name all (a list, or with commas between);
  - without a server: connect(room, url="memory://") for a room inside this process."""


class NoServerError(LocalProtocolError):
    """No address was given and none is in the environment."""

    code = "no-server"


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A server, or several that are equal, and where their token is."""

    urls: tuple[str, ...]
    token: str | None
    token_file: Path | None

    def read_token(self) -> str:
        """The token as it is now: a server that restarts writes a new one. Empty when there is none.

        Raises:
            NoServerError: The file that should have it cannot be read.
        """
        if self.token is not None or self.token_file is None:
            return self.token or ""
        try:
            return self.token_file.read_text(encoding="ascii").strip()
        except OSError as error:
            raise NoServerError(
                f"cannot read the token in {self.token_file} ({error.strerror}): has the Jupyter server been stopped "
                "or restarted? Restart this kernel"
            ) from error


def find_server(url: str | Sequence[str] | None, token: str | None, environment: Mapping[str, str]) -> ServerAddress:
    """The server that was named, or the one that started this kernel.

    Args:
        url: As given by the user: one, or several on one database; None to look into the environment.
        token: As given by the user.
        environment: Such as ``os.environ``.

    Raises:
        NoServerError: There is none; the message says what to do.
    """
    found = [each.strip() for each in environment.get(URL_VARIABLE, "").split(",") if each.strip()]
    file = environment.get(TOKEN_FILE_VARIABLE, "")
    given = [url] if isinstance(url, str) else [] if url is None else list(url)
    addresses = [each for each in given if each] or found
    if not addresses:
        raise NoServerError(HELP)
    is_own = {each.rstrip("/") for each in addresses} <= {each.rstrip("/") for each in found}
    return ServerAddress(tuple(addresses), token, Path(file) if file and is_own else None)
