"""Markdown into a room and out of it: the same blocks, with their nesting, properties and formatting."""

from __future__ import annotations

import pytest

from collabkernel.client.specs import spec_of
from collabkernel.document.block_spec import in_order
from tests.client.log_world import World

pytestmark = pytest.mark.core

MARKDOWN = """\
## Plan

Some **bold** and *slanted* words, `code`, and [a link](https://example.org "why").

- first
  - nested, with ![a picture](a.png) in it
- second

1. one
2. two

- [x] done
- [ ] to do

> quoted

```python
print("hi")
```

| a | b |
| --- | --- |
| 1 | 2 |

---
"""


def test_markdown_goes_in_and_comes_out():
    world = World(2)
    ann, bob = (room.doc("body") for room in world.rooms)
    world.settle()
    made = ann.append(MARKDOWN)
    world.settle()

    assert ann.markdown() == bob.markdown() == MARKDOWN
    assert [block.type for block in made[:3]] == ["heading", "paragraph", "list_item"]
    assert (made[0].level, made[0].text) == (2, "Plan")
    assert made[2].children[0].text == "nested, with ![a picture](a.png) in it"


def test_specs_tell_the_ids_of_blocks():
    world = World(1)
    doc = world.rooms[0].doc("body")
    made = doc.append("one\n\n- two\n  - three")
    blocks = world.rooms[0].replica.state.blocks
    assert blocks is not None
    root = blocks.documents()["body"]

    spec = spec_of(blocks, root)

    assert [each.id for each in in_order(spec)][1:] == [block._id for block in doc]
    assert [each.id for each in spec.children] == [block._id for block in made]
