"""Whether an update is what a person does to a text, told from the update alone.

A page edits its document without anybody's doing: it notes the document's id, the kernel's name, that something is
unsaved. All of that is entries of maps. Text is inserted as strings, which no map holds.
"""

from __future__ import annotations

from collabkernel.crdt.yjs.policy import STRING, TYPE, YjsPolicy
from collabkernel.crdt.yjs.structs import read_update

STRUCTS_MAX = 1_000
"""An update with more structs is refused here: no page makes so many by itself, and reading them is work."""


def edits_text(update: bytes, policy: YjsPolicy) -> bool:
    """Whether it inserts text, or deletes more than the entries of maps that it sets anew.

    Raises:
        InvalidYjsUpdateError: It is no update of such a document, or a large one.
    """
    parsed = read_update(update, policy, STRUCTS_MAX)
    kinds = [struct.kind for structs in parsed.structs.values() for struct in structs]
    if STRING in kinds:
        return True
    deleted = sum([end - clock for ranges in parsed.deletes.values() for clock, end in ranges])
    return TYPE not in kinds and deleted > len(kinds)
