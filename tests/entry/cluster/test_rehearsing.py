"""The first Pod of a study is judged before anything is created: once a generation, and again where it was refused."""

from __future__ import annotations

import asyncio

import pytest

from decide.builders import a_study
from seatrial.adapters.kubernetes.runner import Refusal
from seatrial.adapters.local.memory import SimulatedClock
from seatrial.api.conditions import Condition
from seatrial.api.study import Study, StudyStatus
from seatrial.api.trial import Trial
from seatrial.entry.cluster.rehearsing import Rehearsal
from seatrial.errors import Problem, SpecError

QUOTA = Refusal(reason="QuotaExceeded", message='pods "s-0-0" is forbidden: exceeded quota: none')
TYPO = Refusal(reason="PodInvalid", message='unknown field "spec.containers[0].imagePullPolice"')


class Judge:
    def __init__(self, answer: Refusal | None = None) -> None:
        self.answer, self.asked = answer, 0
        self.wrong = False

    async def rehearse(self, study: Study, trial: Trial) -> Refusal | None:
        self.asked += 1
        if self.wrong:
            raise SpecError([Problem(path="spec.trial.container", message="is x, but there is no such container")])
        return self.answer


def generation(number: int, **status: object) -> Study:
    study = a_study()
    metadata = study.metadata.model_copy(update={"generation": number})
    return study.model_copy(update={"metadata": metadata, "status": StudyStatus(**status) if status else None})


def accepted(number: int, status: str = "True") -> list[Condition]:
    at = "2030-01-01T00:00:00Z"
    return [
        Condition(
            type="TemplateAccepted", status=status, reason="X", last_transition_time=at, observed_generation=number
        )
    ]


class Case:
    def __init__(self, answer: Refusal | None = None) -> None:
        self.judge, self.clock = Judge(answer), SimulatedClock()
        self.rehearsal = Rehearsal(self.judge, clock=self.clock)

    def hold(self, study: Study, *, has_pods: bool = False) -> str:
        return asyncio.run(self.rehearsal.hold(study, has_pods=has_pods))


def test_a_good_template_is_judged_once_a_generation():
    case = Case()

    assert [case.hold(generation(1)), case.hold(generation(1))] == ["", ""]
    assert case.judge.asked == 1
    assert case.rehearsal.remark is not None
    assert (case.rehearsal.remark.status, case.rehearsal.due_seconds) == ("True", None)
    case.hold(generation(2))
    assert case.judge.asked == 2


def test_what_is_stored_is_not_judged_again_after_a_restart():
    case = Case(TYPO)

    assert case.hold(generation(3, conditions=accepted(3))) == ""
    assert case.hold(generation(3, completion_time="2030-01-01T00:00:00Z", observed_generation=3)) == ""
    assert (case.judge.asked, case.rehearsal.remark) == (0, None)


def test_what_was_stored_of_another_generation_says_nothing():
    for study in (
        generation(4, conditions=accepted(3)),
        generation(4, conditions=accepted(4, "False")),
        generation(4, completion_time="2030-01-01T00:00:00Z", observed_generation=3),
    ):
        case = Case(TYPO)

        assert case.hold(study) == f"PodInvalid: {TYPO.message}"
        assert case.judge.asked == 1


def test_a_refused_template_holds_the_study_and_is_judged_again_after_a_while():
    case = Case(TYPO)
    words = f"PodInvalid: {TYPO.message}"
    assert case.hold(generation(1)) == words
    assert case.rehearsal.due_seconds == 30

    case.clock.advance(29)
    assert case.hold(generation(1)) == words
    assert case.judge.asked == 1
    case.clock.advance(1)
    assert case.hold(generation(1)) == words
    assert (case.judge.asked, case.rehearsal.due_seconds) == (2, 60)
    case.clock.advance(60)
    assert case.hold(generation(1)) == words
    assert case.rehearsal.due_seconds == 60
    case.clock.advance(60)
    case.judge.answer = None

    assert case.hold(generation(1)) == ""
    assert case.rehearsal.due_seconds is None
    assert case.rehearsal.remark is not None
    assert case.rehearsal.remark.status == "True"


def test_an_edit_is_judged_at_once():
    case = Case(TYPO)
    case.hold(generation(1))
    case.judge.answer = None

    assert case.hold(generation(2)) == ""


def test_a_quota_that_the_study_itself_has_used_up_says_nothing_of_its_template():
    case = Case(QUOTA)

    assert case.hold(generation(1), has_pods=True) == ""
    assert case.rehearsal.remark is None
    assert case.rehearsal.due_seconds == 30
    assert case.hold(generation(1), has_pods=True) == ""
    assert case.judge.asked == 1
    assert "exceeded quota" in Case(QUOTA).hold(generation(1))


def test_a_template_without_the_container_that_trains_is_refused_like_any_other():
    case = Case()
    case.judge.wrong = True

    assert case.hold(generation(1)) == "PodInvalid: spec.trial.container is x, but there is no such container"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["python", "train.py"], "Pods are handed on from trial to trial"),
        (
            None,
            "trial.reuse has no effect: the training container has no command of the kind python script.py",
        ),
    ],
)
def test_a_template_with_reuse_is_accepted_with_a_word_about_it(command: list[str] | None, words: str):
    case, study = Case(), generation(1)
    container = {"name": "main", "command": command} if command else {"name": "main"}
    changes = {"reuse": True, "template": {"spec": {"containers": [container]}}}
    spec = study.spec.model_copy(update={"trial": study.spec.trial.model_copy(update=changes)})

    assert case.hold(study.model_copy(update={"spec": spec})) == ""
    assert case.rehearsal.remark is not None
    assert case.rehearsal.remark.message == f"the API server takes the Pod of a trial; {words}"
