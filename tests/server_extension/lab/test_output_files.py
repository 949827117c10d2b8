"""Files of outputs: named by content, bounded, and the ones longest not asked for go first."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from collabkernel_server.lab.output_files import OutputFiles

ADDRESS = "/base/outputs/"


def make(folder: Path, total_bytes: int = 10_000, file_bytes: int = 5_000) -> OutputFiles:
    return OutputFiles(folder / "outputs", ADDRESS, total_bytes, file_bytes)


def name_of(url: str) -> str:
    assert url.startswith(ADDRESS)
    return url.removeprefix(ADDRESS)


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "outputs").glob("**/*") if path.is_file())


def test_file_is_found_by_the_hash_of_its_content(tmp_path: Path) -> None:
    files = make(tmp_path)

    url = files.put(b"content", "txt")

    assert url == f"{ADDRESS}{hashlib.sha256(b'content').hexdigest()}.txt"
    path = files.find(name_of(url))
    assert path is not None
    assert path.read_bytes() == b"content"
    assert files.put(b"content", "txt") == url
    assert len(kept(tmp_path)) == 1
    assert (tmp_path / "outputs").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "name", ["", "../secret.txt", "a" * 64, "a" * 64 + ".exe", "a" * 64 + ".txt", "A" * 64 + ".txt"]
)
def test_other_names_find_nothing(tmp_path: Path, name: str) -> None:
    assert make(tmp_path).find(name) is None


def test_folder_over_its_bound_loses_what_was_longest_not_asked_for(tmp_path: Path) -> None:
    files = make(tmp_path)
    urls = [files.put(bytes([index]) * 3000, "bin") for index in range(3)]
    for age, url in enumerate(urls):
        path = files.find(name_of(url))
        assert path is not None
        os.utime(path, (1000 - age, 1000 - age))
    assert files.find(name_of(urls[2]))  # the oldest, but for this

    newest = files.put(b"n" * 3000, "bin")

    assert [files.find(name_of(url)) is not None for url in (*urls, newest)] == [True, False, True, True]


def test_bound_holds_for_what_an_earlier_server_left(tmp_path: Path) -> None:
    for index in range(3):
        make(tmp_path).put(bytes([index]) * 3000, "bin")

    make(tmp_path, total_bytes=5000).put(b"n" * 3000, "bin")

    assert len(kept(tmp_path)) == 1


def test_text_written_in_pieces_is_one_file(tmp_path: Path) -> None:
    files = make(tmp_path)
    spool = files.spool()
    for piece in ("one ", "zw\u00f6lf ", "three"):
        spool.write(piece)
    url = spool.close()

    path = files.find(name_of(url))
    assert path is not None
    assert path.read_text() == "one zw\u00f6lf three"
    assert spool.size_bytes == 16


def test_text_over_the_largest_file_is_cut_and_counted(tmp_path: Path) -> None:
    files = make(tmp_path)
    spool = files.spool()
    for _ in range(3):
        spool.write("x" * 2000)

    path = files.find(name_of(spool.close()))
    assert path is not None
    assert path.stat().st_size == 5000
    assert spool.size_bytes == 6000


def test_discarded_text_leaves_nothing(tmp_path: Path) -> None:
    spool = make(tmp_path).spool()
    spool.write("x")
    spool.discard()

    assert kept(tmp_path) == []


def test_only_what_is_too_large_leaves_a_bundle(tmp_path: Path) -> None:
    files = make(tmp_path)
    data = {"text/html": "<b>" * 1000, "text/plain": "small", "application/x+json": {"a": 1}}

    fitting = files.offload(data, 1000)

    assert fitting["text/plain"] == "small"
    assert fitting["application/x+json"] == {"a": 1}
    name = fitting["text/html"].split(ADDRESS)[1].split('"')[0]
    path = files.find(name)
    assert path is not None
    assert path.read_text() == "<b>" * 1000


def test_output_that_cannot_be_kept_says_so(tmp_path: Path) -> None:
    files = make(tmp_path)

    assert "over 5000" in files.offload({"text/plain": "x" * 6000}, 100)["text/plain"]

    (tmp_path / "outputs").write_text("no folder")
    assert "not kept" in files.offload({"text/plain": "x" * 600}, 100)["text/plain"]
    spool = files.spool()
    spool.write("text")
    assert spool.close() == ""
