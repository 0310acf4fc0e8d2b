"""Checkpoints on their way to a user: whole and verified, or not there at all."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from seatrial.adapters.checkpoint import copy_checkpoint, unpack_checkpoint, verify_checkpoint
from seatrial.errors import UsageError


def a_checkpoint(folder: Path, **files: str) -> str:
    """Write a checkpoint as the harness does and return its digest."""
    folder.mkdir(parents=True)
    entries = []
    for name, text in (files or {"state.pt": "weights", "notes": "n"}).items():
        (folder / name).write_text(text)
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        entries.append({"path": name, "bytes": len(text), "sha256": sha256})
    lines = sorted(f"{entry['path']} {entry['sha256']}\n".encode() for entry in entries)
    digest = "sha256:" + hashlib.sha256(b"".join(lines)).hexdigest()
    (folder / "manifest.json").write_text(json.dumps({"v": 1, "step": 9, "digest": digest, "files": entries}))
    return digest


def packed(folder: Path) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(folder, arcname=".")
    return stream.getvalue()


def _nothing_but(folder: Path, *names: str) -> bool:
    return sorted(entry.name for entry in folder.iterdir()) == sorted(names)


def test_a_copy_has_every_file_and_the_same_digest(tmp_path: Path) -> None:
    digest = a_checkpoint(tmp_path / "step-9")

    copy_checkpoint(tmp_path / "step-9", tmp_path / "to/winner", digest=digest)

    assert verify_checkpoint(tmp_path / "to/winner") == digest
    assert (tmp_path / "to/winner/state.pt").read_text() == "weights"
    assert _nothing_but(tmp_path / "to", "winner")


def test_an_archive_is_unpacked_as_it_comes(tmp_path: Path) -> None:
    digest = a_checkpoint(tmp_path / "step-9")

    unpack_checkpoint(io.BytesIO(packed(tmp_path / "step-9")), tmp_path / "winner", digest=digest)

    assert verify_checkpoint(tmp_path / "winner") == digest


def test_an_empty_folder_may_be_the_target(tmp_path: Path) -> None:
    a_checkpoint(tmp_path / "step-9")
    (tmp_path / "winner").mkdir()

    copy_checkpoint(tmp_path / "step-9", tmp_path / "winner")

    assert (tmp_path / "winner/notes").exists()


def _torn(folder: Path) -> None:
    (folder / "state.pt").write_text("weight")


def _without_a_file(folder: Path) -> None:
    (folder / "state.pt").unlink()


def _without_a_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def _with_another_list(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = manifest["files"][:1]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _with_a_link(folder: Path) -> None:
    (folder / "state.pt").rename(folder / "other")
    (folder / "state.pt").symlink_to("other")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_torn, "does not match its digest"),
        (_without_a_file, "cannot be read"),
        (_without_a_manifest, "manifest.json cannot be read"),
        (_with_another_list, "not that of its list of files"),
        (_with_a_link, "no file inside it"),
    ],
)
def test_what_is_not_whole_leaves_nothing_behind(tmp_path: Path, change, words: str) -> None:
    a_checkpoint(tmp_path / "step-9")
    change(tmp_path / "step-9")

    with pytest.raises(UsageError, match=words):
        unpack_checkpoint(io.BytesIO(packed(tmp_path / "step-9")), tmp_path / "winner")

    assert _nothing_but(tmp_path, "step-9")


def test_another_checkpoint_than_the_trial_told_is_refused(tmp_path: Path) -> None:
    a_checkpoint(tmp_path / "step-9")

    with pytest.raises(UsageError, match="another checkpoint than the trial told"):
        copy_checkpoint(tmp_path / "step-9", tmp_path / "winner", digest="sha256:00")


def test_a_manifest_cannot_name_files_outside_its_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    sha256 = hashlib.sha256(b"s").hexdigest()
    digest = "sha256:" + hashlib.sha256(f"../secret {sha256}\n".encode()).hexdigest()
    (tmp_path / "step-9").mkdir()
    files = [{"path": "../secret", "bytes": 1, "sha256": sha256}]
    (tmp_path / "step-9/manifest.json").write_text(json.dumps({"digest": digest, "files": files}))

    with pytest.raises(UsageError, match="no file inside it"):
        verify_checkpoint(tmp_path / "step-9")


def test_an_archive_that_breaks_off_leaves_nothing_behind(tmp_path: Path) -> None:
    a_checkpoint(tmp_path / "step-9", state="x" * 50_000)

    with pytest.raises(UsageError, match="did not arrive whole"):
        unpack_checkpoint(io.BytesIO(packed(tmp_path / "step-9")[:30_000]), tmp_path / "winner")

    assert _nothing_but(tmp_path, "step-9")


def test_an_archive_cannot_write_outside_its_folder(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo("../evil")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))

    with pytest.raises(UsageError, match="did not arrive whole"):
        unpack_checkpoint(io.BytesIO(stream.getvalue()), tmp_path / "winner")

    assert _nothing_but(tmp_path)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    a_checkpoint(tmp_path / "step-9")
    (tmp_path / "winner").mkdir()
    (tmp_path / "winner/mine").write_text("precious")

    with pytest.raises(UsageError, match="exists already"):
        copy_checkpoint(tmp_path / "step-9", tmp_path / "winner")

    assert (tmp_path / "winner/mine").read_text() == "precious"
