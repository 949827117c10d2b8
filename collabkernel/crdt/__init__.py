"""Conflict-free replicated data types, pure."""
