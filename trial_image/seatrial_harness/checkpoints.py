"""The checkpoints of one trial: immutable, sealed by digests, the newest whole one found again, superseded ones removed.

Attempts do not share a folder: an old process that is not quite dead never writes into the checkpoints of its successor, and readers
take the newest whole checkpoint by step, then by attempt (docs/checkpoints.md). Must not know what the files mean.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from seatrial_harness.directory import digest_file, list_files, verify_folder
from seatrial_harness.manifest import (
    MANIFEST,
    CheckpointError,
    CheckpointsUnreachable,
    Entry,
    Manifest,
    Mark,
    ParentCheckpointCorrupt,
    ParentCheckpointMissing,
    build_manifest,
    same_assignment,
)
from seatrial_harness.places import Place, open_place

__all__ = ["Checkpoint", "CheckpointStore", "Parent", "read_checkpoint", "read_parent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A verified checkpoint.

    Attributes:
        step: Training progress when it was written.
        attempt: The attempt that wrote it.
        digest: ``sha256:`` and the digest over the files.
        path: The folder of its files on this machine: where it lies, or a copy of what an object store holds.
        inherited: Whether it is another trial's, given as the parent to start from.
        reports: What its trial had reported by then; None where that is not known.
    """

    step: int
    attempt: int = 0
    digest: str
    path: Path
    inherited: bool = False
    reports: Mapping[str, object] | None = None

    @property
    def mark(self) -> Mark:
        """Which of its trial's checkpoints it is."""
        return Mark(self.step, self.attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The checkpoint of another trial to start from.

    Attributes:
        address: Directory or URL of that trial; of the checkpoint itself where *step* is None.
        step: Its step.
        digest: What its digest must be; empty for any.
    """

    address: str
    step: int | None = None
    digest: str = ""


class CheckpointStore:
    """The checkpoints of one trial, written by one of its attempts.

    Args:
        place: Where they lie.
        attempt: The attempt that writes here.
        clock: Unix time in seconds.
        assignment: What the study assigned to the trial: a checkpoint of another one is not its own.
    """

    def __init__(
        self,
        place: Place,
        attempt: int,
        clock: Callable[[], float],
        assignment: Mapping[str, object] | None = None,
    ) -> None:
        self._place, self._attempt, self._clock, self._assignment = place, attempt, clock, assignment
        self._strange: set[Mark] = set()
        self._swept = False
        self._restored: Mark | None = None
        self._saved: Mark | None = None

    @property
    def place(self) -> Place:
        """Where they lie."""
        return self._place

    def begin(self, step: int) -> Path:
        """Return a new empty folder to write the files of *step* into.

        Raises:
            OSError: If it cannot be made.
        """
        if not self._swept:
            # What was left when this attempt, or an earlier one long ago, was killed while saving.
            self._place.sweep(self._attempt)
            self._place.sweep()
            self._swept = True
        return self._place.stage(Mark(step, self._attempt))

    def commit(
        self,
        folder: Path,
        step: int,
        known: Mapping[str, str] | None = None,
        reports: Mapping[str, object] | None = None,
    ) -> Checkpoint:
        """Seal a folder of :meth:`begin` and put it in place.

        Args:
            folder: With its files.
            step: Training progress.
            known: Hexadecimal SHA-256 by relative path of files that were hashed while they were written.
            reports: What was reported until now.

        Raises:
            OSError: If anything cannot be written; nothing is left that a reader would take for a checkpoint.
        """
        known = known or {}
        entries = [
            Entry(path=name, size=size, sha256=known.get(name) or digest_file(folder / name))
            for name, size in list_files(folder)
            if name != MANIFEST
        ]
        mark = Mark(step, self._attempt)
        manifest = build_manifest(mark, entries, round(self._clock(), 3), reports, self._assignment)
        path = self._place.put(folder, manifest)
        self._saved = mark
        self._strange.discard(mark)
        return _checkpoint(manifest, path)

    def discard(self, folder: Path) -> None:
        """Remove an unfinished folder of :meth:`begin`."""
        shutil.rmtree(folder, ignore_errors=True)

    def settle(self, checkpoint: Checkpoint) -> None:
        """Return when a checkpoint survives a power cut: before anybody is told of it.

        Raises:
            OSError: If that cannot be promised.
        """
        self._place.settle(checkpoint.mark)

    def marks(self) -> list[Mark]:
        """Return what seems to be there, newest first.

        Raises:
            CheckpointsUnreachable: If nobody can say. To go on as if there were none would train everything again.
        """
        try:
            return self._place.marks()
        except OSError as error:
            raise _unreachable(self._place, error) from error

    def newest(self, refused: Callable[[CheckpointError], None]) -> Checkpoint | None:
        """Return the newest whole checkpoint, None when there is none.

        Args:
            refused: Told about each newer one that had to be passed over.

        Raises:
            CheckpointsUnreachable: If the place does not answer.
        """
        for mark in self.marks():
            try:
                manifest, folder = self._place.read(mark)
            except CheckpointError as error:
                refused(error)
            except OSError as error:
                raise _unreachable(self._place, error) from error
            else:
                if not same_assignment(manifest.assignment, self._assignment):
                    # The record of that trial was lost, and the search put another one in its place.
                    self._strange.add(mark)
                    refused(CheckpointError(f"{folder} is of an earlier trial of this name, with other parameters"))
                    continue
                self._restored = mark
                return _checkpoint(manifest, folder, attempt=mark.attempt)
        return None

    def prune(self, keep: int, rungs: frozenset[int]) -> int:
        """Remove what this attempt and earlier ones have superseded; return the bytes freed.

        There stay: the newest *keep*, also of this attempt alone (newer ones of an earlier one may be torn), the one just saved, those at
        rungs, the one that this attempt went on from, and the last one of each earlier attempt, which the record of its end may name and
        another trial may start from. Those of later attempts are not this one's to remove. Of an earlier trial of this name nothing stays.

        Raises:
            OSError: If the place does not answer.
        """
        found = [mark for mark in self._place.marks() if mark.attempt <= self._attempt]
        marks = [mark for mark in found if mark not in self._strange]
        own = [mark for mark in marks if mark.attempt == self._attempt]
        lasts = {mark.attempt: mark for mark in reversed(marks) if mark.attempt < self._attempt}
        stay = {*marks[: max(1, keep)], *own[: max(1, keep)], *lasts.values(), self._restored, self._saved}
        gone = [mark for mark in marks if mark not in stay and mark.step not in rungs]
        return sum(map(self._place.remove, [*gone, *(mark for mark in found if mark in self._strange)]))


def read_parent(parent: Parent) -> Checkpoint:
    """Return the verified checkpoint of another trial; on a shared directory it is read where it lies.

    Raises:
        ParentCheckpointMissing: If it is not there.
        ParentCheckpointCorrupt: If it is there and not whole.
        CheckpointsUnreachable: If the place does not answer.
    """
    if parent.step is None:
        return _read_named(parent)
    place = open_place(parent.address)
    wrong: list[str] = []
    try:
        for mark in place.marks():
            if mark.step != parent.step:
                continue
            try:
                manifest, folder = place.read(mark)
            except CheckpointError as error:
                wrong.append(str(error))
                continue
            # Two attempts may have saved the same step: the digest says which of them was chosen.
            if parent.digest in {"", manifest.digest}:
                return replace(_checkpoint(manifest, folder, attempt=mark.attempt), inherited=True)
            wrong.append(f"{parent.address}/{mark.path} has the digest {manifest.digest}, not {parent.digest}")
    except OSError as error:
        raise _unreachable(place, error) from error
    if wrong:
        raise ParentCheckpointCorrupt(f"the parent's checkpoint of step {parent.step} is not whole: {'; '.join(wrong)}")
    raise ParentCheckpointMissing(
        f"{parent.address} has no checkpoint of step {parent.step}, from which this trial is to start; keep checkpoints until no "
        "trial needs them, on a volume or an object store that all trials share"
    )


def read_checkpoint(address: Path | str) -> Checkpoint:
    """Return the checkpoint in one folder, or at one URL, verified.

    Raises:
        CheckpointError: If anything differs; says what.
    """
    folder = Path(address) if isinstance(address, str) and "://" not in address else address
    if isinstance(folder, Path):
        manifest = verify_folder(folder)
        return _checkpoint(manifest, folder / manifest.part)
    trial, _, rest = folder.rstrip("/").rpartition("/")
    trial, _, attempt = trial.rpartition("/")
    mark = Mark.parse(f"{attempt}/{rest}")
    if mark is None:
        raise CheckpointError(f"{folder} is no checkpoint; name one as …/<trial>/<attempt>/step-<n>")
    place = open_place(trial)
    try:
        manifest, local = place.read(mark)
    except OSError as error:
        raise _unreachable(place, error) from error
    return _checkpoint(manifest, local)


def _read_named(parent: Parent) -> Checkpoint:
    if "://" not in parent.address and not Path(parent.address).exists():
        raise ParentCheckpointMissing(f"the parent's checkpoint {parent.address} is not there")
    try:
        return replace(read_checkpoint(parent.address), inherited=True)
    except CheckpointsUnreachable:
        raise
    except CheckpointError as error:
        raise ParentCheckpointCorrupt(str(error)) from error


def _checkpoint(manifest: Manifest, folder: Path, attempt: int | None = None) -> Checkpoint:
    return Checkpoint(
        step=manifest.step,
        attempt=manifest.attempt if attempt is None else attempt,
        digest=manifest.digest,
        path=folder,
        reports=manifest.reports,
    )


def _unreachable(place: Place, error: OSError) -> CheckpointsUnreachable:
    return CheckpointsUnreachable(f"the checkpoints at {place.address} cannot be read: {error.strerror or error}")
