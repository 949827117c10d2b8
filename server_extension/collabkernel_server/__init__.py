"""Jupyter server extension that hosts collabkernel rooms."""
