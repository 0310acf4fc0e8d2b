"""Checkpoints on their way to a user: copied whole and verified against their manifest, or not there at all.

What a manifest says is in docs/wire.md. The files come from a trial, which may be anybody's program: nothing of them is executed,
and nothing is written outside the target folder.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from seatrial.errors import UsageError

__all__ = ["MANIFEST", "check_target", "copy_checkpoint", "unpack_checkpoint", "verify_checkpoint"]

MANIFEST = "manifest.json"


def verify_checkpoint(folder: Path, *, digest: str = "") -> str:
    """Return the digest of a checkpoint after comparing every file with the manifest.

    Args:
        folder: Holds the files and ``manifest.json``.
        digest: What it must be, where that is known from the trial.

    Raises:
        UsageError: If it is no whole checkpoint, or another one.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        stated = str(manifest["digest"])
        files = {str(entry["path"]): str(entry["sha256"]) for entry in manifest["files"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder} is no checkpoint: its {MANIFEST} cannot be read ({error})") from error
    lines = sorted(f"{path} {sha256}\n".encode() for path, sha256 in files.items())
    if "sha256:" + hashlib.sha256(b"".join(lines)).hexdigest() != stated:
        raise UsageError(f"the digest in {MANIFEST} of {folder} is not that of its list of files: it was changed")
    if digest and digest != stated:
        raise UsageError(f"{folder} is another checkpoint than the trial told: {stated}, not {digest}")
    for path, sha256 in files.items():
        if _digest_of(folder, path) != sha256:
            raise UsageError(f"{path} of the checkpoint {folder} does not match its digest: it was changed or torn")
    return stated


def check_target(target: Path) -> None:
    """Make sure that a checkpoint can be put at *target*.

    Raises:
        UsageError: If something is there already.
    """
    try:
        empty = not target.exists() or (target.is_dir() and not any(target.iterdir()))
    except OSError as error:
        raise UsageError(f"{target} cannot be looked at: {error.strerror}; name another folder") from error
    if not empty:
        raise UsageError(f"{target} exists already; name a folder that does not, nothing is overwritten")


def copy_checkpoint(folder: Path, target: Path, *, digest: str = "") -> None:
    """Copy a checkpoint of this machine to *target* and verify the copy.

    Raises:
        UsageError: If it cannot be copied or is not whole; nothing is left at *target*.
    """
    with _staged(target) as stage:
        try:
            shutil.copytree(folder, stage, dirs_exist_ok=True)
        except (OSError, shutil.Error) as error:
            raise UsageError(f"the checkpoint {folder} cannot be copied: {error}") from error
        verify_checkpoint(stage, digest=digest)


def unpack_checkpoint(stream: BinaryIO, target: Path, *, digest: str = "") -> None:
    """Unpack a tar archive of a checkpoint as it comes and verify it.

    Args:
        stream: Read once, from begin to end.
        target: Where it goes.
        digest: As the trial told it.

    Raises:
        UsageError: If the archive is torn, wants to leave the folder, or holds no whole checkpoint; nothing is left at *target*.
    """
    with _staged(target) as stage:
        try:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                archive.extractall(stage, filter="data")
        except tarfile.TarError as error:
            raise UsageError(f"the checkpoint did not arrive whole: {error}; try again") from error
        verify_checkpoint(stage, digest=digest)


@contextlib.contextmanager
def _staged(target: Path) -> Iterator[Path]:
    """Give a folder beside *target* that takes its place at the end, or vanishes."""
    check_target(target)
    try:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.absolute().parent))
    except OSError as error:
        raise UsageError(f"{target} cannot be made: {error.strerror}; name another folder") from error
    try:
        yield stage
        stage.chmod(0o755)
        if target.is_dir():
            target.rmdir()
        stage.rename(target)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _digest_of(folder: Path, name: str) -> str:
    relative = PurePosixPath(name)
    path = folder / relative
    if relative.is_absolute() or ".." in relative.parts or path.is_symlink():
        raise UsageError(f"the checkpoint {folder} lists {name!r}, which is no file inside it")
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{os.fspath(path)} of the checkpoint cannot be read: {error.strerror}") from error
