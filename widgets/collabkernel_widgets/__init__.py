"""Live views of collabkernel values in notebooks.

``view(value)`` is registered under the entry point group ``collabkernel.views``, so that the kernel shows a live value
as the last line of a cell without knowing of widgets.
"""

from __future__ import annotations

from collabkernel_widgets.view import LiveView, view

__all__ = ["LiveView", "view"]
