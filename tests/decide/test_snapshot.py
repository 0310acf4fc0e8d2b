"""The world in one value, put together again and again."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from adapters.contracts import a_record
from decide.builders import NOON, a_report, a_study, an_attempt
from seatrial.api.conditions import TrialReason
from seatrial.decide.actions import RecordPhase
from seatrial.decide.attempts import Phase
from seatrial.decide.curves import CurveBuilder
from seatrial.decide.lifecycle import status_phase
from seatrial.decide.observation import Seen
from seatrial.decide.snapshot import Snapshotter

GOALS = ["minimize", "maximize"]
CHANGES = st.tuples(st.integers(0, 4), st.sampled_from(["record", "attempt", "curve", "gone", "report"]))


class Records:
    """Five trials whose records, attempts and curves change one by one, each time to other objects."""

    def __init__(self) -> None:
        self.trials = [a_record(index) for index in range(5)]
        self.attempts = {"s-1": an_attempt(1, Phase.RUNNING)}
        self.builders = [CurveBuilder() for _ in range(5)]
        self.curves = {}

    def change(self, index: int, what: str) -> None:
        name, trial = f"s-{index}", self.trials[index]
        known = self.attempts.get(name)
        if what == "record":
            running = trial.status.conditions == []
            state = TrialReason.RUNNING if running else TrialReason.PENDING
            action = RecordPhase(trial=name, state=state, reason=state.value, message="")
            self.trials[index] = trial.model_copy(update={"status": status_phase(trial, action, Seen(), NOON)})
        elif what == "curve":
            self.builders[index].add(len(self.builders[index].build().points) + 1, 0.5 * index - 1)
            self.curves[name] = {"loss": self.builders[index].build()}
        elif what == "gone":
            self.attempts.pop(name, None)
        elif what == "report" and known is not None:
            self.attempts[name] = replace(known, report=a_report(loss=float(index)), phase=Phase.EXITED)
        else:
            self.attempts[name] = an_attempt(index, Phase.RUNNING, known.number + 1 if known else 0)


@given(st.lists(st.lists(CHANGES, max_size=3), max_size=8), st.sampled_from(GOALS))
def test_a_snapshotter_that_has_seen_earlier_states_sees_what_a_new_one_does(passes, goal: str):
    study = a_study(objectives=[{"metric": "loss", "goal": goal}])
    old, records = Snapshotter(), Records()

    for changes in passes:
        for index, what in changes:
            records.change(index, what)
        world = {
            "study": study,
            "trials": list(records.trials),
            "attempts": dict(records.attempts),
            "curves": dict(records.curves),
            "now": NOON,
        }
        assert old.build(**world) == Snapshotter().build(**world)
        # The same builder looks at records alone before a status is written.
        alone = world | {"attempts": {}, "curves": {}}
        assert old.build(**alone) == Snapshotter().build(**alone)


def test_an_edited_study_is_seen_with_its_new_limits_and_goals():
    records, snapshotter = Records(), Snapshotter()
    records.change(1, "curve")
    world = {"trials": records.trials, "attempts": records.attempts, "curves": records.curves, "now": NOON}

    before = snapshotter.build(study=a_study(budget={"maxTrials": 3, "parallelTrials": 1}), **world)
    after = snapshotter.build(
        study=a_study(
            budget={"maxTrials": 9, "parallelTrials": 2}, objectives=[{"metric": "loss", "goal": "maximize"}]
        ),
        **world,
    )

    assert (before.limits.max_trials, after.limits.max_trials) == (3, 9)
    assert (before.trials[1].values, after.trials[1].values) == ((-0.5,), (0.5,))
