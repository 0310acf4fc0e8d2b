"""Carries what passes see and do to the operator's metrics and to Kubernetes Events."""

from collections.abc import Sequence

from seatrial.api.conditions import Condition
from seatrial.api.study import Study
from seatrial.decide.actions import Action
from seatrial.entry.cluster.events import EventRecorder
from seatrial.entry.cluster.telemetry import Telemetry
from seatrial.entry.cluster.worker import Observer
from seatrial.ports import StudyKey

__all__ = ["Teller"]


class Teller(Observer):
    """Tells telemetry and Events."""

    def __init__(self, telemetry: Telemetry, events: EventRecorder) -> None:
        self._telemetry, self._events = telemetry, events

    def on_action(self, key: StudyKey, action: Action) -> None:
        """Take an action that was applied."""
        self._telemetry.observe_action(action)
        self._events.tell_action(key, action)

    def on_look(self, key: StudyKey, study: Study, before: Sequence[Condition]) -> None:
        """Take a study as a pass left it."""
        self._telemetry.show_study(key, study)
        self._events.tell_conditions(key, before, study.status.conditions if study.status else ())

    def on_invalid(self, key: StudyKey, before: Sequence[Condition], after: Sequence[Condition]) -> None:
        """Take that a study cannot be run."""
        self._telemetry.show_state(key, "InvalidSpec")
        self._events.tell_conditions(key, before, after)

    def on_gone(self, key: StudyKey) -> None:
        """Take that a study is gone."""
        self._telemetry.forget_study(key)
        self._events.forget_study(key)

    def on_decision(self, algorithm: str, seconds: float) -> None:
        """Take how long an algorithm thought."""
        self._telemetry.observe_decision(algorithm, seconds)
