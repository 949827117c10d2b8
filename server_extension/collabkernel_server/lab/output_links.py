"""How an output that is in a file looks in its document, so that JupyterLab shows it without anything of ours."""

from __future__ import annotations

import base64
import binascii
import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind of file is served. ``policy`` is added to Jupyter's own Content-Security-Policy."""

    content_type: str
    policy: str = "sandbox; default-src 'none'"
    is_image: bool = False
    is_download: bool = False


KINDS = {
    "png": Kind("image/png", is_image=True),
    "jpg": Kind("image/jpeg", is_image=True),
    "gif": Kind("image/gif", is_image=True),
    "webp": Kind("image/webp", is_image=True),
    "svg": Kind(
        "image/svg+xml", "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'", is_image=True
    ),
    # Scripts run, in an origin that is nobody's: they reach neither cookies nor this server's pages.
    "html": Kind("text/html; charset=utf-8", "sandbox allow-scripts"),
    "txt": Kind("text/plain; charset=utf-8"),
    "json": Kind("application/json"),
    "pdf": Kind("application/pdf", is_download=True),
    "bin": Kind("application/octet-stream", is_download=True),
}
"""By the file's suffix."""
_SUFFIX_BY_MIME = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/svg+xml": "svg",
    "text/html": "html",
    "application/pdf": "pdf",
    "application/json": "json",
}
_BASE64_SUFFIXES = {"png", "jpg", "gif", "webp", "pdf"}


def as_file(mime: str, value: object) -> tuple[bytes, str]:
    """One representation of an output as the bytes of a file, and the file's suffix."""
    suffix = _SUFFIX_BY_MIME.get(mime, "txt")
    if not isinstance(value, str):
        return json.dumps(value).encode(), "json"
    if suffix in _BASE64_SUFFIXES:
        try:
            return base64.b64decode("".join(value.split()), validate=True), suffix
        except (binascii.Error, ValueError):
            return value.encode("utf-8", "replace"), "txt"
    return value.encode("utf-8", "replace"), suffix


def size_text(size_bytes: int) -> str:
    """A size for people."""
    if size_bytes < 1_000_000:
        return f"{size_bytes / 1000:.0f} kB"
    return f"{size_bytes / 1_000_000:.1f} MB"


def link_bundle(mime: str, url: str, size_bytes: int, shape: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What stands in a document for a representation that is in a file; ``shape`` has an image's width and height."""
    label = f"{mime}, {size_text(size_bytes)}"
    href = html.escape(url, quote=True)
    kind = KINDS[url.rsplit(".", 1)[-1]]
    text = html.escape(label)
    seen = f'<img src="{href}" alt="{text}"{_sizes(shape or {})} loading="lazy">' if kind.is_image else text
    link = f'<a href="{href}" target="_blank" rel="noopener">{seen}</a>'
    if mime == "text/html":
        frame = f'<iframe src="{href}" sandbox="allow-scripts" loading="lazy" width="100%" height="480"></iframe>'
        link = f"<p>{link}</p>{frame}"
    return {"text/html": link, "text/plain": f"<{label}: {url}>"}


def _sizes(shape: Mapping[str, Any]) -> str:
    return "".join([f' {name}="{shape[name]}"' for name in ("width", "height") if isinstance(shape.get(name), int)])


def refused_bundle(reason: str) -> dict[str, Any]:
    """What stands for an output that could not be kept."""
    return {"text/plain": f"<this output was not kept: {reason}>"}


def rest_bundle(url: str | None, size_bytes: int, tail: str, left_out: int) -> dict[str, Any]:
    """What stands behind a text that goes on in a file.

    Args:
        url: The file; None while the cell runs, empty when it could not be kept.
        size_bytes: The whole text's.
        tail: Its end.
        left_out: Outputs of other kinds that were one too many.
    """
    told = f"The output goes on, {size_text(size_bytes)} in all"
    if left_out:
        told += f"; {left_out} more outputs are told of as text"
    if url is None:
        where_html = where = "a link to the whole comes when the cell is done"
    elif url:
        where = url
        where_html = f'<a href="{html.escape(url, quote=True)}" target="_blank" rel="noopener">the whole text</a>'
    else:
        where_html = where = "the whole could not be kept"
    return {
        "text/html": f"<p><em>{html.escape(told)}: {where_html}.</em> Its end:</p><pre>{html.escape(tail)}</pre>",
        "text/plain": f"{told}: {where}. Its end:\n{tail}",
    }
