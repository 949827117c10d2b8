"""Puts JupyterLab's documents together, and gives them their addresses."""

from __future__ import annotations

from typing import Any

from jupyter_server.serverapp import ServerApp

from collabkernel_server.lab.contents_handler import CONTENTS_HANDLERS
from collabkernel_server.lab.events import DocumentEvents
from collabkernel_server.lab.execute_handler import ExecuteHandler
from collabkernel_server.lab.output_handler import OutputHandler
from collabkernel_server.lab.rest import ForkHandler, TimelineHandler, UndoRedoHandler
from collabkernel_server.lab.room_socket import DocumentSocket
from collabkernel_server.lab.service import LAB_SETTING, LabService
from collabkernel_server.lab.session import SessionHandler
from collabkernel_server.service import RoomService


def make_lab(service: RoomService, serverapp: ServerApp) -> LabService:
    """What the handlers need; nothing is opened before somebody comes."""
    assert serverapp.event_logger is not None
    events = DocumentEvents(serverapp.event_logger)
    return LabService(service.hub, serverapp.contents_manager, events, serverapp.log, service.limits)


HANDLERS: list[tuple[str, type[Any]]] = [
    (r"/api/collaboration/outputs/([^/]+)", OutputHandler),
    (r"/api/collaboration/session/(.*)", SessionHandler),
    (r"/api/collaboration/room/(.*)", DocumentSocket),
    (r"/api/collaboration/fork/(.*)", ForkHandler),
    (r"/api/collaboration/timeline/(.*)", TimelineHandler),
    (r"/api/collaboration/undo_redo/(.*)", UndoRedoHandler),
]

EXECUTE_HANDLERS: list[tuple[str, type[Any]]] = [(r"/api/kernels/([\w-]+)/execute", ExecuteHandler)]
"""Where cells are run on the server."""

__all__ = ["CONTENTS_HANDLERS", "EXECUTE_HANDLERS", "HANDLERS", "LAB_SETTING", "make_lab"]
