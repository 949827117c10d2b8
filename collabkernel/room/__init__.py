"""The room: a pure function of its events."""
