"""Hub and runner: one asyncio task a room, group commit, snapshots."""
