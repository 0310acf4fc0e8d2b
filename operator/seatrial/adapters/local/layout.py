"""Where everything of a study lies on disk. Paths only: nothing here reads or writes.

::

    <directory>/
        study.json                  the Study with its status
        lock                        held by the live runner, holds its process id
        warm.log                    what the process that is kept ready has to say (trial.reuse)
        trials/<trial>.json         the Trial
        open/<trial>.<attempt>      the note of an attempt, from before it starts until its result is stored: held by every process of
                                    the attempt; holds process id and exit code of the leader, and what was started
        checkpoints/<trial>/        kept between attempts; made by the first who saves one
        attempts/<trial>.<attempt>/
            output.log              stdout and stderr
            observations.jsonl      what the harness reports
            termination.json        the termination message
            stop                    exists when the trial should stop; holds the deadline
            killed                  why it was killed, written before it
            pid, exit               with trial.reuse: what its leader notes itself

One file says all that is needed of an attempt that runs, and it lies beside those of the others: where files are made by the thousand, a new
one costs more than what is written to it, and most in a new folder.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

__all__ = ["AttemptFiles", "StudyDirectory"]


@dataclass(frozen=True)
class AttemptFiles:
    """Files of one attempt: by name, which is all that the system wants, and as paths, which take longer to make than a file to open.

    Attributes:
        folder_name: Where they lie.
        note_name: Held by every process of the attempt.
    """

    folder_name: str
    note_name: str

    @property
    def output_name(self) -> str:
        """Stdout and stderr."""
        return f"{self.folder_name}/output.log"

    @property
    def observations_name(self) -> str:
        """What the harness reports."""
        return f"{self.folder_name}/observations.jsonl"

    @property
    def termination_name(self) -> str:
        """The termination message."""
        return f"{self.folder_name}/termination.json"

    @property
    def stop_name(self) -> str:
        """Exists when the trial should stop."""
        return f"{self.folder_name}/stop"

    @cached_property
    def folder(self) -> Path:
        """Where they lie."""
        return Path(self.folder_name)

    @cached_property
    def note(self) -> Path:
        """Held by every process of the attempt."""
        return Path(self.note_name)

    @cached_property
    def pid(self) -> Path:
        """Process id of a leader that notes it itself."""
        return self.folder / "pid"

    @cached_property
    def exit(self) -> Path:
        """Exit code of such a leader."""
        return self.folder / "exit"

    @cached_property
    def output(self) -> Path:
        """Stdout and stderr."""
        return Path(self.output_name)

    @cached_property
    def observations(self) -> Path:
        """What the harness reports."""
        return Path(self.observations_name)

    @cached_property
    def termination(self) -> Path:
        """The termination message."""
        return Path(self.termination_name)

    @cached_property
    def stop(self) -> Path:
        """Exists when the trial should stop."""
        return Path(self.stop_name)

    @cached_property
    def killed(self) -> Path:
        """Why it was killed."""
        return self.folder / "killed"


@dataclass(frozen=True, slots=True)
class StudyDirectory:
    """A study's folder."""

    root: Path

    @property
    def study(self) -> Path:
        """The Study."""
        return self.root / "study.json"

    @property
    def lock(self) -> Path:
        """Held by the live runner."""
        return self.root / "lock"

    @property
    def warm_log(self) -> Path:
        """What the process that is kept ready has to say."""
        return self.root / "warm.log"

    @property
    def trials(self) -> Path:
        """Folder of the Trials."""
        return self.root / "trials"

    @property
    def open(self) -> Path:
        """Folder of the notes of attempts whose result is not stored yet."""
        return self.root / "open"

    def trial(self, name: str) -> Path:
        """A Trial."""
        return Path(f"{self.root}/trials/{name}.json")

    @property
    def checkpoints_root(self) -> Path:
        """Folder of all checkpoints."""
        return self.root / "checkpoints"

    def checkpoints(self, trial: str) -> Path:
        """Checkpoints of a trial."""
        return Path(f"{self.root}/checkpoints/{trial}")

    def attempt(self, trial: str, attempt: int) -> AttemptFiles:
        """Files of one attempt."""
        return _attempt_files(f"{self.root}", trial, attempt)


@lru_cache(maxsize=1024)
def _attempt_files(root: str, trial: str, attempt: int) -> AttemptFiles:
    # The same ones for the runner, the environment and the metrics of a trial.
    return AttemptFiles(f"{root}/attempts/{trial}.{attempt}", f"{root}/open/{trial}.{attempt}")
