"""Where the checkpoints of one trial lie, as the store sees it; a directory and an object store each keep this promise.

A checkpoint is there as soon as its manifest is, and the manifest comes last and goes first. Must not know steps to keep or to load.
"""

from pathlib import Path
from typing import Protocol

from seatrial_harness.directory import DirectoryPlace
from seatrial_harness.manifest import Manifest, Mark
from seatrial_harness.objects import ObjectPlace

__all__ = ["Place", "open_place"]


class Place(Protocol):
    """The checkpoints of one trial, of all of its attempts."""

    @property
    def address(self) -> str:
        """Directory or URL of the trial."""
        ...

    def beside(self, trial: str) -> "Place":
        """Return the place of another trial of the same study."""
        ...

    def stage(self, mark: Mark) -> Path:
        """Return a new empty folder on this machine for the files of a checkpoint.

        Raises:
            OSError: If it cannot be made.
        """
        ...

    def put(self, staged: Path, manifest: Manifest) -> Path:
        """Put a staged checkpoint in place, whole or not at all, and return the folder of its files on this machine.

        Raises:
            OSError: If it cannot be written; then no reader sees any of it.
        """
        ...

    def settle(self, mark: Mark) -> None:
        """Return when a checkpoint that was put survives a power cut.

        Raises:
            OSError: If that cannot be promised.
        """
        ...

    def marks(self) -> list[Mark]:
        """Return the checkpoints that seem to be there, newest first; whether they are whole is not checked.

        Raises:
            OSError: If the place does not answer. A place that is empty or was never written to has none.
        """
        ...

    def survey(self) -> dict[str, list[Mark]]:
        """Return the checkpoints of every trial that has a place beside this one, itself among them, newest first.

        Raises:
            OSError: If the place does not answer.
        """
        ...

    def read(self, mark: Mark) -> tuple[Manifest, Path]:
        """Verify a checkpoint, bring it to this machine where it is not, and return its manifest and the folder of its files.

        Raises:
            CheckpointError: If it is gone, torn or changed.
            OSError: If the place does not answer.
        """
        ...

    def remove(self, mark: Mark) -> int:
        """Remove a checkpoint, its manifest first, and return the bytes freed.

        Raises:
            OSError: If it cannot be removed.
        """
        ...

    def sweep(self, attempt: int | None = None) -> int:
        """Remove what killed saves left unfinished in one attempt, or in all, and return the bytes freed."""
        ...

    def close(self) -> None:
        """Remove what was put on this machine for a while."""
        ...


def open_place(address: str) -> Place:
    """Return the place at a directory or a URL that fsspec knows, ``s3://bucket/prefix``.

    Raises:
        ValueError: If the URL's back end is not installed; says which package to install.
    """
    if address.startswith("file://"):
        return DirectoryPlace(Path(address.removeprefix("file://")))
    return ObjectPlace(address) if "://" in address else DirectoryPlace(Path(address))
