"""Wrong files are answered with every problem: path, value, rule, next step."""

import copy
import json
from typing import Any

import pytest
import yaml

from api.wrong_studies import GONE, SOUND, WRONG
from seatrial.api.load import Parsed, parse_study
from seatrial.errors import Problem, SpecError
from seatrial.search.checks import load_object, load_study


def edited(edits: dict[str, Any]) -> dict[str, Any]:
    """Return the sound study with *edits*, which are paths with dots."""
    tree = yaml.safe_load(SOUND)
    for path, value in edits.items():
        *up, last = path.split(".")
        owner: Any = tree
        for part in up:
            owner = owner.setdefault(part, {}) if isinstance(owner, dict) else owner[int(part)]
        place: Any = int(last) if isinstance(owner, list) else last
        if value == GONE:
            del owner[place]
        else:
            owner[place] = copy.deepcopy(value)
    return tree


def refusal(text: str | bytes) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_study(text.encode() if isinstance(text, str) else text, source="study.yaml")
    return [str(problem) for problem in caught.value.problems]


def warnings_of(text: str) -> list[str]:
    return [f"{warning.path} {warning.message}" for warning in load_study(text.encode(), source="study.yaml").warnings]


def test_the_sound_study_is_accepted_without_a_word() -> None:
    assert warnings_of(SOUND) == []


@pytest.mark.parametrize(("edits", "expected"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_wrong_study_is_told_all_its_problems(edits: dict[str, Any], expected: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        load_study(json.dumps(edited(edits)).encode(), source="study.json")

    assert [f"{problem.path} {problem.message}" for problem in caught.value.problems] == expected


def test_a_volume_for_reading_is_no_fault_where_checkpoints_lie_in_a_store_or_another_container_mounts_it() -> None:
    mounts = [{"name": "checkpoints", "mountPath": "/weights", "readOnly": True}]
    volumes = [{"name": "checkpoints", "configMap": {"name": "x"}}]
    containers = [{"name": "trainer", "image": "a", "command": ["b"]}, {"name": "helper", "volumeMounts": mounts}]
    where = {"spec.trial.template.spec.volumes": volumes, "spec.trial.template.spec.containers": containers}
    in_a_store = {"spec.trial.container": "helper", "spec.trial.checkpoints": {"url": "s3://bucket/lab"}}

    assert load_study(json.dumps(edited(where)).encode(), source="s").study
    assert load_study(json.dumps(edited(where | in_a_store)).encode(), source="s").study
    with pytest.raises(SpecError, match="is true, but the volume checkpoints"):
        load_study(json.dumps(edited(where | {"spec.trial.container": "helper"})).encode(), source="s")


def test_an_object_from_the_server_is_judged_alike_but_has_no_lines() -> None:
    with pytest.raises(SpecError) as caught:
        load_object(edited({"spec.parameters.0.min": 0}))

    assert caught.value.problems == (
        Problem(
            path="spec.parameters[0].min",
            message="is 0, but scale: log needs min > 0; raise min or use scale: linear",
        ),
    )


def test_problems_come_with_their_lines_in_the_order_of_the_file() -> None:
    text = SOUND.replace("min: 16,", "min: 1000,").replace("[sgd, adamw]", "[sgd, sgd]").replace("seed: 7", "sede: 7")

    assert refusal(text) == [
        "line 8: spec.parameters[1].min is 1000, but max is 512 and min must not be above it; swap them",
        "line 10: spec.parameters[3].choices[1] is 'sgd', the same as choices[0]; remove one",
        "line 12: spec.algorithm.sede is unknown; did you mean `seed`?",
    ]


def test_what_yaml_made_of_a_word_is_said_where_it_is_wrong() -> None:
    text = (
        SOUND.replace("image: t,", "image: t, args: [on],")
        .replace("name: digits", "name: no")
        .replace("seed: 7", "seed: y")
    )

    assert refusal(text) == [
        'line 3: metadata.name is false (YAML reads no without quotes as a boolean), but must be text; write "no"',
        "line 12: spec.algorithm.seed is true (YAML reads y without quotes as a boolean), but must be a whole number; write it so",
        "line 15: spec.trial.template.spec.containers[0].args[0] is true, but must be text; put it in quotes",
    ]


def test_what_the_text_itself_has_wrong_is_told_with_the_rest() -> None:
    text = (
        SOUND.replace("seed: 7", "seed: 7, seed: 8")
        .replace("min: 0,", "min: .nan,")
        .replace("maxTrials: 60", "maxTrials: 0")
    )

    assert refusal(text) == [
        "line 11: spec.parameters[4].min is .nan, but must be finite: Kubernetes cannot hold it; write a number or leave it out",
        "line 12: spec.algorithm.seed is given twice (first in line 12); remove one",
        "line 13: spec.budget.maxTrials is 0, but must be at least 1; raise it",
    ]


def test_an_empty_entry_is_as_good_as_none() -> None:
    parsed = load_study((SOUND + "  metrics:\n  suspend: ~\n").encode(), source="study.yaml")

    assert parsed.study == load_study(SOUND.encode(), source="study.yaml").study


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "",
            "study.yaml is empty, but must hold a study; start with apiVersion: seatrial.dev/v1alpha1 and kind: Study",
            id="empty",
        ),
        pytest.param(
            "# nothing\n---\n",
            "study.yaml is empty, but must hold a study; start with apiVersion: seatrial.dev/v1alpha1 and kind: Study",
            id="comments",
        ),
        pytest.param(
            "- a",
            "line 1: study.yaml holds a list, but must hold the mapping of a study; start with apiVersion: seatrial.dev/v1alpha1 and kind: Study",
            id="a list",
        ),
        pytest.param(
            "hello",
            "line 1: study.yaml holds 'hello', but must hold the mapping of a study; start with apiVersion: seatrial.dev/v1alpha1 and kind: Study",
            id="a word",
        ),
        pytest.param(
            "a: 1",
            "line 1: kind is missing, but must be Study; start with apiVersion: seatrial.dev/v1alpha1 and kind: Study",
            id="another mapping",
        ),
        pytest.param(
            "apiVersion: seatrial.dev/v1alpha1\nkind: Trial",
            "line 2: kind is 'Trial', but must be Study; trials are made by a study: write the study",
            id="a trial",
        ),
        pytest.param(
            "apiVersion: kubeflow.org/v1beta1\nkind: Experiment",
            "line 2: kind is 'Experiment' of Katib, but must be Study of seatrial.dev/v1alpha1; rewrite it: the fields have other names",
            id="Katib",
        ),
        pytest.param(
            "apiVersion: batch/v1\nkind: Job",
            "line 2: kind is 'Job' of batch/v1, but must be Study of seatrial.dev/v1alpha1; is it the right file?",
            id="a job",
        ),
        pytest.param("kind: study", "line 1: kind is 'study', but must be Study; write kind: Study", id="lower case"),
        pytest.param("kind: 3", "line 1: kind is 3, but must be Study; write kind: Study", id="a number"),
        pytest.param(
            "kind: Job\n---\nkind: Pod",
            "study.yaml holds 2 documents (Job, Pod), but none of kind: Study; add one",
            id="documents without a study",
        ),
        pytest.param(
            f"{SOUND}---\n{SOUND}",
            "study.yaml holds 2 studies (at lines 1, 17), but one is run at a time; keep one in a file",
            id="two studies",
        ),
    ],
)
def test_a_file_that_is_no_study_is_told_what_is_expected(text: str, expected: str) -> None:
    assert refusal(text) == [expected]


def test_a_study_among_other_documents_is_taken_with_a_warning() -> None:
    parsed = load_study(f"kind: ConfigMap\n---\n{SOUND}".encode(), source="study.yaml")

    assert parsed.study.metadata.name == "digits"
    assert parsed.warnings == (Problem(path="", message="the document ConfigMap is ignored", line=1),)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(
            "[sgd, adamw]",
            "[sgd, adamw, off]",
            [
                'spec.parameters[3].choices[2] is off, which YAML reads as the boolean false; write "off" if text is meant'
            ],
            id="a choice that YAML made a boolean",
        ),
        pytest.param(
            "[32, 64, 128]",
            '[32, "64", 128]',
            ["spec.parameters[2].choices[1] is the text '64'; remove the quotes if a number is meant"],
            id="a number in quotes",
        ),
        pytest.param(
            "[32, 64, 128]",
            "[32, 128, 64]",
            [
                "spec.parameters[2].choices are numbers in no order, but an ordinal takes neighbours to be alike; sort them if that was not meant"
            ],
            id="an unsorted ordinal",
        ),
        pytest.param(
            "min: 0, max: 0.99,",
            "min: 0, max: 0.99, step: 0.1,",
            ["spec.parameters[4].max is 0.99, but the last value in steps of 0.1 is 0.9"],
            id="a max that no step reaches",
        ),
        pytest.param(
            "{name: hidden,",
            "{name: LR,",
            ["spec.parameters[1].name is 'LR', which differs from 'lr' only by case; rename one to be safe"],
            id="names apart by case",
        ),
        pytest.param(
            "goal: maximize}",
            "goal: maximize, window: 3}",
            ["spec.objectives[0].window is 3, but only summary: mean uses it and summary is last"],
            id="a window that nothing averages",
        ),
        pytest.param(
            "maxTrials: 60",
            "maxTrials: 60, parallelTrials: 99, maxFailedTrials: 60",
            [
                "spec.budget.parallelTrials is 99, but maxTrials is only 60",
                "spec.budget.maxFailedTrials is 60, but maxTrials is 60: failures never end the study",
            ],
            id="idle limits",
        ),
        pytest.param(
            "steps: {",
            "stopping: {rule: patience, patience: {minStep: 27, steps: 30}}\n  steps: {",
            [
                "spec.stopping.patience.minStep is 27, but steps.max is 27: no trial can be stopped early",
                "spec.stopping.patience.steps is 30, but steps.max is 27: no trial can be stopped early",
            ],
            id="a rule that cannot act",
        ),
        pytest.param(
            "goal: maximize}]",
            "goal: maximize}, {metric: ms, goal: minimize}]\n  stopping: {rule: median}",
            ["spec.stopping judges trials by the first objective, 'val_accuracy', alone"],
            id="stopping with two objectives",
        ),
        pytest.param(
            "image: t, command: [python, t.py]",
            "imag: t, args: [$(HP_lrr), $(HP_lr), $$(HP_x)]",
            [
                "spec.trial.template.spec.containers[0].image is missing: the study runs on a laptop, but a cluster needs an image",
                "spec.trial.template.spec.containers[0].command is missing: a laptop does not know what the image would start",
                "spec.trial.template.spec.containers[0].imag is no field of a container that is known here; did you mean `image`?",
                "spec.trial.template.spec.containers[0].args[0] uses $(HP_lrr), but there is no parameter lrr; did you mean `lr`?",
            ],
            id="a container that only half works",
        ),
        pytest.param(
            "budget: {maxTrials: 60}",
            "initialTrials: [{lr: 0.1}, {lr: 0.1}]\n  budget: {maxTrials: 60, maxDuration: 1h}",
            ["spec.initialTrials[1] is the same assignment as initialTrials[0]: it is run once"],
            id="an initial trial twice",
        ),
        pytest.param(
            "trial: {template:",
            "trial: {timeout: 1d, template:",
            [],
            id="a timeout alone is fine",
        ),
    ],
)
def test_what_looks_unintended_is_warned_of_and_accepted(old: str, new: str, expected: list[str]) -> None:
    assert old in SOUND

    assert sorted(warnings_of(SOUND.replace(old, new))) == sorted(expected)


def test_more_trials_than_assignments_are_warned_of() -> None:
    finite = edited({"spec.parameters": [{"name": "a", "type": "int", "min": 1, "max": 3}]})

    assert warnings_of(json.dumps(finite)) == [
        "spec.budget.maxTrials is 60, but the search space has only 3 assignments: the study ends earlier"
    ]


POPULATION = {"spec.algorithm": {"name": "pbt", "pbt": {"readyInterval": 9}}, "spec.budget.maxTrials": GONE}
MOUNTED = {"name": "checkpoints", "mountPath": "/checkpoints"}
NO_PLACE = (
    "spec.trial.checkpoints names no url, and no volume named checkpoints outlives a Pod: the study runs on a laptop, but on a cluster "
    "pbt needs a place that all trials share"
)


@pytest.mark.parametrize(
    ("mounts", "volume", "url", "expected"),
    [
        pytest.param([], {}, None, [NO_PLACE], id="nothing"),
        pytest.param([], {}, "s3://bucket/lab", [], id="a store"),
        pytest.param([MOUNTED], {"persistentVolumeClaim": {"claimName": "x"}}, None, [], id="a claim"),
        pytest.param([], {"persistentVolumeClaim": {"claimName": "x"}}, None, [NO_PLACE], id="a claim not mounted"),
        pytest.param([MOUNTED], {"emptyDir": {}}, None, [NO_PLACE], id="a folder of the Pod"),
    ],
)
def test_a_population_whose_members_would_not_find_checkpoints_on_a_cluster_is_warned_of(
    mounts: list[Any], volume: dict[str, Any], url: str | None, expected: list[str]
) -> None:
    container = {"name": "trainer", "image": "t", "command": ["python", "t.py"], "volumeMounts": mounts}
    place = {
        "spec.trial.template.spec": {"containers": [container], "volumes": [{"name": "checkpoints"} | volume]},
        "spec.trial.checkpoints": {"url": url} if url else {},
    }

    assert warnings_of(json.dumps(edited(POPULATION | place))) == expected


@pytest.mark.parametrize(
    ("interval", "steps", "warned"), [(9, 27, False), (26, 27, False), (27, 27, True), (None, 1, True)]
)
def test_a_population_that_is_never_judged_is_warned_of(interval: int | None, steps: int, warned: bool) -> None:
    pbt = {"readyInterval": interval} if interval else {}
    change = {"spec.algorithm": {"name": "pbt", "pbt": pbt}, "spec.steps.max": steps}

    words = [word for word in warnings_of(json.dumps(edited(POPULATION | change))) if "takes over another" in word]

    assert len(words) == warned


def test_a_finite_space_or_a_target_needs_no_other_limit() -> None:
    finite = edited({"spec.budget": GONE, "spec.parameters": [{"name": "a", "type": "int", "min": 1, "max": 3}]})
    target = edited({"spec.budget": GONE, "spec.objectives.0.target": 0.9})

    for tree in (finite, target):
        assert isinstance(load_study(json.dumps(tree).encode(), source="s"), Parsed)


def test_the_api_layer_alone_knows_its_own_rules() -> None:
    outside = edited({"spec.initialTrials": [{"lr": 5}]})

    parsed = parse_study(json.dumps(outside).encode(), source="s")

    assert parsed.study.spec.initial_trials == [{"lr": 5}]


def test_a_file_that_is_wrong_in_thousands_of_places_is_told_the_first_and_that_there_are_more() -> None:
    fields = refusal(json.dumps(edited({"spec.trial": {f"x{i}": 1 for i in range(5_000)}})))
    trials = refusal(json.dumps(edited({"spec.initialTrials": [{"lr": 5}] * 1_000})))

    assert len(fields) == 201
    assert fields[-1].endswith("and more fields are wrong; mend these first")
    assert len(trials) == 201
    assert trials[-1] == "line 1: spec.initialTrials[200].lr and more places are wrong alike; mend these first"


def test_a_text_that_no_environment_variable_could_hold_is_refused() -> None:
    tree = edited({"spec.parameters.3.choices": ["sgd", "a" * 500_000]})

    assert refusal(json.dumps(tree)) == [
        (
            f"line 1: spec.parameters[3].choices[1] is '{'a' * 59}…' with 500000 characters, but at most 1024 are allowed; "
            "give a short name and look the text up in the trial"
        )
    ]


def test_defaults_that_the_server_filled_in_are_no_reason_for_a_warning() -> None:
    stored = edited({"spec.objectives.0.window": 5, "spec.objectives.0.summary": "last", "spec.suspend": False})

    assert load_object(stored).warnings == ()
