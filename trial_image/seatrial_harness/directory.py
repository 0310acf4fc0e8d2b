"""Checkpoints in a directory: ``<trial>/<attempt>/step-<n>/``, written aside, synced, renamed into place, read where they lie.

Each attempt writes into its own folder, so that one that is believed dead cannot harm another. Must not decide which checkpoints stay.
"""

import contextlib
import hashlib
import os
import shutil
import stat
import time
from pathlib import Path

from seatrial_harness.manifest import MANIFEST, CheckpointError, Manifest, Mark, check_step, parse_manifest

__all__ = ["ABANDONED_SECONDS", "DirectoryPlace", "digest_file", "list_files", "verify_folder"]

ABANDONED_SECONDS = 3600.0
"""An unfinished checkpoint of another attempt that nobody has written to for so long is rubbish: that attempt may still be alive."""

_BLOCK_BYTES = 1 << 20
_STAGED = ".step-"


class DirectoryPlace:
    """The checkpoints of one trial below one directory: on a laptop, or on a volume that all trials of a study share."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._writes: int | None = None

    @property
    def address(self) -> str:
        """The directory of the trial."""
        return str(self._root)

    def beside(self, trial: str) -> "DirectoryPlace":
        """Return the place of another trial of the same study."""
        return DirectoryPlace(self._root.with_name(trial))

    def stage(self, mark: Mark) -> Path:
        """Return a new empty folder beside where the checkpoint will lie, so that a rename puts it in place."""
        self._writes = mark.attempt
        folder = self._root / str(mark.attempt) / f"{_STAGED}{mark.step}.{os.getpid()}.tmp"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            shutil.rmtree(folder)
            folder.mkdir()
        return folder

    def put(self, staged: Path, manifest: Manifest) -> Path:
        """Sync the files, write the manifest, rename the folder; nothing of the same step is harmed before that."""
        for entry in manifest.files:
            _sync(staged / entry.path)
        with (staged / MANIFEST).open("wb") as file:
            file.write(manifest.to_json())
            file.flush()
            os.fsync(file.fileno())
        target = self._root / Mark(manifest.step, manifest.attempt).path
        aside = staged.with_suffix(".old") if target.exists() else None
        if aside is not None:
            # A step that was saved before: only an empty folder gives way to a rename.
            target.rename(aside)
        staged.rename(target)
        if aside is not None:
            _remove_tree(aside)
        return target

    def settle(self, mark: Mark) -> None:
        """Sync the folders that hold the checkpoint's name."""
        folder = self._root / mark.path
        for each in (folder, folder.parent, self._root):
            _sync(each)

    def marks(self) -> list[Mark]:
        """Return the folders that look like checkpoints, newest first."""
        found = []
        for attempt in _names(self._root):
            if attempt.isdecimal():
                found += [Mark.parse(f"{attempt}/{name}") for name in _names(self._root / attempt)]
        return sorted(filter(None, found), reverse=True)

    def survey(self) -> dict[str, list[Mark]]:
        """Return the checkpoints of every trial that has a folder beside this one, this one among them."""
        names = [name for name in _names(self._root.parent) if not name.startswith(".")]
        return {name: self.beside(name).marks() for name in names}

    def read(self, mark: Mark) -> tuple[Manifest, Path]:
        """Verify a checkpoint where it lies; nothing is copied."""
        folder = self._root / mark.path
        manifest = verify_folder(folder)
        check_step(manifest, mark, folder)
        return manifest, folder / manifest.part

    def remove(self, mark: Mark) -> int:
        """Remove a checkpoint: without its manifest it is none for anybody, however far the rest gets."""
        folder, size = self._root / mark.path, 0
        with contextlib.suppress(FileNotFoundError):
            manifest = folder / MANIFEST
            size = manifest.lstat().st_size
            manifest.unlink()
        size += _remove_tree(folder)
        if mark.attempt != self._writes:
            _remove_if_empty(folder.parent)
        return size

    def sweep(self, attempt: int | None = None) -> int:
        """Remove unfinished checkpoints: all of one attempt, or those of every attempt that nobody has written to for an hour."""
        freed = 0
        for number in [str(attempt)] if attempt is not None else list(_names(self._root)):
            for name in _names(self._root / number) if number.isdecimal() else ():
                folder = self._root / number / name
                if name.startswith(_STAGED) and (attempt is not None or _is_abandoned(folder)):
                    freed += _remove_tree(folder)
            if attempt is None:
                _remove_if_empty(self._root / number)
        return freed

    def close(self) -> None:
        """Nothing lies anywhere else."""


def verify_folder(folder: Path) -> Manifest:
    """Verify every file of a checkpoint folder against its manifest.

    Raises:
        CheckpointError: If anything differs; says what.
    """
    try:
        content = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise CheckpointError(f"the checkpoint {folder} has no readable {MANIFEST}: {error}") from error
    manifest = parse_manifest(content, folder)
    for entry in manifest.files:
        path = folder / manifest.part / entry.path
        if any(part.is_symlink() for part in (path, *path.parents[: len(Path(entry.path).parts) - 1])):
            raise CheckpointError(f"the checkpoint {folder} lists {entry.path!r}, which is not a file inside it")
        try:
            same = digest_file(path) == entry.sha256
        except OSError as error:
            raise CheckpointError(
                f"the checkpoint {folder} cannot be read: {entry.path}: {error.strerror or error}"
            ) from error
        if not same:
            raise CheckpointError(f"the checkpoint {folder} was changed: {entry.path} does not match its digest")
    return manifest


def list_files(folder: Path) -> list[tuple[str, int]]:
    """Return path inside *folder* and size of every regular file in it; links are none.

    Raises:
        OSError: If it cannot be read.
    """
    found: list[tuple[str, int]] = []
    left = [""]
    while left:
        inside = left.pop()
        with os.scandir(folder / inside) as entries:
            for entry in entries:
                held = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(held.st_mode):
                    left.append(f"{inside}{entry.name}/")
                elif stat.S_ISREG(held.st_mode):
                    found.append((f"{inside}{entry.name}", held.st_size))
    return found


def digest_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file.

    Raises:
        OSError: If it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are all that is wanted
    except (FileNotFoundError, NotADirectoryError):
        return []


def _remove_tree(folder: Path) -> int:
    """Remove a folder as far as possible, in one pass, and return the bytes freed."""
    size = 0
    for parent, folders, names in os.walk(folder, topdown=False):
        for name in (*names, *folders):
            path = f"{parent}/{name}"
            with contextlib.suppress(OSError):
                held = os.lstat(path)
                if stat.S_ISDIR(held.st_mode):
                    os.rmdir(path)  # noqa: PTH106 - a third of the time that Path takes
                else:
                    os.unlink(path)  # noqa: PTH108
                    size += held.st_size
    _remove_if_empty(folder)
    return size


def _is_abandoned(folder: Path) -> bool:
    newest = 0.0
    for parent, _, names in os.walk(folder):
        for path in (parent, *(f"{parent}/{name}" for name in names)):
            with contextlib.suppress(OSError):
                newest = max(newest, Path(path).lstat().st_mtime)
    return time.time() - newest > ABANDONED_SECONDS


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
