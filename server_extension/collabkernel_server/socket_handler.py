"""What our WebSocket handlers do alike: pings, no compression, and an end when the server stops."""

from __future__ import annotations

from jupyter_server.base.handlers import JupyterHandler
from tornado.websocket import WebSocketHandler, WebSocketProtocol, WebSocketProtocol13

from collabkernel_server.fast_socket import FastSocketProtocol
from collabkernel_server.handler import RoomsHandlerBase
from collabkernel_server.transport import SocketTransport, close_frame


class SocketHandler(RoomsHandlerBase, WebSocketHandler):
    """Base of the WebSocket handlers."""

    transport: SocketTransport

    def check_origin(self, origin: str) -> bool:  # type: ignore[override]  # Tornado's name for it
        """Allow the server's own origin, and what ``ServerApp.allow_origin`` allows."""
        return bool(JupyterHandler.check_origin(self, origin))

    @property
    def ping_interval(self) -> float:
        """Seconds between pings; a peer that answers none of them in that time is gone."""
        return self.service.ping_interval_s

    @property
    def ping_timeout(self) -> float:
        """Seconds."""
        return self.service.ping_interval_s

    def get_compression_options(self) -> None:
        """No permessage-deflate: it costs more memory a connection than it saves; large frames come compressed."""
        return

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        """Tornado's, read faster."""
        plain = super().get_websocket_protocol()
        return FastSocketProtocol(self, plain.params) if isinstance(plain, WebSocketProtocol13) else plain

    def close_frame(self, code: str, reason: str) -> tuple[int, str]:
        """The WebSocket's close code and reason for one of our codes."""
        return close_frame(code, reason)

    async def upgrade(self, *args: str, **kwargs: str) -> None:
        """Become a WebSocket when it is this one's turn; what is left to be checked are the headers and the origin."""
        await self.service.upgrades.wait()
        await WebSocketHandler.get(self, *args, **kwargs)

    def make_transport(self) -> bool:
        """Take the open socket, from which on it is waited for at the stop.

        Returns:
            False if the peer has gone while he waited: Tornado told of that then, and does not again.
        """
        if self.ws_connection is None or self.ws_connection.is_closing():
            return False
        self.set_nodelay(True)
        limits = self.service.limits
        marks = limits.session_queue_bytes, limits.session_queue_low_bytes
        self.transport = SocketTransport(self, self.service.pushes, *marks, self.close_frame)
        self.service.opened(self)
        return True

    def shut(self) -> None:
        """Close it because the server stops."""
        self.transport.close("server-stopping", "the server is shutting down")
