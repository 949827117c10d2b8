"""A server extension that answers in every chat that is opened, as an assistant on jupyterlab-chat does."""

from __future__ import annotations

from typing import Any

from jupyter_server.serverapp import ServerApp
from jupyterlab_chat.models import NewMessage


def _load_jupyter_server_extension(serverapp: ServerApp) -> None:
    manager = serverapp.web_app.settings["chat_manager"]

    async def greet(logger: object, schema_id: str, data: dict[str, Any]) -> None:  # noqa: ARG001  # a listener's signature
        if data["action"] == "opened":
            chat = manager.get(data["chat_id"])
            chat.add_message(NewMessage(body=f"hello from {chat.get_path()}", sender="bot"))

    manager.observe_chats(greet)
