# ruff: noqa: ARG002 - the port names a study; a directory holds one
"""Studies and Trials as JSON files, one a file, in their wire form.

The owner (the process with the :class:`~seatrial.adapters.local.claim.Claim`) is the only writer and trusts its memory; a reader
looks at the files each time and reads again those that changed. A torn file is named, never guessed at.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from seatrial.adapters.local.files import Syncer, write_atomically
from seatrial.adapters.local.layout import StudyDirectory
from seatrial.api.base import Wire
from seatrial.api.conditions import find_condition
from seatrial.api.study import Study, StudyStatus
from seatrial.api.trial import Trial, TrialStatus
from seatrial.errors import TransientError, UsageError
from seatrial.ports import StudyKey

__all__ = ["DirectoryStore"]

_Model = TypeVar("_Model", bound=Wire)

_Stamp = tuple[int, int, int]


class DirectoryStore:
    """The study of one directory.

    Args:
        directory: Where it lies.
        owner: Whether this process holds the claim on it. Only the owner writes.
    """

    def __init__(self, directory: StudyDirectory, *, owner: bool = True) -> None:
        self._directory = directory
        self._owner = owner
        self._trials: dict[str, Trial] = {}
        self._stamps: dict[str, _Stamp] = {}
        self._folder = str(directory.trials)
        self._order: list[Trial] | None = None
        self._places: dict[str, int] = {}
        self._sorted: tuple[Trial, ...] | None = None
        self._study: Study | None = None
        self._loaded = False
        self._syncer = Syncer()

    def put_study(self, study: Study) -> StudyKey:
        """Store a study as a user's ``apply`` does: the specification is replaced, the status stays."""
        self._directory.root.mkdir(parents=True, exist_ok=True)
        old = self.stored_study()
        changed = old is None or old.spec != study.spec
        generation = ((old.metadata.generation or 0) if old else 0) + changed
        metadata = study.metadata.model_copy(
            update={"generation": generation, "uid": study.metadata.uid or study.metadata.name}
        )
        self._study = study.model_copy(update={"metadata": metadata, "status": old.status if old else study.status})
        if changed or old != self._study:
            self._write(str(self._directory.study), self._study, lasting=True)
        return StudyKey(study.metadata.namespace or "default", study.metadata.name)

    async def read_study(self, key: StudyKey) -> Study | None:
        """Return the study, None when the directory holds none of this name.

        Raises:
            UsageError: If its file is torn.
        """
        study = self.stored_study()
        return study if study is not None and study.metadata.name == key.name else None

    async def read_trials(self, key: StudyKey) -> Sequence[Trial]:
        """Return all trials of the study by index.

        Raises:
            UsageError: If a file is torn; the owner puts it aside first.
        """
        self._look()
        if self._order is None:
            self._order = sorted(self._trials.values(), key=_index)
            self._places = {trial.metadata.name: place for place, trial in enumerate(self._order)}
        if self._sorted is None:
            self._sorted = tuple(self._order)
        return self._sorted

    async def create_trial(self, key: StudyKey, trial: Trial) -> Trial:
        """Create a trial, or return the stored one of that name."""
        self._look()
        stored = self._trials.get(trial.metadata.name)
        if stored is not None:
            return stored
        given = {"resource_version": "1", "uid": trial.metadata.uid or trial.metadata.name}
        new = trial.model_copy(update={"metadata": trial.metadata.model_copy(update=given)})
        return self._write_trial(new, lasting=False)

    async def update_trial(self, key: StudyKey, trial: Trial, status: TrialStatus) -> Trial:
        """Replace a trial's status and return the trial as stored.

        Raises:
            TransientError: If somebody else changed it since it was read.
        """
        self._look()
        stored = self._trials.get(trial.metadata.name)
        if stored is None:
            raise TransientError(f"trial {trial.metadata.name} is gone; look again")
        if stored.metadata.resource_version != trial.metadata.resource_version:
            raise TransientError(f"trial {trial.metadata.name} was changed by somebody else; look again")
        version = str(int(stored.metadata.resource_version or 0) + 1)
        metadata = stored.metadata.model_copy(update={"resource_version": version})
        new = stored.model_copy(update={"metadata": metadata, "status": status})
        return self._write_trial(new, lasting=_ended(status))

    async def update_study(self, key: StudyKey, status: StudyStatus) -> None:
        """Replace the study's status."""
        study = self.stored_study()
        if study is not None and study.status != status:
            self._study = study.model_copy(update={"status": status})
            self._write(str(self._directory.study), self._study, lasting=False)

    def close(self) -> None:
        """Make everything durable."""
        self._syncer.close()

    def _write_trial(self, trial: Trial, *, lasting: bool) -> Trial:
        name = trial.metadata.name
        if not self._trials:
            with _explaining(self._folder):
                self._directory.trials.mkdir(parents=True, exist_ok=True)
        self._write(f"{self._folder}/{name}.json", trial, lasting=lasting)
        self._trials[name] = trial
        self._put_in_order(name, trial)
        return trial

    def _put_in_order(self, name: str, trial: Trial) -> None:
        """Trials are created by index and replaced in their place: nearly always nothing has to be sorted."""
        self._sorted = None
        if self._order is None:
            return
        place = self._places.get(name)
        if place is not None:
            self._order[place] = trial
        elif not self._order or self._order[-1].spec.index < trial.spec.index:
            self._places[name] = len(self._order)
            self._order.append(trial)
        else:
            self._order = None

    def _write(self, path: str, model: Wire, *, lasting: bool) -> None:
        if not self._owner:
            raise UsageError(f"{path} is read by this process and written only by the one that runs the study")
        with _explaining(path):
            write_atomically(path, model.model_dump_json(by_alias=True, exclude_none=True).encode())
        if lasting:
            self._syncer.add(path)

    def stored_study(self) -> Study | None:
        """Return the study of the directory whatever its name, None when there is none.

        Raises:
            UsageError: If its file is torn; the owner puts it aside first.
        """
        if self._study is None or not self._owner:
            try:
                self._study = self._read(self._directory.study, Study)
            except FileNotFoundError:
                self._study = None
        return self._study

    def _look(self) -> None:
        """Look at the files, unless nobody else can have changed them."""
        if not self._owner or not self._loaded:
            self._load()

    def _load(self) -> None:
        """Read the trials that are new or changed."""
        seen: set[str] = set()
        with contextlib.suppress(FileNotFoundError), os.scandir(self._directory.trials) as entries:
            for entry in entries:
                name, suffix = os.path.splitext(entry.name)  # noqa: PTH122 - ten thousand times
                if suffix != ".json":
                    self._clean(entry)
                    continue
                seen.add(name)
                found = entry.stat()
                stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
                if self._stamps.get(name) != stamp:
                    self._trials[name] = self._read(Path(entry.path), Trial)
                    self._stamps[name] = stamp
                    self._order = self._sorted = None
        for name in self._trials.keys() - seen:
            del self._trials[name], self._stamps[name]
            self._order = self._sorted = None
        self._loaded = True

    def _clean(self, entry: os.DirEntry[str]) -> None:
        if self._owner and entry.name.endswith(".tmp"):
            with contextlib.suppress(OSError):
                Path(entry.path).unlink()

    def _read(self, path: Path, model: type[_Model]) -> _Model:
        content = path.read_bytes()
        try:
            return model.model_validate_json(content)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            where = ".".join(map(str, problem["loc"]))
            what = "is empty" if not content.strip() else f"is torn: {where} {problem['msg']}".replace(":  ", ": ")
            raise UsageError(self._put_aside(path, what, model is Study)) from error

    def _put_aside(self, path: Path, what: str, is_study: bool) -> str:
        if not self._owner:
            return f"{path} {what}; run the study once, which puts the file aside"
        aside = path.with_name(f"{path.name}.corrupt")
        path.replace(aside)
        lost = "its status is counted again" if is_study else "this trial is forgotten, all others are kept"
        return f"{path} {what}; it was put aside as {aside.name}. Mend that file and rename it back, or run the same command again: {lost}"


_index = attrgetter("spec.index")


def _ended(status: TrialStatus) -> bool:
    summary = find_condition(status.conditions, "Succeeded")
    return summary is not None and summary.status != "Unknown"


@contextlib.contextmanager
def _explaining(path: str) -> Iterator[None]:
    """Say of a disk that takes nothing what to do, and let the run wait for that.

    Raises:
        TransientError: If the block raises OSError.
    """
    try:
        yield
    except OSError as error:
        raise TransientError(f"{path} cannot be written: {error.strerror}; make room on the disk") from error
