"""Who somebody is in JupyterLab's rooms: a stable actor, and what others see of him."""

from __future__ import annotations

import dataclasses
import re

from jupyter_server.auth import User
from jupyter_server.base.handlers import JupyterHandler

from collabkernel.room.session import Principal
from collabkernel.wire.messages import Role
from collabkernel_server.identity import principal_of

ANONYMOUS = "anonymous"
_ANONYMOUS_NAME = re.compile(r"[0-9a-f]{32}")
"""Jupyter's own names for those who have none."""


def document_principal(handler: JupyterHandler, user: User, role: Role) -> Principal:
    """How a document's room knows this user."""
    principal = principal_of(user, role)
    identity = {name: value for name, value in handler.identity_provider.identity_model(user).items() if value}
    actor = ANONYMOUS if _is_nobody(handler, user) else principal.actor
    return dataclasses.replace(principal, actor=actor, identity=identity)


def _is_nobody(handler: JupyterHandler, user: User) -> bool:
    """Whether Jupyter has just made this user up.

    A token without a cookie is a new user at each request. A Yjs client id belongs to one actor, so a script that comes
    back would be a stranger to its own edits; all who hold the one token are one actor instead.
    """
    has_login = handler.get_cookie(handler.identity_provider.get_cookie_name(handler)) is not None
    is_made_up = user.name.startswith("Anonymous ") and _ANONYMOUS_NAME.fullmatch(user.username) is not None
    return is_made_up and not has_login
