"""The page as text: whole in every state of a study, inert whatever users write, small, and lazy."""

import json
import math
import re
import subprocess
import sys
from datetime import timedelta

import pytest

from report.studies import START, a_spec, a_study, a_trial, digits_study, two_objectives
from seatrial.api.conditions import StudyReason, TrialReason
from seatrial.api.study import Best, StudyStatus
from seatrial.report import build_view, render_html
from seatrial.report.embed import pack, to_json

POINT = {"lr": 0.001, "hidden": 64, "batchSize": 64, "optimizer": "adamw", "dropout": 0.1, "classes": 10}
NOW = START + timedelta(minutes=5)
SECTIONS = (
    "result",
    "budget",
    "best",
    "importances",
    "curves",
    "parallel",
    "slices",
    "contour",
    "timeline",
    "endings",
    "table",
    "repeat",
)


def page_of(*trials, **study):
    return render_html(build_view(a_study(**study), trials, {}, NOW))


def payload_of(page):
    return json.loads(re.search(r'<script type="application/json" id="payload">(.*?)</script>', page, re.DOTALL)[1])


def wide_spec():
    parameters = [{"name": f"p{i}", "type": "float", "min": 0, "max": 1} for i in range(64)]
    return a_spec(parameters=parameters)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_finished_study_has_every_section(section):
    page = render_html(build_view(*digits_study(30)))

    assert f'id="{section}"' in page


@pytest.mark.parametrize("section", ["pareto", "hypervolume", "front"])
def test_several_objectives_have_a_front(section):
    page = render_html(build_view(*two_objectives(20)))

    assert f'id="{section}"' in page or f'class="{section}"' in page


@pytest.mark.parametrize(
    ("page", "words"),
    [
        pytest.param(lambda: page_of(reason=None), "The study has not started yet.", id="no trial at all"),
        pytest.param(
            lambda: page_of(a_trial(0, POINT, state=TrialReason.PENDING, begins=None), reason=StudyReason.RUNNING),
            "No trial has a result yet.",
            id="one pending trial",
        ),
        pytest.param(
            lambda: page_of(a_trial(0, POINT, 0.5)),
            "At least 10 trials with a result are needed to say what matters; there are 1.",
            id="one trial",
        ),
        pytest.param(
            lambda: page_of(
                *(a_trial(i, POINT, state=TrialReason.FAILED, message="exit code 1") for i in range(4)),
                reason=StudyReason.NO_TRIAL_SUCCEEDED,
            ),
            "No trial has a result that could win.",
            id="all failed",
        ),
        pytest.param(
            lambda: page_of(*(a_trial(i, POINT, math.nan, state=TrialReason.DIVERGED) for i in range(12))),
            "No trial has a result that could win.",
            id="all NaN",
        ),
        pytest.param(
            lambda: page_of(
                a_trial(0, {"c": 1}, 0.5), spec=a_spec(parameters=[{"name": "c", "type": "constant", "value": 1}])
            ),
            "No parameter varies",
            id="constants only",
        ),
        pytest.param(
            lambda: page_of(a_trial(0, {f"p{i}": 0.5 for i in range(64)}, 0.5), spec=wide_spec()),
            "p63",
            id="64 parameters",
        ),
        pytest.param(
            lambda: page_of(
                a_trial(0, POINT, 0.5, metrics={"ms": 9.0}), spec=a_spec(constraints=[{"metric": "ms", "max": 5}])
            ),
            "No trial keeps all constraints.",
            id="a constraint that nobody keeps",
        ),
        pytest.param(
            lambda: page_of(*(a_trial(i, POINT, 0.5) for i in range(12))), "All results are equal", id="equal results"
        ),
        pytest.param(
            lambda: page_of(*(a_trial(i, POINT, -1e308 if i else 1e308) for i in range(12))),
            "Winner",
            id="values at the end of the floats",
        ),
        pytest.param(lambda: page_of(a_trial(0, {"gone": 3}, 0.5)), "Winner", id="an assignment of another space"),
        pytest.param(
            lambda: render_html(build_view(*digits_study(16, running=True))), "Leader so far", id="still running"
        ),
    ],
)
def test_every_state_of_a_study_gives_a_whole_page(page, words):
    text = page()

    assert words in text
    assert text.endswith("</html>\n")


EVIL = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>\u2028${1}"


def evil_study():
    spec = a_spec(
        parameters=[
            {"name": "text", "type": "categorical", "choices": [EVIL, "tame"]},
            {"name": "x", "type": "float", "min": 0, "max": 1},
        ]
    )
    trials = [
        a_trial(
            i,
            {"text": EVIL if i % 2 else "tame", "x": i / 12},
            i / 12,
            message=EVIL,
            checkpoint=EVIL,
            origin=("gp", EVIL),
            state=TrialReason.STOPPED if i % 3 else TrialReason.COMPLETED,
            step=i,
        )
        for i in range(12)
    ]
    return a_study(spec, message=EVIL), trials, {}, NOW


def test_nothing_that_a_user_wrote_is_markup():
    page = render_html(build_view(*evil_study()))

    assert "<script>window" not in page
    assert "<img" not in page
    assert page.count("<script") == page.count("</script>") == 3


def test_text_survives_the_way_into_the_page():
    page = render_html(build_view(*evil_study()))

    assert EVIL in [cell for row in payload_of(page)["table"]["rows"] for cell in row]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("</script>", '"\\u003c/script\\u003e"'),
        ("a\u2028b", '"a\\u2028b"'),
        (math.nan, '"NaN"'),
        ([math.inf, -math.inf, 0.5], '["Infinity","-Infinity",0.5]'),
        (2**60, f'"{2**60}"'),
        ({"a": None, "b": True}, '{"a":null,"b":true}'),
    ],
)
def test_data_are_written_so_that_any_browser_reads_them(value, text):
    assert to_json(value) == text


def test_the_table_has_a_row_for_every_trial_with_exact_values():
    study, trials, curves, now = digits_study(30)

    table = payload_of(render_html(build_view(study, trials, curves, now)))["table"]

    labels = [column["label"] for column in table["columns"]]
    assert [row[0] for row in table["rows"]] == list(range(30))
    assert [row[labels.index("lr")] for row in table["rows"]] == [trial.spec.assignment["lr"] for trial in trials]


def test_the_same_study_gives_the_same_page():
    assert render_html(build_view(*digits_study(16))) == render_html(build_view(*digits_study(16)))


def test_packing_does_not_depend_on_the_clock():
    assert pack("text") == pack("text")


@pytest.mark.slow
def test_ten_thousand_trials_stay_below_six_megabytes():
    view = build_view(*digits_study(10_000))

    assert len(render_html(view).encode()) < 6_000_000


def test_the_page_forbids_every_fetch():
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page_of(a_trial(0, POINT, 0.5)))

    assert policy.startswith("default-src &#x27;none&#x27;")
    assert "http" not in policy


def test_the_drawing_libraries_are_not_loaded_before_they_are_needed():
    program = "import sys, seatrial.report; print([name for name in ('plotly', 'matplotlib', 'pandas') if name in sys.modules])"

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def test_trials_that_ended_in_the_same_words_are_told_once():
    page = page_of(*(a_trial(i, POINT, state=TrialReason.FAILED, message="no space left on device") for i in range(40)))

    endings = page[page.index('id="endings"') : page.index('id="table"')]
    assert endings.count("No space left on device.") == 1
    assert "and 24 more trials" in endings


def test_the_winner_is_shown_with_its_parameters_its_checkpoint_and_how_to_get_it():
    page = page_of(a_trial(0, POINT, 0.8125, step=27, checkpoint="/data/digits-0/step-27"))

    result = page[page.index('id="result"') : page.index('id="budget"')]
    for words in (
        "0.8125",
        "digits-0",
        "<dt>optimizer</dt><dd>adamw</dd>",
        "/data/digits-0/step-27",
        "seatrial export digits --best",
    ):
        assert words in result


def test_a_winner_that_is_not_the_best_measured_trial_is_explained():
    study, trials, curves, now = digits_study(30)
    completed = [trial for trial in trials if trial.status.conditions[0].reason == "Completed"]
    worst, *_, best = sorted(completed, key=lambda trial: trial.status.observation.values[0])

    def chosen(trial):
        choice = Best(
            trial=trial.metadata.name,
            index=trial.spec.index,
            values=trial.status.observation.values,
            assignment=trial.spec.assignment,
        )
        status = (study.status or StudyStatus()).model_copy(update={"best": choice})
        return render_html(build_view(study.model_copy(update={"status": status}), trials, curves, now))

    assert "takes that for luck" in chosen(worst)
    assert "takes that for luck" not in chosen(best)
