"""From Jupyter's user and authorizer to a room's principal and role."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from getpass import getuser

from jupyter_core.utils import ensure_async
from jupyter_server.auth import User
from jupyter_server.base.handlers import JupyterHandler

from collabkernel.room.session import Principal
from collabkernel.wire.messages import Role

RESOURCE = "rooms"
"""What an Authorizer is asked about; the actions are ``read`` and ``write``."""
_NAME_CHARS_MAX = 128
_UNSHOWN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Controls, marks of direction, halves of surrogate pairs, what has no meaning, and breaks of lines."""
_JOINERS = "\u200c\u200d"
"""Of those that do nothing but join or part letters, and make emoji."""
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


def principal_of(user: User, role: Role) -> Principal:
    """How a room knows this user. A colour that is no ``#rrggbb`` (JupyterLab's are CSS variables) is left out."""
    color = user.color if user.color and _COLOR.fullmatch(user.color) else ""
    name = _shown(user.display_name or user.name)[:_NAME_CHARS_MAX]
    return Principal(actor=actor_of(user), name=name, color=color, role=role)


def actor_of(user: User) -> str:
    """Who this user is in the log."""
    return _actor(_storable(user.username))


def _storable(username: str) -> str:
    """The user name if every database and every wire takes it; else its bytes, spelled out."""
    if "\0" not in username and (username.isascii() or username.encode("utf-8", "ignore").decode() == username):
        return username
    return "~" + username.encode("utf-8", "surrogatepass").hex()


def _shown(name: str) -> str:
    """A name that is one line of text in one direction, whoever chose it: it stands in other people's windows."""
    return "".join(
        [char if char in _JOINERS or unicodedata.category(char) not in _UNSHOWN else "\ufffd" for char in name]
    )


def _actor(username: str) -> str:
    """The user name; a longer one ends in its hash, since cutting alone would make two people one."""
    if len(username) <= _NAME_CHARS_MAX:
        return username
    digest = hashlib.sha256(username.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{username[: _NAME_CHARS_MAX - 33]}~{digest[:32]}"


async def role_of(handler: JupyterHandler, user: User, resource: str = RESOURCE) -> Role | None:
    """What the server's authorizer lets the user do with a resource; None when he may not even read."""
    if not await ensure_async(handler.authorizer.is_authorized(handler, user, "read", resource)):
        return None
    if await ensure_async(handler.authorizer.is_authorized(handler, user, "write", resource)):
        return Role.WRITER
    return Role.READER


def default_kernel_user() -> str:
    """Who code in this server's kernels acts as: the hub's user, else the one who runs the server."""
    if hub_user := os.environ.get("JUPYTERHUB_USER"):
        return hub_user
    try:
        return getuser()
    except (OSError, KeyError):  # a container's uid without a passwd entry; KeyError up to Python 3.12
        return f"uid-{os.getuid()}" if hasattr(os, "getuid") else "kernel"
