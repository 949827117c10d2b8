"""The client: a pure replica, live values on it, and its two faces, asyncio and blocking."""
