"""A trial's record at each turn of its life."""

import math
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decide.builders import NOON, a_report, a_study, an_attempt
from seatrial.api.conditions import TrialReason, find_condition
from seatrial.api.trial import Trial, reason_of
from seatrial.decide.actions import FinishTrial, PassRung, RecordPhase, RequeueTrial, StopAttempt
from seatrial.decide.attempts import FinalMetric, Phase, Report, ReportStatus, SavedCheckpoint
from seatrial.decide.curves import CurveBuilder
from seatrial.decide.history import HistoryReader
from seatrial.decide.lifecycle import (
    describe_assignment,
    new_trial,
    status_finished,
    status_passed,
    status_phase,
    status_requeued,
    status_reused,
    status_stopping,
)
from seatrial.decide.observation import Seen, build_observation, thin
from seatrial.decide.snapshot import Snapshotter
from seatrial.decide.suggest import Proposal

STUDY = a_study(steps={"unit": "epoch", "max": 27})
LATER = NOON + timedelta(minutes=5)


def a_record(**changes: object) -> Trial:
    proposal = Proposal(
        index=4, assignment={"x": 0.123456789, "kind": "a"}, seed=7, algorithm="tpe", detail="", reuse_of=None
    )
    return new_trial(STUDY, replace(proposal, **changes), NOON)


def with_status(trial: Trial, status) -> Trial:
    return Trial.model_validate(trial.model_copy(update={"status": status}).to_wire())


def curves(*values: float, name: str = "loss"):
    builder = CurveBuilder(rungs=(1, 3, 9))
    builder.extend(enumerate(values, 1))
    return {name: builder.build()}


def finish(outcome: TrialReason = TrialReason.COMPLETED, reason: str | None = None, message: str = "") -> FinishTrial:
    return FinishTrial(trial="s-4", outcome=outcome, reason=reason or outcome.value, message=message)


def again(
    reason: str = "Lost", message: str = "gone", attempt: int = 0, *, infrastructure: bool = True
) -> RequeueTrial:
    return RequeueTrial(trial="s-4", attempt=attempt, reason=reason, message=message, infrastructure=infrastructure)


def finished(seen: Seen, action: FinishTrial | None = None, trial: Trial | None = None):
    return status_finished(trial or a_record(), action or finish(), STUDY.spec, seen, (1, 3, 9), LATER)


def summary(status) -> tuple[str, str, str]:
    found = find_condition(status.conditions, "Succeeded")
    return found.status, found.reason, found.message


def test_a_new_trial_is_pending_and_tells_its_parameters():
    trial = a_record()

    assert trial.metadata.name == "s-4"
    assert trial.metadata.labels == {"seatrial.dev/study": "s"}
    assert summary(trial.status) == ("Unknown", "Pending", "")
    assert trial.status.parameters == "x=0.1235 kind=a"


def test_a_long_word_of_an_algorithm_is_cut_to_what_a_record_holds():
    assert len(a_record(detail="x" * 900).spec.origin.detail) == 256
    assert len(describe_assignment({f"p{i}": "v" * 50 for i in range(64)})) == 1024


def test_a_story_from_its_start_over_a_rung_a_loss_and_a_stop_to_its_end():
    trial = a_record()
    live = an_attempt(4, Phase.RUNNING)
    phase = RecordPhase(trial="s-4", state=TrialReason.RUNNING, reason="Running", message="")
    trial = with_status(trial, status_phase(trial, phase, Seen(attempt=live), LATER))
    assert summary(trial.status) == ("Unknown", "Running", "")
    assert trial.status.start_time == "2026-01-01T12:00:00.000000Z"

    passed = PassRung(trial="s-4", rung=3, reason="RungPassed", message="")
    trial = with_status(trial, status_passed(trial, passed))
    assert trial.status.rung == 3

    lost = replace(live, phase=Phase.LOST)
    trial = with_status(trial, status_requeued(trial, again(), Seen(attempt=lost), LATER))
    assert trial.status.attempt == 1
    assert trial.status.run_seconds == 300
    assert summary(trial.status) == ("Unknown", "Pending", "attempt 0 ended: Lost: gone")

    stop = StopAttempt(trial="s-4", attempt=1, reason="NotPromoted", message="number 3 of 3")
    trial = with_status(trial, status_stopping(trial, stop, LATER))
    assert summary(trial.status) == ("Unknown", "Stopping", "number 3 of 3")

    ended = an_attempt(4, Phase.EXITED, 1, report=a_report(ReportStatus.STOPPED))
    action = finish(TrialReason.STOPPED, "NotPromoted", "number 3 of 3")
    trial = with_status(trial, finished(Seen(attempt=ended, curves=curves(0.5, 0.4)), action, trial))
    assert summary(trial.status) == ("True", "Stopped", "NotPromoted: number 3 of 3")
    assert trial.status.observation.values == [0.4]
    assert trial.status.progress == "2/27"
    assert trial.status.run_seconds == 360
    assert trial.status.completion_time == "2026-01-01T12:01:00.000000Z"
    assert reason_of(trial).terminal


def test_a_trial_that_was_laid_down_is_no_longer_being_stopped():
    trial = a_record()
    stop = StopAttempt(trial="s-4", attempt=0, reason="Suspended", message="so")
    trial = with_status(trial, status_stopping(trial, stop, NOON))

    status = status_requeued(trial, again("Suspended"), Seen(attempt=an_attempt(4, Phase.EXITED)), LATER)

    assert find_condition(status.conditions, "Stopping") is None


def test_gpu_seconds_count_every_attempt_once():
    trial = a_record()
    for number in range(3):
        ended = an_attempt(4, Phase.EXITED, number, gpus=2.0)
        trial = with_status(trial, status_requeued(trial, again(attempt=number), Seen(attempt=ended), LATER))

    assert trial.status.gpu_seconds == 3 * 2 * 60


def test_the_bytes_that_attempts_freed_are_summed():
    trial = a_record()
    for number in range(3):
        ended = an_attempt(4, Phase.EXITED, number, report=replace(a_report(), freed_bytes=1000))
        trial = with_status(trial, status_requeued(trial, again(attempt=number), Seen(attempt=ended), LATER))

    assert trial.status.freed_bytes == 3000


def test_failures_and_losses_are_remembered_however_often_a_study_is_suspended():
    trial = a_record()
    reasons = ["Error", "Lost", *["Suspended"] * 100, "Lost"]
    for number, reason in enumerate(reasons):
        action = again(reason, attempt=number, infrastructure=reason != "Error")
        trial = with_status(trial, status_requeued(trial, action, Seen(), LATER))

    snapshot = Snapshotter().build(study=STUDY, trials=[trial], attempts={}, curves={}, now=LATER)
    assert len(trial.status.attempts) == 64
    assert (snapshot.trials[0].failures, snapshot.trials[0].losses) == (1, 2)


def test_the_checkpoint_of_an_attempt_outlives_it():
    saved = SavedCheckpoint(step=9, digest="sha256:ab", path="step-9")
    report = replace(a_report(ReportStatus.STOPPED), checkpoint=saved)
    trial = a_record()
    first = an_attempt(4, Phase.EXITED, report=report)
    trial = with_status(trial, status_requeued(trial, again("Suspended"), Seen(attempt=first), LATER))

    status = finished(Seen(attempt=an_attempt(4, Phase.EXITED, 1, report=a_report(loss=0.1))), None, trial)

    assert status.checkpoint.path == "step-9"


def test_a_repeat_takes_over_what_the_other_found():
    original = with_status(a_record(), finished(Seen(attempt=an_attempt(4, Phase.EXITED), curves=curves(0.5))))
    repeat = a_record(index=5, reuse_of="s-4")

    status = status_reused(repeat, original, finish(TrialReason.REUSED, message="same as s-4"), LATER)

    assert (status.observation, status.progress) == (original.status.observation, "1/27")
    assert summary(status) == ("True", "Reused", "same as s-4")


def test_what_a_trial_calls_its_metrics_does_no_harm():
    finals = tuple(
        FinalMetric(name=name, last=last, low=low, high=math.inf)
        for name, last, low in [("loss", 0.1, math.nan), ("no spaces", 1.0, 0.0), ("", 1.0, 0.0), ("x" * 500, 1.0, 0.0)]
    )

    observation = build_observation(
        STUDY.spec, Seen(attempt=an_attempt(4, Phase.EXITED, report=Report(metrics=finals))), ()
    )

    assert [(m.name, m.last, m.min, m.max) for m in observation.metrics] == [("loss", 0.1, None, None)]


def test_objectives_and_constraints_come_before_other_metrics():
    study = a_study(constraints=[{"metric": "ms", "max": 5}])
    finals = tuple(FinalMetric(name=name, last=1.0) for name in [*(f"m{i}" for i in range(90)), "ms", "loss"])

    found = build_observation(study.spec, Seen(attempt=an_attempt(4, Phase.EXITED, report=Report(metrics=finals))), ())

    assert [metric.name for metric in found.metrics][:3] == ["loss", "ms", "m0"]
    assert len(found.metrics) == 32


def test_curve_and_message_complete_each_other():
    report = Report(step=4, metrics=(FinalMetric(name="loss", last=0.2, low=0.1, high=0.3, last_step=4),))

    found = build_observation(
        STUDY.spec, Seen(attempt=an_attempt(4, Phase.EXITED, report=report), curves=curves(0.9, 0.5)), ()
    )

    (metric,) = found.metrics
    assert (metric.last, metric.last_step, metric.min, metric.max) == (0.2, 4, 0.1, 0.9)
    assert (found.values, found.step) == ([0.2], 4)


def test_the_curve_of_a_message_keeps_its_end():
    report = Report(metrics=(FinalMetric(name="loss", last=0.0),), curve=tuple((i, float(-i)) for i in range(1, 200)))

    found = build_observation(STUDY.spec, Seen(attempt=an_attempt(4, Phase.EXITED, report=report)), (3, 9))

    assert len(found.curve) == 64
    assert found.curve[-1] == (199, -199.0)
    assert {1, 3, 9} <= {step for step, _ in found.curve}


@given(
    st.integers(1, 1000),
    st.sets(st.integers(1, 3000), max_size=25),
    st.sampled_from(["last", "best"]),
    st.sampled_from(["minimize", "maximize"]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_a_thinned_curve_decides_at_rungs_as_the_whole_one_did(number, rungs, summary_kind, goal, random):
    study = a_study(objectives=[{"metric": "loss", "goal": goal, "summary": summary_kind}])
    builder = CurveBuilder(rungs=rungs)
    builder.extend((2 * i, random.random()) for i in range(1, number + 1))
    whole = builder.build()

    kept = thin(whole, sorted(rungs), study.spec.objectives[0])

    again_built = CurveBuilder()
    again_built.extend(kept)
    small = again_built.build()
    assert len(kept) <= 64
    assert (small.points[0].step, small.step) == (whole.points[0].step, whole.step)
    for rung in [*rungs, whole.step]:
        old, new = whole.at(rung), small.at(rung)
        assert (old and old.value) == (new and new.value)
        if summary_kind == "best" and old:
            assert (old.low if goal == "minimize" else old.high) == (new.low if goal == "minimize" else new.high)


def largest() -> Trial:
    """Return a record with as many metrics and points as it can hold, with numbers of full length."""
    metrics = {f"metric_number_{i}": 0.1234567890123456 * (i + 1) for i in range(31)}
    seen_curves = curves(*(math.sin(i) for i in range(1, 500)))
    for name, value in metrics.items():
        seen_curves |= curves(value / 3, value, name=name)
    return with_status(a_record(), finished(Seen(attempt=an_attempt(4, Phase.EXITED), curves=seen_curves)))


def test_the_largest_observation_stays_within_eight_kilobytes():
    trial = largest()
    assert len(trial.status.observation.metrics) == 32
    assert len(trial.status.observation.curve) > 60

    assert len(trial.model_dump_json(by_alias=True, exclude_none=True)) <= 8192


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_survive_the_record(value):
    study = a_study(stopping={"rule": "asha"})
    seen = Seen(attempt=an_attempt(4, Phase.EXITED), curves=curves(0.5, value))
    trial = with_status(a_record(), finished(seen, finish(TrialReason.DIVERGED)))

    snapshot = Snapshotter().build(study=study, trials=[trial], attempts={}, curves={}, now=LATER)

    assert snapshot.trials[0].values == pytest.approx((value,), nan_ok=True)
    assert snapshot.trials[0].curve.last.value == pytest.approx(value, nan_ok=True)
    assert HistoryReader().read(snapshot).evaluated[0].failed


def test_an_attempt_of_a_higher_number_than_the_record_is_taken_for_what_it_is():
    live = an_attempt(4, Phase.RUNNING, 2)

    snapshot = Snapshotter().build(study=STUDY, trials=[a_record()], attempts={"s-4": live}, curves={}, now=LATER)

    assert snapshot.trials[0].attempt == 2
    assert (
        status_phase(
            a_record(),
            RecordPhase(trial="s-4", state=TrialReason.RUNNING, reason="Running", message=""),
            Seen(attempt=live),
            LATER,
        ).attempt
        == 2
    )


@pytest.mark.parametrize(
    ("reported", "words"), [(0.123456789, "0.1235"), (math.nan, "NaN"), (None, "")], ids=["number", "NaN", "nothing"]
)
def test_a_trial_shows_its_objective_in_four_digits_and_keeps_the_whole_number(reported, words):
    report = None if reported is None else a_report(loss=reported)

    status = finished(Seen(attempt=an_attempt(4, Phase.EXITED, report=report)))

    assert status.objective_value == words
    if words == "0.1235":
        assert status.observation.values == [0.123456789]


def test_a_repeat_shows_the_objective_of_the_other():
    original = with_status(a_record(), finished(Seen(attempt=an_attempt(4, Phase.EXITED), curves=curves(0.5))))

    status = status_reused(
        a_record(index=5, reuse_of="s-4"), original, finish(TrialReason.REUSED, message="same as s-4"), LATER
    )

    assert status.objective_value == "0.5"
