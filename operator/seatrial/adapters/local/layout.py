"""Where everything of a study lies on disk. Paths only: nothing here reads or writes.

::

    <directory>/
        study.json                  the Study with its status
        lock                        held by the live runner, holds its process id
        warm.log                    what the process that is kept ready has to say (trial.reuse)
        trials/<trial>.json         the Trial
        open/<trial>.<attempt>      exists from before an attempt starts until its result is stored
        checkpoints/<trial>/        kept between attempts
        attempts/<trial>/<attempt>/
            start.json              what was started, written before it
            lock                    held by every process of the attempt
            pid                     process id of the leader, written by it first
            exit                    exit code, written by the leader last
            output.log              stdout and stderr
            observations.jsonl      what the harness reports
            termination.json        the termination message
            stop                    exists when the trial should stop; holds the deadline
            killed                  why it was killed, written before it
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

__all__ = ["AttemptFiles", "StudyDirectory"]


@dataclass(frozen=True)
class AttemptFiles:
    """Files of one attempt; each path is made once, for they are asked for many times a trial."""

    folder: Path

    @cached_property
    def start(self) -> Path:
        """What was started."""
        return self.folder / "start.json"

    @cached_property
    def lock(self) -> Path:
        """Held by every process of the attempt."""
        return self.folder / "lock"

    @cached_property
    def pid(self) -> Path:
        """Process id of the leader."""
        return self.folder / "pid"

    @cached_property
    def exit(self) -> Path:
        """Exit code."""
        return self.folder / "exit"

    @cached_property
    def output(self) -> Path:
        """Stdout and stderr."""
        return self.folder / "output.log"

    @cached_property
    def observations(self) -> Path:
        """What the harness reports."""
        return self.folder / "observations.jsonl"

    @cached_property
    def termination(self) -> Path:
        """The termination message."""
        return self.folder / "termination.json"

    @cached_property
    def stop(self) -> Path:
        """Exists when the trial should stop."""
        return self.folder / "stop"

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
        """Folder of the marks of attempts whose result is not stored yet."""
        return self.root / "open"

    def trial(self, name: str) -> Path:
        """A Trial."""
        return Path(f"{self.root}/trials/{name}.json")

    def mark(self, trial: str, attempt: int) -> Path:
        """The mark of an attempt."""
        return Path(f"{self.root}/open/{trial}.{attempt}")

    @property
    def checkpoints_root(self) -> Path:
        """Folder of all checkpoints."""
        return self.root / "checkpoints"

    def checkpoints(self, trial: str) -> Path:
        """Checkpoints of a trial."""
        return Path(f"{self.root}/checkpoints/{trial}")

    def attempts(self, trial: str) -> Path:
        """Folder of a trial's attempts."""
        return Path(f"{self.root}/attempts/{trial}")

    def attempt(self, trial: str, attempt: int) -> AttemptFiles:
        """Files of one attempt."""
        return _attempt_files(f"{self.root}/attempts/{trial}/{attempt}")


@lru_cache(maxsize=1024)
def _attempt_files(folder: str) -> AttemptFiles:
    # The same ones for the runner, the environment and the metrics of a trial: paths take longer to build than to use.
    return AttemptFiles(Path(folder))
