"""Forms that reading and writing Markdown have to agree on."""

from __future__ import annotations

import re

EMPTY = "<!-- -->"
"""A paragraph without text: Markdown has none, and a comment is not seen."""
TASK_MARK = re.compile(r"\[([ xX])\](?:[ \t]+|$)")
"""The box at the beginning of a task."""
