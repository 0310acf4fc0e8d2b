"""What a checkpoint is: a list of files with their digests, sealed by one digest over the list (docs/checkpoints.md).

Pure. Must not know where checkpoints lie, nor what the files mean.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

__all__ = [
    "MANIFEST",
    "CheckpointError",
    "CheckpointsUnreachable",
    "Entry",
    "Manifest",
    "Mark",
    "ParentCheckpointCorrupt",
    "ParentCheckpointMissing",
    "build_manifest",
    "check_step",
    "checkpoint_digest",
    "parse_manifest",
    "same_assignment",
]

MANIFEST = "manifest.json"

_PART = re.compile(r"[0-9a-f]{16}")
_STEP = re.compile(r"(0|[1-9][0-9]{0,9})/step-(0|[1-9][0-9]{0,18})")


class CheckpointError(Exception):
    """A checkpoint is torn, was changed, or cannot be read back.

    Attributes:
        reason: One word for machines; it becomes the reason of a trial that ends by this error.
    """

    reason = "CheckpointCorrupt"


class ParentCheckpointMissing(CheckpointError):  # noqa: N818  (it is the reason that a trial is given)
    """The checkpoint that the trial is to start from is not there."""

    reason = "ParentCheckpointMissing"


class ParentCheckpointCorrupt(CheckpointError):  # noqa: N818  (it is the reason that a trial is given)
    """The checkpoint that the trial is to start from is torn or was changed."""

    reason = "ParentCheckpointCorrupt"


class CheckpointsUnreachable(CheckpointError):  # noqa: N818  (it is the reason that a trial is given)
    """Nobody can say which checkpoints there are: the volume or the object store does not answer."""

    reason = "CheckpointsUnreachable"


class Mark(NamedTuple):
    """Which checkpoint of a trial. The larger mark is the newer one: by step, then by attempt."""

    step: int
    attempt: int

    @property
    def path(self) -> str:
        """Where it lies below its trial: ``2/step-27``."""
        return f"{self.attempt}/step-{self.step}"

    @classmethod
    def parse(cls, path: str) -> "Mark | None":
        """Return the mark of a path below a trial, None when it names none."""
        found = _STEP.fullmatch(path)
        return cls(step=int(found[2]), attempt=int(found[1])) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file: its path inside the checkpoint with ``/``, its size in bytes, its hexadecimal SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What ``manifest.json`` says.

    Attributes:
        digest: ``sha256:`` and the digest over the files, see :func:`checkpoint_digest`.
        time: When it was sealed, unix time in seconds.
        part: Folder beside the manifest that holds the files; empty where they lie beside it themselves.
        reports: What the trial had reported by then, as :meth:`Record.to_plain` writes it.
        assignment: What the study had assigned to its trial; None where that is not known.
    """

    step: int
    attempt: int
    digest: str
    files: tuple[Entry, ...]
    time: float
    part: str = ""
    reports: Mapping[str, object] | None = None
    assignment: Mapping[str, object] | None = None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files)

    def to_json(self) -> bytes:
        """Return the content of ``manifest.json``."""
        files = [{"path": entry.path, "bytes": entry.size, "sha256": entry.sha256} for entry in self.files]
        document: dict[str, object] = {
            "v": 1,
            "attempt": self.attempt,
            "step": self.step,
            "digest": self.digest,
            "files": files,
        }
        if self.part:
            document["part"] = self.part
        if self.reports is not None:
            document["reports"] = self.reports
        if self.assignment is not None:
            document["assignment"] = dict(self.assignment)
        # On one line: with an indent, Python writes JSON ten times slower, and this is written in every save.
        return json.dumps(document | {"time": self.time}).encode()


def checkpoint_digest(digests: Iterable[tuple[str, str]]) -> str:
    """Return the digest of a checkpoint from (relative path, hexadecimal SHA-256) of its files.

    It is the SHA-256 of the lines ``<path> <sha256>``, each ended by a newline, sorted by their bytes.
    """
    lines = sorted(f"{path} {digest}\n".encode() for path, digest in digests)
    return "sha256:" + hashlib.sha256(b"".join(lines)).hexdigest()


def build_manifest(
    mark: Mark,
    files: Iterable[Entry],
    time: float,
    reports: Mapping[str, object] | None = None,
    assignment: Mapping[str, object] | None = None,
) -> Manifest:
    """Return the manifest that seals *files*."""
    entries = tuple(sorted(files, key=lambda entry: entry.path))
    digest = checkpoint_digest((entry.path, entry.sha256) for entry in entries)
    return Manifest(
        step=mark.step,
        attempt=mark.attempt,
        digest=digest,
        files=entries,
        time=time,
        reports=reports,
        assignment=assignment,
    )


def parse_manifest(content: bytes, where: object) -> Manifest:
    """Read ``manifest.json``.

    Args:
        content: Its content.
        where: The checkpoint, for messages.

    Raises:
        CheckpointError: If it is torn, is no manifest, does not agree with itself, or names a file outside of the checkpoint.
    """
    try:
        document = json.loads(content)
        files = tuple(
            Entry(path=str(entry["path"]), size=int(entry["bytes"]), sha256=str(entry["sha256"]))
            for entry in document["files"]
        )
        manifest = Manifest(
            step=int(document["step"]),
            attempt=int(document.get("attempt", 0)),
            digest=str(document["digest"]),
            files=files,
            time=float(document.get("time", 0)),
            part=str(document.get("part", "")),
            reports=_object(document.get("reports")),
            assignment=_object(document.get("assignment")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"the checkpoint {where} has no readable {MANIFEST}: {error}") from error
    if checkpoint_digest((entry.path, entry.sha256) for entry in files) != manifest.digest:
        raise CheckpointError(f"the checkpoint {where} has a {MANIFEST} whose digest does not match its list of files")
    if manifest.part and not _PART.fullmatch(manifest.part):
        raise CheckpointError(
            f"the checkpoint {where} has its files in {manifest.part!r}, which is not a folder inside it"
        )
    for entry in files:
        _check_inside(entry.path, where)
    return manifest


def check_step(manifest: Manifest, mark: Mark, where: object) -> None:
    """Refuse a checkpoint that lies where another step's belongs.

    Raises:
        CheckpointError: If the steps differ.
    """
    if manifest.step != mark.step:
        raise CheckpointError(f"the checkpoint {where} has a {MANIFEST} of step {manifest.step}")


def same_assignment(one: Mapping[str, object] | None, other: Mapping[str, object] | None) -> bool:
    """Return whether two assignments are one, or it is not known of one of them what it is.

    Numbers may have been written and read again: an API server writes 1.0 as 1.
    """
    if one is None or other is None:
        return True
    return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())


def _same(one: object, other: object) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-12)
    # Whole numbers are compared as they are: they may be larger than any float.
    return one == other


def _object(written: object) -> Mapping[str, object] | None:
    return written if isinstance(written, dict) else None


def _check_inside(name: str, where: object) -> None:
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise CheckpointError(f"the checkpoint {where} lists {name!r}, which is not a file inside it")
