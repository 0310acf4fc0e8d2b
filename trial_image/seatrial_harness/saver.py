"""Saves and finds the checkpoints of one trial; a full disk costs a checkpoint, never the training.

Must not know how a trial ends.
"""

import contextlib
import errno
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from seatrial_harness.checkpoints import Checkpoint, CheckpointStore, read_parent
from seatrial_harness.manifest import CheckpointError
from seatrial_harness.notices import Notices
from seatrial_harness.places import open_place
from seatrial_harness.retention import collect, parse_needed
from seatrial_harness.states import read_state, write_state
from seatrial_harness.surroundings import Surroundings

__all__ = ["Restored", "Saver", "load_state"]

_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.ESTALE})
_READ_AGAIN = 3
_REHEARSAL_LIMIT_BYTES = 64 << 20
# All saving may cost half a percent of the training; rungs and the end of the loop are saved even so.
_PAUSE_PER_COST = 200
_LONGEST_PAUSE_SECONDS = 60.0


class Restored(dict[str, Any]):
    """The state that :meth:`Trial.save` was given, by name, and where it came from.

    Attributes:
        step: The step after which it was saved.
        inherited: Whether it is another trial's: its weights are that trial's, the parameters are this trial's own.
    """

    def __init__(self, state: Mapping[str, Any], checkpoint: Checkpoint) -> None:
        super().__init__(state)
        self.step = checkpoint.step
        self.inherited = checkpoint.inherited


class Saver:
    """The checkpoints of one trial.

    Attributes:
        newest: The newest checkpoint of this trial that was saved or taken up.
        restored: The checkpoint that training went on from.
        freed_bytes: What the removal of checkpoints that nothing needs has freed so far.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        notices: Notices,
        *,
        quiet: bool,
        before: Callable[[], Mapping[str, object]],
    ) -> None:
        address = surroundings.checkpoint_dir
        self._store = None
        if address:
            mine = dict(surroundings.assignment) or None
            self._store = CheckpointStore(open_place(address), surroundings.attempt, time.time, mine)
        self._parent = surroundings.parent
        self._study, self._needed = surroundings.study, surroundings.checkpoints_needed
        # Where the attempt is to end its state has to be there, for whatever follows.
        ends = {surroundings.until_step} if surroundings.until_step is not None else set[int]()
        self._rungs = surroundings.rungs | ends
        self._notices = notices
        self._before = before
        self._rehearsed = False
        self._known: Mapping[str, str] = {}
        self._began, self._spent_seconds, self._next_write = time.perf_counter(), 0.0, 0.0
        self._pending: tuple[int, int, Mapping[str, object]] | None = None
        self._ended = threading.Event()
        self.quiet = quiet
        self.freed_bytes = 0
        self.newest: Checkpoint | None = None
        self.restored: Checkpoint | None = None

    def offer(self, step: int, keep: int, state: Mapping[str, object]) -> Checkpoint | None:
        """Save a state unless the last save is too young; :meth:`settle` makes up for it at the end of the loop."""
        if step not in self._rungs and time.perf_counter() < self._next_write:
            self._pending = (step, keep, state)
            return None
        return self.save(step, keep, state)

    def settle(self) -> None:
        """Save what was offered in this step of the loop and put off."""
        if self._pending is not None:
            self.save(*self._pending)

    def forget(self) -> None:
        """The next step begins: what was put off is about to change and is no state of its step any more."""
        self._pending = None

    def save(self, step: int, keep: int, state: Mapping[str, object]) -> Checkpoint | None:
        """Save a state now; see :meth:`Trial.save`."""
        self._pending = None
        if self.quiet or (self._store is None and self._rehearsed):
            return None
        began = time.perf_counter()
        before = self.newest
        with self.checkpoint(step, keep) as folder:
            self._known = write_state(folder, state)
            if not self._rehearsed:
                _rehearse(folder)
                self._rehearsed = True
        self._put_off(began, time.perf_counter())
        return self.newest if self.newest is not before else None

    def _put_off(self, began: float, ended: float) -> None:
        """Set when the next save is due, after one from *began* to *ended*: neither it nor all together may have cost too much."""
        self._spent_seconds += ended - began
        affordable = max(ended + _PAUSE_PER_COST * (ended - began), self._began + _PAUSE_PER_COST * self._spent_seconds)
        self._next_write = min(ended + _LONGEST_PAUSE_SECONDS, affordable)

    @contextlib.contextmanager
    def checkpoint(self, step: int, keep: int) -> Iterator[Path]:
        """Give a folder that becomes the checkpoint of *step*; see :meth:`Trial.checkpoint`."""
        store = self._store
        folder = self._begin(store, step) if store is not None and not self.quiet else None
        if store is None or folder is None:
            yield from _throwaway()
            return
        try:
            yield folder
        except OSError as error:
            store.discard(folder)
            if error.errno not in _DISK_ERRORS:
                raise
            self._tell(step, error)
            return
        except BaseException:
            store.discard(folder)
            raise
        self._commit(store, folder, step, keep)

    def latest(self) -> Checkpoint | None:
        """Return the newest whole checkpoint, own or inherited; see :meth:`Trial.latest`."""
        checkpoint = self._store.newest(self._refuse) if self._store is not None else None
        if checkpoint is None and self._parent is not None:
            checkpoint = read_parent(self._parent)
        if checkpoint is not None:
            self.restored = checkpoint
            if not checkpoint.inherited:
                self.newest = checkpoint
        return checkpoint

    def load(self, *, weights_only: bool, map_location: object) -> Restored | None:
        """Return the newest whole state; see :meth:`Trial.load`."""
        for again in range(_READ_AGAIN, -1, -1):
            checkpoint = self.latest()
            if checkpoint is None:
                return None
            try:
                return load_state(checkpoint, weights_only=weights_only, map_location=map_location)
            except CheckpointError as error:
                # An older attempt that still dies may just have superseded it.
                if not again or not isinstance(error.__cause__, FileNotFoundError):
                    raise
        return None

    def seal(self) -> None:
        """Make sure that the newest checkpoint survives a power cut: it is about to be named in the trial's record."""
        if self._store is None or self.newest is None or self.quiet:
            return
        try:
            self._store.settle(self.newest)
        except OSError as error:
            self._notices.once("disk settle", f"the checkpoint of step {self.newest.step} may not survive: {error}")

    def begin_removal(self) -> None:
        """Remove, beside the training, what the study says that nobody needs any more."""
        if self._store is not None and self._needed and not self.quiet:
            threading.Thread(
                target=self._remove_unneeded, args=(self._store,), name="seatrial-removal", daemon=True
            ).start()

    def close(self) -> None:
        """Stop removing; remove what was put on this machine for a while."""
        self._ended.set()
        if self._store is not None:
            self._store.place.close()

    def _remove_unneeded(self, store: CheckpointStore) -> None:
        try:
            needed, spared = parse_needed(self._needed), self._parent.address if self._parent else ""
            freed = collect(store.place, self._study, needed, spared=spared, left_off=self._ended.is_set)
        except (OSError, ValueError) as error:
            self._notices.once("removal", f"checkpoints that nobody needs could not be removed: {error}")
            return
        self.freed_bytes += freed.size
        if freed.checkpoints:
            words = f"removed {freed.checkpoints} checkpoints of ended trials that nothing needs, {freed.size} bytes"
            self._notices.once("removed", words)

    def _refuse(self, error: CheckpointError) -> None:
        self._notices.once(f"torn {error}", f"{error}; an older one is used")

    def _begin(self, store: CheckpointStore, step: int) -> Path | None:
        try:
            return store.begin(step)
        except OSError as error:
            self._tell(step, error)
            return None

    def _commit(self, store: CheckpointStore, folder: Path, step: int, keep: int) -> None:
        # A checkpoint of step n must not be younger than the reports up to n.
        reports = self._before()
        try:
            self.newest = store.commit(folder, step, self._known, reports)
        except OSError as error:
            store.discard(folder)
            self._tell(step, error)
            return
        finally:
            self._known = {}
        with contextlib.suppress(OSError):
            # What cannot be removed now is superseded after the next save as well.
            self.freed_bytes += store.prune(keep, self._rungs)

    def _tell(self, step: int, error: OSError) -> None:
        self._notices.once(
            "disk checkpoint", f"the checkpoint of step {step} cannot be saved: {error}; training goes on"
        )


def load_state(checkpoint: Checkpoint, *, weights_only: bool, map_location: object) -> Restored:
    """Return the state in a verified checkpoint.

    Raises:
        CheckpointError: If it cannot be loaded.
    """
    try:
        state = read_state(checkpoint.path, weights_only=weights_only, map_location=map_location)
    except Exception as error:
        raise CheckpointError(f"the checkpoint {checkpoint.path} is whole but cannot be loaded: {error}") from error
    return Restored(state, checkpoint)


def _rehearse(folder: Path) -> None:
    """Load the first state back at once: finding out at the restart that it cannot be loaded would be too late."""
    if sum(path.stat().st_size for path in folder.iterdir()) > _REHEARSAL_LIMIT_BYTES:
        return
    try:
        read_state(folder, weights_only=True, map_location="cpu")
    except OSError:
        raise
    except Exception as error:
        raise TypeError(
            f"save() got something that cannot be loaded without running code: {str(error)[:300]} "
            "Save tensors, numbers, strings, lists and dicts, or write your own files: with trial.checkpoint(step) as folder: …"
        ) from error


def _throwaway() -> Iterator[Path]:
    folder = tempfile.mkdtemp(prefix="seatrial-")
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
