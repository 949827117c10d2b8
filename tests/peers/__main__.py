"""``python -m tests.peers [NAME ...]``: install peers, all of them without names, so that no test waits for it."""

from __future__ import annotations

import sys

from tests.peers import install

MAKERS = {
    **{name: (lambda name=name: install.python_of(name)) for name in install.REQUIREMENTS},
    **{name: (lambda name=name: install.node_folder(name)) for name in install.NPM},
    "sdist": install.sdist,
}

if __name__ == "__main__":
    for wanted in sys.argv[1:] or MAKERS:
        if wanted not in MAKERS:
            sys.exit(f"there is no peer {wanted!r}; there are {', '.join(MAKERS)}")
        MAKERS[wanted]()
