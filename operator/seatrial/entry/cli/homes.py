"""Where a study lives, in the words and commands of whoever looks at it: a directory of this machine here. Pure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from seatrial.adapters.local.layout import StudyDirectory
from seatrial.api.environment import checkpoint_url
from seatrial.api.study import Study
from seatrial.api.trial import Trial

__all__ = ["DirectoryHome", "Home"]


class Home(Protocol):
    """A place of studies, and how a user is told of it."""

    @property
    def unseen(self) -> str:
        """What is said of a study that has no status yet."""
        ...

    def command(self, verb: str, call: str, *rest: str) -> str:
        """Return the command line that does *verb* with the study that a user calls *call*."""
        ...

    def places(self) -> list[tuple[str, str]]:
        """Return label and text of the lines that say where the study is."""
        ...

    def document(self) -> dict[str, object]:
        """Return the same for programs."""
        ...

    def checkpoint(self, study: Study, owner: str, path: str) -> str:
        """Return where a checkpoint lies.

        Args:
            study: The study.
            owner: Name of the trial that wrote it.
            path: As the trial told it, mostly a folder below its own.
        """
        ...

    def output(self, trial: Trial) -> str:
        """Return where the output of a trial's last attempt is found."""
        ...

    def continuing(self, call: str, *, suspended: bool, live: bool, again: str) -> str:
        """Return what is to be done, if anything, for an open study to go on.

        Args:
            call: How a user calls the study.
            suspended: Whether its specification says so.
            live: Whether a run holds it at this moment.
            again: The command that goes on with it, empty when it is not known.
        """
        ...

    def report_file(self, name: str) -> Path:
        """Return where the report of the study of that name goes unless the user says otherwise."""
        ...


@dataclass(frozen=True, slots=True)
class DirectoryHome:
    """A study on this machine.

    Attributes:
        root: Its directory.
    """

    root: Path

    @property
    def unseen(self) -> str:
        """What is said of a study that has no status yet."""
        return "no trial has started yet"

    def command(self, verb: str, call: str, *rest: str) -> str:
        """Return the command line that does *verb* with the study."""
        return " ".join(["seatrial", verb, call, *rest])

    def places(self) -> list[tuple[str, str]]:
        """Return the directory."""
        return [("directory", str(self.root))]

    def document(self) -> dict[str, object]:
        """Return the directory."""
        return {"directory": str(self.root)}

    def checkpoint(self, study: Study, owner: str, path: str) -> str:
        """Return the folder on this machine, or the place in an object store."""
        if url := checkpoint_url(study):
            return f"{url}/{owner}/{path}"
        found = Path(path)
        return str(found if found.is_absolute() else StudyDirectory(self.root).checkpoints(owner) / found)

    def output(self, trial: Trial) -> str:
        """Return the file."""
        return str(StudyDirectory(self.root).attempt(trial.metadata.name, trial.status.attempt).output)

    def continuing(self, call: str, *, suspended: bool, live: bool, again: str) -> str:  # noqa: ARG002
        """Return the command that runs it on."""
        if live:
            return "it runs at this moment; Ctrl-C there stops it"
        known = again or "seatrial run with the same file"
        if suspended:
            return f"set spec.suspend to false, then {known} goes on"
        return f"{again}   goes on" if again else f"{known} goes on"

    def report_file(self, name: str) -> Path:  # noqa: ARG002
        """Return ``report.html`` in the directory."""
        return self.root / "report.html"
