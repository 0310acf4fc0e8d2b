"""The trial as a training script sees it.

Joins the parts: parameters in, reports and checkpoints out, one message at the end. Must not need Seatrial: run by
itself, a script prints its reports and goes on.
"""

import operator
import os
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NoReturn

from seatrial_harness.checkpoints import Checkpoint
from seatrial_harness.exits import Exits, Infeasible
from seatrial_harness.files import write_atomically
from seatrial_harness.message import CheckpointMark, Ending, Status, build_message
from seatrial_harness.notices import Notices
from seatrial_harness.parameters import Parameters
from seatrial_harness.reapplying import holds_optimizer, match_groups, set_hyperparameters
from seatrial_harness.reporter import Reporter
from seatrial_harness.saver import Restored, Saver
from seatrial_harness.surroundings import Surroundings
from seatrial_harness.verdict import Verdict, judge_end, judge_failure

__all__ = ["Trial"]

_NEVER = 1 << 60


class Trial:
    """Parameters, reports, checkpoints and the end of one training; made by :func:`seatrial_harness.start`.

    Parameters are attributes as well (``trial.lr``) unless the trial has an attribute of that name.

    Attributes:
        parameters: Typed values by name: the study's over the script's defaults.
        assignment: Only what the study assigned; conditional parameters that are inactive are absent.
        seed: Fixed for a trial, different between trials; 0 when run alone.
        name: Name of the trial, empty when run alone.
        attempt: How often this trial was started before.
        max_step: The study's last step, None without one.
        until_step: Step at which this attempt ends, to go on later or not; None for a full training.
        alone: Whether the script runs without Seatrial.
    """

    def __init__(
        self, surroundings: Surroundings, parameters: Parameters, notices: Notices, *, quiet: bool = False
    ) -> None:
        self.parameters = parameters
        self.assignment = dict(surroundings.assignment)
        self.seed = surroundings.seed
        self.name = surroundings.trial
        self.attempt = surroundings.attempt
        self.max_step = surroundings.max_step
        self.until_step = surroundings.until_step
        self.alone = surroundings.alone
        self._termination_path = surroundings.termination_path
        self._stop_path = surroundings.stop_path
        self._notices = notices
        self._quiet = quiet
        self._reporter = Reporter(surroundings, notices, quiet=quiet)
        self._saver = Saver(surroundings, notices, quiet=quiet, before=self._reporter.seal)
        self._position: int | None = None
        self._until = _NEVER if self.until_step is None else self.until_step
        self._due = False
        self._asked = self._in_loop = self._done = self._stop_seen = self._finished = False
        self._unapplied = False
        self._signals = 0
        self._next_look = 0.0
        self._verdict: Verdict | None = None
        self._exits: Exits | None = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (a parameter is what the study says it is)
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.parameters, name)

    def __repr__(self) -> str:
        return f"Trial(name={self.name!r}, parameters={dict(self.parameters)!r})"

    def steps(self, count: int | None = None) -> Iterator[int]:
        """Yield the steps to train, 1-based, and end early when told to stop.

        Starts after the step of the checkpoint that :meth:`load` or :meth:`latest` returned, at 1 without one. The study's last step
        wins over *count*.

        Args:
            count: Last step when the study names none.

        Raises:
            ValueError: If neither says how many.
        """
        last = self.max_step if self.max_step is not None else count
        if last is None:
            raise ValueError("steps() needs a number, or spec.steps.max in the study: for epoch in trial.steps(20)")
        restored = self._saver.restored
        if restored is not None and restored.step >= self._until and not restored.inherited:
            # An earlier attempt came so far, and its end was lost.
            self._due = True
        return self._steps(restored.step + 1 if restored else 1, last)

    def _steps(self, first: int, last: int) -> Iterator[int]:
        self._asked = self._in_loop = True
        try:
            for step in range(first, last + 1):
                if self.should_stop():
                    return
                self._saver.forget()
                self._position = step
                yield step
            self._done = True
        finally:
            # Here as well when the script leaves the loop by break.
            self._in_loop = False
            self._saver.settle()

    def should_stop(self) -> bool:
        """Return whether the study, or SIGTERM, asks this trial to end now: save a checkpoint and leave the loop.

        So does the report of the last step of this attempt, :attr:`until_step`.
        """
        self._asked = True
        self._reporter.write_if_due()
        if not self._stop_seen and not self._due:
            self._stop_seen = self._signals > 0 or self._stop_file_exists()
        return self._stop_seen or self._due

    def _stop_file_exists(self) -> bool:
        now = time.perf_counter()
        if self._stop_path is None or now < self._next_look:
            return False
        found = os.path.exists(self._stop_path)  # noqa: PTH110  (asked in every step: four times quicker than Path.exists)
        ended = time.perf_counter()
        # A look at a slow shared volume may cost a twentieth of the training.
        self._next_look = ended + min(0.2, 20 * (ended - now))
        return found

    def report(self, /, step: int | None = None, **metrics: Any) -> None:  # noqa: ANN401  (whatever float() takes)
        """Report the values of metrics after a step.

        Args:
            step: Training progress, at least 0; default: the current one of :meth:`steps`.
            metrics: Anything that ``float()`` takes, but no text; NaN and infinities are recorded as such.

        Raises:
            TypeError: If a value is no number; names metric and value.
            ValueError: If there is no step, it is negative, or a name is not allowed.
        """
        step = self._step_of(step)
        self._reporter.report(step, metrics)
        if step >= self._until:
            self._due = True

    def _step_of(self, step: object) -> int:
        if type(step) is not int:
            if step is None:
                step = self._position
            if step is None:
                raise ValueError(
                    "which step is it? Outside of trial.steps() say so: trial.report(epoch, loss=loss), trial.save(epoch, model=…)"
                )
            step = _to_step(step)
        if not 0 <= step < 1 << 53:
            raise ValueError(f"step is {step}, but must be at least 0 and below 2^53")
        self._position = step
        return step

    def save(self, /, step: int | None = None, *, keep: int = 2, now: bool = False, **state: Any) -> Checkpoint | None:  # noqa: ANN401
        """Save a training state, whole or not at all; a full disk is told and does not end the training.

        Call it in every step, at its end. In a loop over :meth:`steps` a save that would cost more than half a percent of the training
        is put off, but never at a rung, when told to stop, or in the last step before the loop ends, be it by break or an error.

        Args:
            step: The step that was trained; default: the last reported one, or the current one of :meth:`steps`.
            keep: How many of the newest stay; those at rungs always do.
            now: Save in any case.
            state: State dicts, tensors, numbers, strings, lists, dicts; without torch only plain values.

        Returns:
            The checkpoint, or None when nothing was kept or the save was put off.

        Raises:
            TypeError: If a value can be saved neither as JSON nor by torch, or could not be loaded back.
        """
        number = self._step_of(step)
        if now or not self._in_loop or self.should_stop():
            return self._saver.save(number, keep, state)
        return self._saver.offer(number, keep, state)

    def checkpoint(self, step: int | None = None, *, keep: int = 2) -> AbstractContextManager[Path]:
        """Give a folder to write files into; it becomes the checkpoint of *step* when the block ends without an error.

        Without a checkpoint folder (alone, or in a process that speaks for no trial) the files are thrown away.
        """
        return self._saver.checkpoint(self._step_of(step), keep)

    def latest(self) -> Checkpoint | None:
        """Return the newest whole checkpoint of this trial, or its parent's, or None; :meth:`steps` then starts after it.

        Raises:
            CheckpointError: If the trial is to start from a parent's checkpoint that is not whole.
        """
        checkpoint = self._saver.latest()
        self._resume()
        return checkpoint

    def load(self, *, weights_only: bool = True, map_location: object = "cpu") -> Restored | None:
        """Return the newest whole state of this trial, or its parent's, or None; :meth:`steps` then starts after it.

        Args:
            weights_only: Let torch refuse everything that would run code.
            map_location: Where torch puts tensors.

        Raises:
            CheckpointError: If the trial is to start from a parent's checkpoint that is not whole, or torch refuses it.
        """
        state = self._saver.load(weights_only=weights_only, map_location=map_location)
        self._resume()
        self._unapplied = state is not None and state.inherited and any(map(holds_optimizer, state.values()))
        return state

    def _resume(self) -> None:
        """Count from the checkpoint on, and know what was reported before it: a curve is one, over all attempts."""
        restored = self._saver.restored
        if restored is None:
            return
        self._reporter.record.resume_at(restored.step)
        if restored.reports is not None and not restored.inherited:
            self._reporter.record.restore(restored.reports)

    def reapply(self, optimizer: Any, /, *schedules: Any, **values: Any) -> None:  # noqa: ANN401  (torch's)
        """Put this trial's hyperparameters into an optimizer whose state was loaded from another trial's checkpoint.

        Call it after all ``load_state_dict``. Does nothing after this trial's own checkpoint: that optimizer state is its own
        already, schedules included.

        Args:
            optimizer: Anything with ``param_groups``.
            schedules: Its learning-rate schedules, restored: they go on where they are, from this trial's rate. Schedules that are
                made afterwards begin anew and need not be named.
            values: By the param groups' own names, ``lr=trial.lr``; default: all parameters of the study that the groups know,
                however they are spelt (``weightDecay``, ``learningRate``, ``beta1``).

        Raises:
            ValueError: If a group has no such entry.
        """
        self._unapplied = False
        if self._saver.restored is not None and not self._saver.restored.inherited:
            return
        groups = optimizer.param_groups
        entries = {} if values else match_groups(groups, self.assignment)
        wanted = values or {entry: self.parameters[name] for name, entry in entries.items()}
        set_hyperparameters(groups, schedules, wanted)

    def infeasible(self, why: str) -> NoReturn:
        """End the trial: this assignment cannot be trained. The search is told, and it is not retried.

        Raises:
            Infeasible: Always.
        """
        self._verdict = Verdict(status=Status.INFEASIBLE, text=why)
        raise Infeasible(why)

    def finish(self) -> None:
        """Write what is left and the final message now; the end of the script does the same."""
        self.on_exit()
        if self._exits is not None:
            self._exits.remove()

    @property
    def finished(self) -> bool:
        """Whether :meth:`finish` was called."""
        return self._finished

    def go_live(self) -> None:
        """Watch for the end of the script and serve ``/metrics``; :func:`seatrial_harness.start` calls it."""
        self._exits = Exits(self)
        self._exits.install()
        self._reporter.serve()
        self._saver.begin_removal()

    def silence(self) -> None:
        """Say nothing more in this process; called in a fork."""
        self._quiet = self._saver.quiet = True
        self._reporter.silence()

    def on_stop_signal(self) -> bool | None:
        """React to SIGTERM: note it, write down what there is, and say whether the script will end by itself."""
        reporter = self._reporter
        with reporter.lock:
            if reporter.depth:
                # It came in the middle of a report: it is sent again when that is over.
                reporter.after = lambda: os.kill(os.getpid(), signal.SIGTERM)
                return None
            self._signals += 1
            reporter.write()
            self._write_message()
            return self._asked and not self._done and self._signals == 1

    def on_failure(self, failure: BaseException) -> None:
        """Remember why the script ended."""
        if self._verdict is None:
            self._verdict = judge_failure(failure)
        self._write_message()

    def on_exit(self) -> None:
        """Write the rest of the reports and the final message, once."""
        if self._finished:
            return
        self._finished = True
        self._reporter.close()
        if self._unapplied:
            self._notices.once(
                "unapplied",
                "the optimizer was restored from another trial, and with it that trial's learning rate: call "
                "trial.reapply(optimizer) after load_state_dict",
            )
        unread = self.parameters.never_read(self.assignment) if self._verdict is None else []
        if unread:
            self._notices.once("unread", f"the script never read {', '.join(unread)}: is a name misspelt?")
        self._write_message()
        self._saver.close()

    def _write_message(self) -> None:
        if self._termination_path is None or self._quiet:
            return
        verdict = self._verdict or self._judge()
        text = "; ".join(filter(None, [verdict.text, *self._notices.about("disk")]))
        newest = self._saver.newest
        self._saver.seal()
        mark = CheckpointMark(step=newest.step, digest=newest.digest, path=newest.mark.path) if newest else None
        ending = Ending(
            status=verdict.status,
            record=self._reporter.record,
            checkpoint=mark,
            text=text,
            reason=verdict.reason,
            freed_bytes=self._saver.freed_bytes,
        )
        try:
            write_atomically(self._termination_path, build_message(ending))
        except OSError as error:
            self._notices.once("message", f"the final message cannot be written to {self._termination_path}: {error}")

    def _judge(self) -> Verdict:
        record = self._reporter.record
        complete = self._done or (
            self.max_step is not None and record.step is not None and record.step >= self.max_step
        )
        told = "SIGTERM" if self._signals else "told to stop" if self._stop_seen else ""
        return judge_end(record, told=told, complete=complete, paused=self._due)


def _to_step(step: object) -> int:
    if isinstance(step, float) and step.is_integer():
        return int(step)
    try:
        return operator.index(step)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"step is {step!r}, but must be an integer") from None
