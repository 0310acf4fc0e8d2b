"""Made-up studies for the report's tests, its benchmark and for looking at it: real wire objects, no training."""

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import numpy as np

from seatrial.api.conditions import Condition, StudyReason, TrialReason
from seatrial.api.meta import Metadata, StudyMetadata
from seatrial.api.study import Study, StudySpec, StudyStatus
from seatrial.api.trial import (
    AttemptRecord,
    Checkpoint,
    MetricSummary,
    Observation,
    Origin,
    Trial,
    TrialSpec,
    TrialStatus,
)
from seatrial.decide.curves import CurveBuilder, Curves
from seatrial.decide.snapshot import format_time
from seatrial.decide.values import write_number
from seatrial.search.build import build_space

START = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)
TEMPLATE = {
    "template": {"spec": {"containers": [{"name": "trainer", "image": "x", "command": ["python", "train.py"]}]}}
}

DIGITS = {
    "objectives": [{"metric": "val_accuracy", "goal": "maximize", "target": 0.99}],
    "parameters": [
        {"name": "lr", "type": "float", "min": 1e-5, "max": 1e-1, "scale": "log"},
        {"name": "hidden", "type": "int", "min": 16, "max": 512, "scale": "log"},
        {"name": "batchSize", "type": "ordinal", "choices": [32, 64, 128, 256]},
        {"name": "optimizer", "type": "categorical", "choices": ["sgd", "adamw", "rmsprop"]},
        {"name": "momentum", "type": "float", "min": 0, "max": 0.99, "when": {"parameter": "optimizer", "in": ["sgd"]}},
        {"name": "dropout", "type": "float", "min": 0, "max": 0.7},
        {"name": "classes", "type": "constant", "value": 10},
    ],
    "algorithm": {"name": "auto", "seed": 7},
    "stopping": {"rule": "asha", "asha": {"eta": 3, "minStep": 1}},
    "steps": {"unit": "epoch", "max": 27},
    "budget": {"maxTrials": 60, "parallelTrials": 4, "maxFailedTrials": 6, "maxDuration": "2h"},
    "trial": TEMPLATE,
}


def a_spec(**changes: object) -> StudySpec:
    """Return the digits specification with some members replaced."""
    return StudySpec.model_validate({**DIGITS, **changes})


def a_study(
    spec: StudySpec | None = None,
    *,
    name: str = "digits",
    reason: StudyReason | None = StudyReason.MAX_TRIALS_REACHED,
    message: str = "all 60 trials of budget.maxTrials are done",
    started: datetime | None = START,
    ended: datetime | None = None,
) -> Study:
    """Return a study in the given state."""
    conditions = []
    if reason is not None:
        conditions = [
            Condition(
                type="Succeeded",
                status=reason.status,
                reason=reason.value,
                message=message,
                last_transition_time=format_time(START),
            )
        ]
    return Study(
        api_version="seatrial.dev/v1alpha1",
        kind="Study",
        metadata=StudyMetadata(name=name),
        spec=spec or a_spec(),
        status=StudyStatus(
            conditions=conditions,
            start_time=format_time(started) if started else None,
            completion_time=format_time(ended) if ended else None,
        ),
    )


def a_trial(
    index: int,
    assignment: Mapping[str, bool | int | float | str],
    *values: float,
    state: TrialReason = TrialReason.COMPLETED,
    message: str = "",
    reason: str = "",
    step: int | None = None,
    curve: Iterable[tuple[int, float]] = (),
    metrics: Mapping[str, float] | None = None,
    begins: float | None = 0.0,
    lasts: float | None = 10.0,
    study: str = "digits",
    checkpoint: str | None = None,
    reuse_of: str | None = None,
    attempts: int = 1,
    origin: tuple[str, str] = ("gp", "expected improvement"),
) -> Trial:
    """Return a trial; times in seconds since the study's start."""
    started = None if begins is None else START + timedelta(seconds=begins)
    finished = started + timedelta(seconds=lasts) if started and lasts is not None and state.terminal else None
    time = format_time(finished or started or START)
    conditions = [
        Condition(type="Succeeded", status=state.status, reason=state.value, message=message, last_transition_time=time)
    ]
    if reason:
        conditions.append(
            Condition(type="Stopped", status="True", reason=reason, message=message, last_transition_time=time)
        )
    seen = None
    if values or metrics:
        seen = Observation(
            values=[write_number(value) for value in values],
            step=step,
            curve=[(at, write_number(value)) for at, value in curve],
            metrics=[MetricSummary(name=name, last=write_number(value)) for name, value in (metrics or {}).items()],
        )
    return Trial(
        metadata=Metadata(name=f"{study}-{index}"),
        spec=TrialSpec(
            study=study,
            index=index,
            assignment=dict(assignment),
            seed=1000 + index,
            origin=Origin(algorithm=origin[0], detail=origin[1]),
            reuse_of=reuse_of,
        ),
        status=TrialStatus(
            attempt=attempts - 1,
            attempts=[AttemptRecord(attempt=i, reason="Error", message="exit code 1") for i in range(attempts - 1)],
            conditions=conditions,
            observation=seen,
            checkpoint=Checkpoint(step=step or 0, digest="sha256:0", path=checkpoint) if checkpoint else None,
            start_time=format_time(started) if started else None,
            completion_time=format_time(finished) if finished else None,
        ),
    )


def curves_of(metric: str, points: Iterable[tuple[int, float]]) -> Curves:
    """Return the curves of one trial with one metric."""
    builder = CurveBuilder()
    builder.extend(points)
    return {metric: builder.build()}


def digits_study(
    count: int = 60, *, running: bool = False, seed: int = 3
) -> tuple[Study, list[Trial], dict[str, Curves], datetime]:
    """Return a study like a real one: conditional momentum, log learning rate, ASHA, and trials with every kind of end."""
    spec = a_spec(
        budget={"maxTrials": count, "parallelTrials": 4, "maxFailedTrials": max(6, count), "maxDuration": "2h"}
    )
    space = build_space(spec.parameters)
    rng = np.random.default_rng(seed)
    trials, curves = [], {}
    free = [0.0] * 4
    reached: dict[int, list[float]] = {1: [], 3: [], 9: []}
    good = space.default()
    for index in range(count):
        point = space.sample(rng)
        if index > count // 4 and rng.random() < 0.7:
            near = space.to_unit(good) + rng.normal(0, 0.12, len(space))
            point = space.from_unit(np.clip(near, 0, 1))
        slot = int(np.argmin(free))
        begins = free[slot] + rng.uniform(0.5, 4)
        final = _accuracy(point, rng)
        curve = [
            (
                s,
                float(
                    final * (1 - 0.85 * math.exp(-s / (3 + 30 * abs(math.log10(point["lr"]) + 2.3) * 0.1)))
                    + rng.normal(0, 0.004)
                ),
            )
            for s in range(1, 28)
        ]
        state, message, reason = TrialReason.COMPLETED, "", ""
        draw = rng.random()
        if point["lr"] > 0.04 and draw < 0.6:
            state, cut = TrialReason.DIVERGED, int(rng.integers(2, 9))
            message, reason = f"val_accuracy is nan at step {cut}", "Diverged"
            curve = [*curve[: cut - 1], (cut, math.nan)]
        elif draw < 0.05:
            state, message = (
                TrialReason.FAILED,
                "exit code 1; the last line was: RuntimeError: DataLoader worker (pid 411) is killed by signal: Bus error",
            )
            curve = curve[: int(rng.integers(1, 12))]
        elif point["hidden"] > 450 and draw < 0.5:
            state, message, curve = TrialReason.INFEASIBLE, "OutOfMemory: tried to allocate 2.1 GiB", []
        else:
            for rung in (1, 3, 9):
                value = curve[rung - 1][1]
                insort(reached[rung], value)
                ranking = reached[rung]
                keep = max(1, len(ranking) // 3)
                if value < ranking[-keep] - 0.015:
                    state, reason = TrialReason.STOPPED, "NotPromoted"
                    message = f"at step {rung}: {value:.4g} is number {len(ranking) - bisect_left(ranking, value)} of {len(ranking)}, and only the best {keep} go on (eta 3)"
                    curve = curve[:rung]
                    break
        if running and index >= count - 4:
            state, message, reason, curve = TrialReason.RUNNING, "", "", curve[:8]
        lasts = 4 + 6.5 * len(curve) * (0.5 + point["hidden"] / 512)
        free[slot] = begins + lasts
        value = curve[-1][1] if curve else None
        step = curve[-1][0] if curve else None
        finite = [pair for pair in curve if math.isfinite(pair[1])]
        trial = a_trial(
            index,
            point,
            *([value] if value is not None and state is not TrialReason.RUNNING else []),
            state=state,
            message=message,
            reason=reason,
            step=step,
            begins=begins,
            lasts=lasts,
            checkpoint=f"/data/studies/digits/trials/digits-{index}/step-{step}" if step else None,
            metrics={"val_accuracy": value, "train_loss": 1 - value} if value is not None else None,
            attempts=2 if index == 11 else 1,
            origin=("auto", "initial design" if index < count // 4 else "gp, expected improvement"),
        )
        trials.append(trial)
        if curve:
            curves[trial.metadata.name] = curves_of("val_accuracy", curve)
        if state is TrialReason.COMPLETED and (not finite or final >= _accuracy(good, None)):
            good = point
    end = START + timedelta(seconds=max(free))
    study = a_study(
        spec,
        reason=StudyReason.RUNNING if running else StudyReason.MAX_TRIALS_REACHED,
        message=f"{count - 4} of {count} trials are done, 4 are open"
        if running
        else f"all {count} trials of budget.maxTrials are done",
        ended=None if running else end,
    )
    return study, trials, curves, end + timedelta(seconds=5)


def _accuracy(point: Mapping[str, bool | int | float | str], rng: np.random.Generator | None) -> float:
    rate = math.log10(point["lr"])
    best = {"sgd": -1.9, "adamw": -2.7, "rmsprop": -3.0}[point["optimizer"]]
    value = (
        0.985
        - 0.055 * (rate - best) ** 2
        - 0.01 * abs(math.log2(point["hidden"] / 200))
        - 0.06 * (point["dropout"] - 0.2) ** 2
    )
    value -= {"sgd": 0.0, "adamw": -0.004, "rmsprop": 0.02}[point["optimizer"]]
    if "momentum" in point:
        value -= 0.08 * (point["momentum"] - 0.9) ** 2
    return max(0.08, value + (0 if rng is None else rng.normal(0, 0.004)))


def two_objectives(count: int = 60, seed: int = 5) -> tuple[Study, list[Trial], dict[str, Curves], datetime]:
    """Return a study of accuracy against latency."""
    spec = a_spec(
        objectives=[{"metric": "val_accuracy", "goal": "maximize"}, {"metric": "latency_ms", "goal": "minimize"}],
        algorithm={"name": "nsga2", "seed": 2},
        stopping=None,
        budget={"maxTrials": count, "parallelTrials": 4},
    )
    space = build_space(spec.parameters)
    rng = np.random.default_rng(seed)
    trials = []
    for index in range(count):
        point = space.sample(rng)
        accuracy = _accuracy(point, rng)
        latency = 0.4 + point["hidden"] / 90 + 2 / math.log2(point["batchSize"]) + rng.normal(0, 0.05)
        failed = rng.random() < 0.05
        state, message = (TrialReason.FAILED, "exit code 137; killed") if failed else (TrialReason.COMPLETED, "")
        begins = (index // 4) * 62 + rng.uniform(0, 6)
        trials.append(
            a_trial(
                index,
                point,
                *(() if failed else (accuracy, latency)),
                state=state,
                message=message,
                step=27,
                begins=begins,
                lasts=rng.uniform(30, 56),
                origin=("nsga2", f"generation {index // 20}"),
            )
        )
    end = START + timedelta(seconds=62 * count / 4)
    return a_study(spec, ended=end, message=f"all {count} trials of budget.maxTrials are done"), trials, {}, end
