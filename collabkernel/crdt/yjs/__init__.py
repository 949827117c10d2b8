"""Yjs: its updates read and judged by us before yrs (pycrdt) applies them, and what is kept of them. Pure."""
