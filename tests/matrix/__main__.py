"""``python -m tests.matrix``: write the table of docs/MATRIX.md anew."""

from __future__ import annotations

from tests.matrix.table import write

if __name__ == "__main__":
    write()
