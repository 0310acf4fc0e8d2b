"""Log lines: whole, short, and without secrets."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.decide.actions import StopAttempt
from seatrial.entry.cluster.logs import JsonLines, LogFormat, TextLines, set_up_logs


def a_record(message: str = "Pass failed", **fields: object) -> logging.LogRecord:
    record = logging.LogRecord("seatrial.x", logging.INFO, "x.py", 1, message, (), None)
    record.created = 1_767_225_600.25
    vars(record).update(fields)
    return record


def read(record: logging.LogRecord) -> dict[str, object]:
    return json.loads(JsonLines().format(record))


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """Let a test set up logs, and put everything back."""
    loggers = [logging.getLogger(), logging.getLogger("seatrial")]
    before = [(logger.handlers[:], logger.level) for logger in loggers]
    yield loggers[0]
    for logger, (handlers, level) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.setLevel(level)


def test_an_event_is_one_json_object_with_its_fields():
    found = read(a_record(study="digits", namespace="ml", trial="digits-7", seconds=0.5))

    assert found == {
        "time": "2026-01-01T00:00:00.250Z",
        "level": "info",
        "logger": "seatrial.x",
        "message": "Pass failed",
        "study": "digits",
        "namespace": "ml",
        "trial": "digits-7",
        "seconds": 0.5,
    }


def test_an_action_is_written_with_its_reason_and_its_sentence():
    action = StopAttempt(trial="digits-7", attempt=0, reason="BelowMedian", message="0.1 is below the median 0.5")

    found = read(a_record("Applied StopAttempt", study="digits", action=action))

    assert found["message"] == "Applied StopAttempt"
    assert (found["action"], found["trial"], found["attempt"]) == ("StopAttempt", "digits-7", 0)
    assert (found["reason"], found["detail"]) == ("BelowMedian", "0.1 is below the median 0.5")


@pytest.mark.parametrize("name", ["token", "bearer_token", "password", "client_secret", "Authorization", "apiKey"])
def test_a_field_named_as_a_secret_is_hidden_whatever_it_holds(name: str):
    line = JsonLines().format(a_record(**{name: "hunter2", "headers": {name: "hunter2"}}))

    assert "hunter2" not in line


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter2",
        '{"authorization": "Bearer hunter2"}',
        "GET http://user:hunter2@prometheus:9090/api failed",
        "password=hunter2 is wrong",
        "token: hunter2",
        "api_key='hunter2'",
    ],
)
def test_a_secret_within_a_text_is_hidden_in_message_field_and_traceback(text: str):
    record = a_record(text, detail=text, many=[text])
    record.exc_info = (ValueError, ValueError(text), None)

    for form in (JsonLines(), TextLines()):
        assert "hunter2" not in form.format(record)


def test_ordinary_words_stay():
    text = "metric tokens_per_second is 5, http://prometheus:9090/api is read"

    assert read(a_record(text))["message"] == text


def test_no_value_is_long():
    line = JsonLines().format(a_record("m" * 100_000, a="b" * 100_000, c=[["d" * 2000] * 100] * 2))

    assert len(line) < 80_000
    assert len(read(a_record(a="b" * 100_000))["a"]) == 1001


@given(
    st.dictionaries(st.sampled_from(["study", "n", "x"]), st.floats() | st.text() | st.none() | st.binary()), st.text()
)
def test_every_event_is_one_line_of_json_whatever_it_carries(fields: dict[str, object], text: str):
    record = a_record("%s", **fields)
    record.args = (text,)

    line = JsonLines().format(record)

    assert "\n" not in line
    assert json.loads(line)["level"] == "info"
    json.dumps(json.loads(line), allow_nan=False)


def test_a_text_line_is_one_line_with_its_fields():
    line = TextLines().format(a_record("first\nsecond", study="digits"))

    assert line == "2026-01-01T00:00:00.250Z INFO    first\\nsecond  study=digits"


def test_other_libraries_only_speak_of_what_is_wrong(root: logging.Logger):
    stream = io.StringIO()
    set_up_logs(LogFormat.JSON, "DEBUG", stream)

    logging.getLogger("kopf.objects").info("Handler succeeded")
    logging.getLogger("aiohttp").warning("slow")
    logging.getLogger("seatrial.reconcile").debug("looked")

    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["slow", "looked"]
    assert len(root.handlers) == 1


def test_a_level_that_does_not_exist_is_refused(root: logging.Logger):
    with pytest.raises(ValueError, match="LOUD"):
        set_up_logs(LogFormat.TEXT, "loud", io.StringIO())
