"""From Jupyter's user and authorizer to a room's principal and role."""

from __future__ import annotations

import hashlib
import os
import re
from getpass import getuser

from jupyter_core.utils import ensure_async
from jupyter_server.auth import User
from jupyter_server.base.handlers import JupyterHandler

from collabkernel.room.session import Principal
from collabkernel.wire.messages import Role

RESOURCE = "rooms"
"""What an Authorizer is asked about; the actions are ``read`` and ``write``."""
_NAME_CHARS_MAX = 128
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


def principal_of(user: User, role: Role) -> Principal:
    """How a room knows this user. A colour that is no ``#rrggbb`` (JupyterLab's are CSS variables) is left out."""
    color = user.color if user.color and _COLOR.fullmatch(user.color) else ""
    name = (user.display_name or user.name)[:_NAME_CHARS_MAX]
    return Principal(actor=_actor(user.username), name=name, color=color, role=role)


def _actor(username: str) -> str:
    """The user name; a longer one ends in its hash, since cutting alone would make two people one."""
    if len(username) <= _NAME_CHARS_MAX:
        return username
    digest = hashlib.sha256(username.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{username[: _NAME_CHARS_MAX - 33]}~{digest[:32]}"


async def role_of(handler: JupyterHandler, user: User) -> Role | None:
    """What the server's authorizer lets the user do with rooms; None when he may not even read."""
    if not await ensure_async(handler.authorizer.is_authorized(handler, user, "read", RESOURCE)):
        return None
    if await ensure_async(handler.authorizer.is_authorized(handler, user, "write", RESOURCE)):
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
