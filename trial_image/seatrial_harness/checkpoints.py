"""Immutable checkpoint folders: written aside, synced, sealed by a manifest of digests, renamed into place.

Files are synced, folders are not: a rename that a power cut takes back costs one checkpoint, and syncing them would cost as much
as all the rest. A folder without a manifest, or whose digests differ, does not exist (docs/wire.md). Must not know what the files mean.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

__all__ = ["MANIFEST", "Checkpoint", "CheckpointError", "CheckpointStore", "checkpoint_digest", "read_checkpoint"]

MANIFEST = "manifest.json"
_BLOCK_BYTES = 1 << 20


class CheckpointError(Exception):
    """A checkpoint is torn, was changed, or cannot be read back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A verified checkpoint.

    Attributes:
        step: Training progress when it was written.
        digest: ``sha256:`` and the digest over the files, see :func:`checkpoint_digest`.
        path: Its folder.
        inherited: Whether it is another trial's, given as the parent to start from.
    """

    step: int
    digest: str
    path: Path
    inherited: bool = False


def checkpoint_digest(digests: dict[str, str]) -> str:
    """Return the digest of a checkpoint from its files' hexadecimal SHA-256 by relative path.

    It is the SHA-256 of the lines ``<path> <sha256>``, each ended by a newline, sorted by path as bytes.
    """
    lines = sorted(f"{path} {digest}\n".encode() for path, digest in digests.items())
    return "sha256:" + hashlib.sha256(b"".join(lines)).hexdigest()


def read_checkpoint(folder: Path) -> Checkpoint:
    """Verify every file of a checkpoint folder against its manifest.

    Raises:
        CheckpointError: If anything differs; says what.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        step, stated = int(manifest["step"]), str(manifest["digest"])
        digests = {str(entry["path"]): str(entry["sha256"]) for entry in manifest["files"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"the checkpoint {folder} has no readable {MANIFEST}: {error}") from error
    if checkpoint_digest(digests) != stated:
        raise CheckpointError(f"the checkpoint {folder} has a {MANIFEST} whose digest does not match its list of files")
    for name, digest in digests.items():
        if _digest_within(folder, name) != digest:
            raise CheckpointError(f"the checkpoint {folder} was changed: {name} does not match its digest")
    return Checkpoint(step=step, digest=stated, path=folder)


def _digest_within(folder: Path, name: str) -> str:
    relative = PurePosixPath(name)
    path = folder / relative
    if relative.is_absolute() or ".." in relative.parts or path.is_symlink():
        raise CheckpointError(f"the checkpoint {folder} lists {name!r}, which is not a file inside it")
    try:
        return _digest_file(path)
    except OSError as error:
        raise CheckpointError(f"the checkpoint {folder} cannot be read: {name}: {error.strerror or error}") from error


def _digest_file(path: Path, *, sync: bool = False) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
        if sync:
            os.fsync(file.fileno())
    return digest.hexdigest()


class CheckpointStore:
    """The checkpoints of one trial, ``step-<n>/`` under one folder, written by one process at a time."""

    def __init__(self, root: Path, clock: Callable[[], float]) -> None:
        self.root = root
        self._clock = clock
        self._swept = False

    def begin(self, step: int) -> Path:
        """Return a new empty folder to write the files of *step* into.

        Raises:
            OSError: If it cannot be made.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        if not self._swept:
            self._sweep()
        folder = self.root / f".step-{step}.{os.getpid()}.tmp"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def commit(self, folder: Path, step: int) -> Checkpoint:
        """Seal a folder of :meth:`begin` and rename it into place.

        Raises:
            OSError: If anything cannot be written; nothing is left that a reader would take for a checkpoint.
        """
        files = sorted(
            path for path in folder.rglob("*") if path.is_file() and not path.is_symlink() and path != folder / MANIFEST
        )
        digests = {path.relative_to(folder).as_posix(): _digest_file(path, sync=True) for path in files}
        entries = [{"path": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size} for path in files]
        for entry in entries:
            entry["sha256"] = digests[str(entry["path"])]
        digest = checkpoint_digest(digests)
        manifest = {"v": 1, "step": step, "digest": digest, "files": entries, "time": round(self._clock(), 3)}
        with (folder / MANIFEST).open("wb") as file:
            file.write(json.dumps(manifest, indent=1).encode())
            file.flush()
            os.fsync(file.fileno())
        target = self.root / f"step-{step}"
        self._put_in_place(folder, target)
        return Checkpoint(step=step, digest=digest, path=target)

    def discard(self, folder: Path) -> None:
        """Remove an unfinished folder of :meth:`begin`."""
        shutil.rmtree(folder, ignore_errors=True)

    def steps(self) -> list[int]:
        """Return the steps that have a folder, newest first; whether they are whole is not checked."""
        try:
            names = [entry.name for entry in self.root.iterdir()]
        except OSError:
            return []
        return sorted(
            (int(name[5:]) for name in names if name.startswith("step-") and name[5:].isdecimal()), reverse=True
        )

    def newest(self, refused: Callable[[CheckpointError], None], parent: Path | None = None) -> Checkpoint | None:
        """Return the newest whole checkpoint, or the parent's when there is none, or None.

        Args:
            refused: Told about each newer one that had to be passed over.
            parent: Another trial's checkpoint folder to start from.

        Raises:
            CheckpointError: If the parent's is needed and not whole: training on without it would be another trial.
        """
        for step in self.steps():
            try:
                return read_checkpoint(self.root / f"step-{step}")
            except CheckpointError as error:
                refused(error)
        return replace(read_checkpoint(parent), inherited=True) if parent is not None else None

    def prune(self, keep: int, rungs: frozenset[int]) -> None:
        """Remove all but the newest *keep* checkpoints and those at rungs."""
        for step in self.steps()[max(1, keep) :]:
            if step not in rungs:
                self._remove(self.root / f"step-{step}")

    def _put_in_place(self, folder: Path, target: Path) -> None:
        aside = folder.with_suffix(".old")
        replaced = target.exists()
        if replaced:
            target.rename(aside)
        folder.rename(target)
        if replaced:
            shutil.rmtree(aside, ignore_errors=True)

    def _remove(self, folder: Path) -> None:
        # The manifest goes first: a half removed folder is then no checkpoint for anybody.
        with contextlib.suppress(OSError):
            (folder / MANIFEST).unlink()
        shutil.rmtree(folder, ignore_errors=True)

    def _sweep(self) -> None:
        # What an earlier attempt left when it was killed while saving.
        self._swept = True
        for leftover in self.root.glob(".step-*"):
            shutil.rmtree(leftover, ignore_errors=True)
