"""The client replica and its two faces, asyncio and blocking."""
