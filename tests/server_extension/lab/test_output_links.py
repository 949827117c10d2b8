"""How outputs in files look in a notebook, and as what they are served."""

from __future__ import annotations

import base64

import pytest
from collabkernel_server.lab.output_links import KINDS, Kind, as_file, link_bundle, rest_bundle, size_text

pytestmark = pytest.mark.core
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("mime", "value", "content", "suffix"),
    [
        ("image/png", base64.encodebytes(PNG).decode(), PNG, "png"),
        ("image/png", "no base64!", b"no base64!", "txt"),
        ("image/svg+xml", "<svg/>", b"<svg/>", "svg"),
        ("text/html", "<b>", b"<b>", "html"),
        ("application/vnd.x+json", {"a": [1]}, b'{"a": [1]}', "json"),
        ("application/javascript", "alert()", b"alert()", "txt"),
        ("text/plain", "\ud800", b"?", "txt"),
    ],
)
def test_representation_becomes_a_file(mime: str, value: object, content: bytes, suffix: str) -> None:
    assert as_file(mime, value) == (content, suffix)


def test_image_is_fetched_when_it_is_seen() -> None:
    bundle = link_bundle("image/png", '/base/outputs/a"b.png', 2_000_000)

    assert '<img src="/base/outputs/a&quot;b.png"' in bundle["text/html"]
    assert 'loading="lazy"' in bundle["text/html"]
    assert bundle["text/plain"] == '<image/png, 2.0 MB: /base/outputs/a"b.png>'


def test_image_has_the_size_that_was_asked_for() -> None:
    bundle = link_bundle("image/png", "/o/a.png", 10, {"width": 200, "height": '1" onload=', "unconfined": True})

    assert ' width="200" loading' in bundle["text/html"]


def test_page_is_framed_without_this_servers_origin() -> None:
    bundle = link_bundle("text/html", "/outputs/a.html", 10)

    assert 'sandbox="allow-scripts"' in bundle["text/html"]
    assert "allow-same-origin" not in bundle["text/html"]


def test_name_of_a_kind_cannot_be_markup() -> None:
    assert "<script>" not in link_bundle("<script>", "/outputs/a.txt", 10)["text/html"]


def test_text_that_goes_on_tells_where() -> None:
    assert "when the cell is done" in rest_bundle(None, 1000, "<end>", 0)["text/html"]
    assert "&lt;end&gt;" in rest_bundle(None, 1000, "<end>", 0)["text/html"]
    assert 'href="/o/a.txt"' in rest_bundle("/o/a.txt", 1000, "end", 0)["text/html"]
    assert "could not be kept" in rest_bundle("", 1000, "end", 0)["text/plain"]


@pytest.mark.parametrize("kind", KINDS.values())
def test_nothing_is_served_with_this_servers_rights(kind: Kind) -> None:
    assert kind.policy.startswith("sandbox")
    assert "allow-same-origin" not in kind.policy


def test_sizes_are_for_people() -> None:
    assert size_text(1234) == "1 kB"
    assert size_text(12_345_678) == "12.3 MB"
