"""Whose weights a trial trained on."""

import pytest
import yaml

from decide.builders import a_study
from seatrial.api.meta import Metadata
from seatrial.api.trial import Membership, Observation, Origin, Parent, Trial, TrialSpec, TrialStatus
from seatrial.decide.lineage import build_replay, build_schedule, build_stretches, line_of
from seatrial.search.checks import load_study


def trial(
    index: int, until: int, lr: float, parent: tuple[int, int] | None = None, move: str = "start", member: int = 0
):
    """Return a trial that reached *until*, from step parent[1] of trial parent[0]."""
    start = None if parent is None else Parent(trial=f"s-{parent[0]}", step=parent[1], digest=f"sha256:{parent[0]}")
    return Trial(
        metadata=Metadata(name=f"s-{index}"),
        spec=TrialSpec(
            study="s",
            index=index,
            assignment={"lr": lr},
            seed=0,
            origin=Origin(algorithm="pbt"),
            parent=start,
            until_step=until,
            membership=Membership(member=member, generation=0, move=move),
        ),
        status=TrialStatus(observation=Observation(values=[1.0], step=until)),
    )


FAMILY = [
    trial(0, 3, 0.1),
    trial(1, 3, 0.5, member=1),
    trial(2, 6, 0.1, (0, 3), "continue"),
    trial(3, 6, 0.12, (0, 3), "exploit", member=1),
    trial(4, 9, 0.12, (3, 6), "continue", member=1),
    trial(5, 9, 0.08, (3, 6), "exploit"),
]


@pytest.mark.parametrize(
    ("index", "line", "schedule"),
    [
        pytest.param(1, [1], [(3, {"lr": 0.5})], id="a trial of its own"),
        pytest.param(2, [0, 2], [(6, {"lr": 0.1})], id="neighbours with one assignment are one part"),
        pytest.param(4, [0, 3, 4], [(3, {"lr": 0.1}), (9, {"lr": 0.12})], id="across a takeover"),
        pytest.param(5, [0, 3, 5], [(3, {"lr": 0.1}), (6, {"lr": 0.12}), (9, {"lr": 0.08})], id="two takeovers"),
    ],
)
def test_a_line_and_its_schedule(index, line, schedule):
    found = line_of(build_stretches(FAMILY), index)

    assert [stretch.index for stretch in found] == line
    assert list(build_schedule(found)) == schedule


def test_a_part_ends_where_the_line_leaves_it_and_not_where_its_trial_ended():
    longer = [trial(0, 9, 0.1), trial(1, 9, 0.2, (0, 6), "exploit")]

    assert build_schedule(line_of(build_stretches(longer), 1)) == ((6, {"lr": 0.1}), (9, {"lr": 0.2}))


def test_a_line_whose_older_records_are_gone_begins_later():
    line = line_of(build_stretches(FAMILY[2:]), 5)

    assert [stretch.index for stretch in line] == [3, 5]
    assert line[0].from_step == 3


def test_the_replayed_study_is_a_sound_one_and_keeps_everything_else():
    study = a_study(
        name="a" * 52,
        parameters=[{"name": "lr", "type": "float", "min": 0.01, "max": 1, "scale": "log"}],
        algorithm={"name": "pbt", "seed": 5, "pbt": {"populationSize": 4, "readyInterval": 3}},
        steps={"max": 9},
        initialTrials=[{"lr": 0.5}],
        budget={"parallelTrials": 4, "maxDuration": "1h"},
    )

    schedule = build_schedule(line_of(build_stretches(FAMILY), 5))
    text = yaml.safe_dump(build_replay(study, schedule))

    found = load_study(text.encode(), source="replay.yaml").study
    assert found.metadata.name == "a" * 45 + "-replay"
    assert found.spec.algorithm.name == "replay"
    assert found.spec.algorithm.seed == 5
    assert [(s.until_step, s.parameters) for s in found.spec.algorithm.replay.schedule] == list(schedule)
    assert found.spec.initial_trials == []
    assert (found.spec.budget.max_duration, found.spec.budget.parallel_trials) == ("1h", 1)
    assert found.spec.trial == study.spec.trial
