"""Pods that run one attempt after another (``trial.reuse``): what makes one of a Pod, and how it is handed on. Pure.

The training container then runs the harness' ``seatrial_harness.slot``, which is told what to run by an annotation, through a file of the
downward API, and tells how it went by its log, and at its end by its termination message. docs/wire.md is the contract.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.port import KubeObject
from seatrial.api.environment import select_container
from seatrial.api.programs import find_python
from seatrial.api.study import MetricsSource, Study

__all__ = [
    "LastWords",
    "SlotEnd",
    "SlotRecord",
    "build_claim",
    "build_nudge",
    "build_stop",
    "directive_id",
    "expect_attempt",
    "find_end",
    "has_begun",
    "make_slot",
    "read_slot",
    "split_message",
    "why_cold",
]

_VOLUME = "seatrial-directive"
_FOLDER = "/run/seatrial"
_FILE = "directive"
_PORT = 9465
_IDLE_SECONDS = 60
"""How long a container waits for its next attempt before it ends by itself: the operator may be away, and others wait for the GPU."""

_BOOTSTRAP = """\
import os, sys
sys.path[:] = [place for place in sys.path if place]
try:
    from seatrial_harness.slot import main
except Exception:
    cold = sys.argv[sys.argv.index("--") + 1:]
    os.execvp(cold[0], cold)
main()
"""

_BEGAN, _ENDED = "seatrial-slot began ", "seatrial-slot ended "
_HEADER = re.compile(r"seatrial-slot (\S+) (\d{1,3})(?: (\d{1,11}(?:\.\d+)?) (\S+))?\n")
_LAST_SECOND = 1e11
# What the kubelet asks or does by itself takes a container for one that runs one program.
_MINDED = ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRecord:
    """What is kept of a Pod that runs one attempt after another.

    Attributes:
        id: Of the attempt that it was handed to last.
        fit: Attempts with the same text can have it.
        handed_at: When it was handed on; None for the attempt that it was made for.
        stop_at: When its attempt was told to stop.
        busy: Whether it says that an attempt runs, or is about to.
        grace_seconds: How long an attempt may take to stop.
    """

    id: str
    fit: str
    handed_at: datetime | None
    stop_at: datetime | None
    busy: bool
    grace_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotEnd:
    """How an attempt ended, by the log of the container that goes on.

    Attributes:
        code: Exit code, as a shell tells it.
        message: Termination message, or the end of the output where there is none and it failed.
        begun: Unix seconds.
        finished: Unix seconds.
        why: ``stop``, ``timeout``, or empty: it ended by itself.
    """

    code: int
    message: str
    begun: float
    finished: float
    why: str


def why_cold(study: Study) -> str:
    """Return why every attempt of a study has a Pod of its own; empty when Pods are handed on."""
    if not study.spec.trial.reuse:
        return "trial.reuse is not set"
    pod = study.spec.trial.template.get("spec")
    spec: Mapping[str, object] = pod if isinstance(pod, dict) else {}
    _, container = select_container(study)
    if study.spec.metrics.source is MetricsSource.LOGS:
        return "metrics.source is logs, and a Pod has one log"
    if spec.get("hostNetwork"):
        return "the template has hostNetwork, and no port of the node is Seatrial's to take"
    if spec.get("activeDeadlineSeconds") is not None:
        return "the template has activeDeadlineSeconds, which would end all attempts of a Pod together"
    for field in _MINDED:
        if container.get(field) is not None:
            return f"the training container has a {field}, which takes it for one program"
    for held in _containers(spec):
        if any(mount.get("subPathExpr") for mount in _mappings(held.get("volumeMounts"))):
            return f"container {held.get('name')} mounts a subPathExpr, which is read once a Pod"
        if any(_tells_of_pod(variable) for variable in _mappings(held.get("env"))):
            return f"container {held.get('name')} has a variable of its Pod's metadata, which is read once a Pod"
    if find_python(_command(container)) is None:
        return "the training container has no command of the kind python script.py"
    return ""


def directive_id(trial_uid: str, number: int) -> str:
    """Return the identity of an attempt, as directives have it."""
    return f"{trial_uid}/{number}"


def make_slot(study: Study, pod: KubeObject, container: KubeObject, own: Mapping[str, str]) -> None:
    """Turn the Pod of one attempt into one that can be handed on to others.

    Args:
        study: The study.
        pod: The Pod, whole but for this; it is changed.
        container: Its container that trains.
        own: The variables that differ from attempt to attempt.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    fit = _fit(study, pod, container, own)
    command = _command(container)
    program = find_python(command)
    if program is None:
        return
    grace = float(spec["terminationGracePeriodSeconds"])
    directive: KubeObject = {
        "id": directive_id(metadata["ownerReferences"][0]["uid"], int(metadata["labels"][names.LABEL_ATTEMPT])),
        "command": command,
        "interpreter": len(program.interpreter),
        "environment": [[held["name"], held["value"]] for held in container["env"] if "value" in held],
        "grace": grace,
    }
    # The kubelet's clock is that of all attempts together: the container has one for each.
    deadline = spec.pop("activeDeadlineSeconds", None)
    if deadline is not None:
        directive["timeout"] = deadline
    annotations = {names.ANNOTATION_DIRECTIVE: json.dumps(directive, ensure_ascii=False), names.ANNOTATION_FIT: fit}
    metadata["annotations"] = dict(metadata.get("annotations") or {}) | annotations
    port = _free_port(spec)
    options = [
        "--directive",
        f"{_FOLDER}/{_FILE}",
        "--port",
        str(port),
        "--message",
        container["terminationMessagePath"],
    ]
    container["command"] = [*program.interpreter, "-c", _BOOTSTRAP]
    container["args"] = [*options, "--idle", str(_IDLE_SECONDS), "--", *command]
    container["readinessProbe"] = {"tcpSocket": {"port": port}, "periodSeconds": 5, "failureThreshold": 1}
    source = {"path": _FILE, "fieldRef": {"fieldPath": f"metadata.annotations['{names.ANNOTATION_DIRECTIVE}']"}}
    spec["volumes"] = [*(spec.get("volumes") or []), {"name": _VOLUME, "downwardAPI": {"items": [source]}}]
    mount = {"name": _VOLUME, "mountPath": _FOLDER, "readOnly": True}
    container["volumeMounts"] = [*(container.get("volumeMounts") or []), mount]


def read_slot(pod: KubeObject, container: str, id: str) -> SlotRecord | None:  # noqa: A002 - as in the directive
    """Return what is kept of a Pod that runs one attempt after another; None for any other.

    Args:
        pod: The Pod.
        container: Name of its container that trains.
        id: Of the attempt that its labels name.
    """
    metadata = pod["metadata"]
    annotations = metadata.get("annotations") or {}
    if names.ANNOTATION_DIRECTIVE not in annotations or names.ANNOTATION_FIT not in annotations:
        return None
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    busy = any(status.get("name") == container and status.get("ready") for status in statuses)
    return SlotRecord(
        id=id,
        fit=annotations[names.ANNOTATION_FIT],
        handed_at=_parse_time(annotations.get(names.ANNOTATION_HANDED)),
        stop_at=_parse_time(annotations.get(names.ANNOTATION_STOP)),
        busy=busy,
        grace_seconds=float(pod["spec"].get("terminationGracePeriodSeconds") or 0),
    )


def expect_attempt(trial: str, number: int) -> list[KubeObject]:
    """Return the part of a JSON patch that lets it fail if the Pod is of another attempt."""
    wanted = {names.LABEL_TRIAL: trial, names.LABEL_ATTEMPT: str(number)}
    return [{"op": "test", "path": _escape("/metadata/labels/", name), "value": text} for name, text in wanted.items()]


def build_claim(uid: str, place: int, before: tuple[str, int], wanted: KubeObject, now: datetime) -> list[KubeObject]:
    """Return the JSON patch that hands a Pod on to another attempt, if it still is the Pod and still that of the attempt *before*.

    Args:
        uid: Identity of the Pod.
        place: Place of our finalizer, without which its result would not be kept.
        before: Trial and number of the attempt that had it.
        wanted: The Pod that would be made for the next one.
        now: The time.
    """
    metadata = wanted["metadata"]
    trial, attempt = (_escape("/metadata/labels/", name) for name in (names.LABEL_TRIAL, names.LABEL_ATTEMPT))
    written = {
        names.ANNOTATION_DIRECTIVE: metadata["annotations"][names.ANNOTATION_DIRECTIVE],
        names.ANNOTATION_HANDED: now.isoformat(),
        # Taken away is what may not be there: emptied it says the same.
        names.ANNOTATION_STOP: "",
    }
    return [
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "test", "path": f"/metadata/finalizers/{place}", "value": names.FINALIZER},
        *expect_attempt(*before),
        {"op": "replace", "path": trial, "value": metadata["labels"][names.LABEL_TRIAL]},
        {"op": "replace", "path": attempt, "value": metadata["labels"][names.LABEL_ATTEMPT]},
        {"op": "replace", "path": "/metadata/ownerReferences", "value": metadata["ownerReferences"]},
        *_annotate(written),
    ]


def build_stop(uid: str, of: tuple[str, int], slot: SlotRecord, now: datetime) -> list[KubeObject]:
    """Return the JSON patch that tells an attempt to stop, and leaves its container to the next one.

    It fails if the Pod is of another attempt by now: a request may be late.
    """
    directive = {"id": slot.id, "stop": True, "grace": slot.grace_seconds}
    return [
        {"op": "test", "path": "/metadata/uid", "value": uid},
        *expect_attempt(*of),
        *_annotate({names.ANNOTATION_DIRECTIVE: json.dumps(directive), names.ANNOTATION_STOP: now.isoformat()}),
    ]


def build_nudge(uid: str, now: datetime) -> list[KubeObject]:
    """Return the JSON patch that makes a node look at its Pod's annotations again.

    A kubelet that is writing the file of an older directive when the next one comes takes it for written, and looks again at the Pod's next
    change, or after a minute or more.
    """
    expected = {"op": "test", "path": "/metadata/uid", "value": uid}
    return [expected, *_annotate({names.ANNOTATION_NUDGED: now.isoformat()})]


def _annotate(annotations: Mapping[str, str]) -> list[KubeObject]:
    return [
        {"op": "add", "path": _escape("/metadata/annotations/", name), "value": text}
        for name, text in sorted(annotations.items())
    ]


def has_begun(log: str, id: str) -> bool:  # noqa: A002 - as in the directive
    """Return whether a container has said that an attempt begins."""
    return any(line.startswith(_BEGAN) and json.dumps(id) in line for line in log.splitlines())


def find_end(log: str, id: str) -> SlotEnd | None:  # noqa: A002 - as in the directive
    """Return how an attempt ended by what its container printed last; None when that does not say."""
    for line in reversed(log.splitlines()):
        if not line.startswith(_ENDED):
            continue
        try:
            told = json.loads(line.removeprefix(_ENDED))
            if told["id"] == id:
                return SlotEnd(
                    code=int(told["code"]),
                    message=str(told["message"]),
                    begun=_read_time(told["begun"]),
                    finished=_read_time(told["finished"]),
                    why=str(told.get("why") or ""),
                )
        except (ValueError, KeyError, TypeError, OverflowError):
            # Something else printed it, or only a part is left of it: it is printed again.
            continue
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastWords:
    """The termination message of a container that ran one attempt after another.

    Attributes:
        id: Of the attempt that it is of.
        code: That one's exit code.
        message: Its own message.
        finished: Unix seconds; None where that is not told.
        why: ``stop``, ``timeout`` or empty.
    """

    id: str
    code: int
    message: str
    finished: float | None
    why: str


def split_message(text: str) -> LastWords | None:
    """Return what a container's last message says; None for a message of another kind."""
    found = _HEADER.match(text)
    if found is None:
        return None
    return LastWords(
        id=found[1],
        code=int(found[2]),
        message=text[found.end() :],
        finished=float(found[3]) if found[3] else None,
        why=found[4] if found[4] and found[4] != "-" else "",
    )


def _read_time(told: object) -> float:
    """Return unix seconds that are the time of something.

    Raises:
        ValueError: If they are not.
    """
    seconds = float(str(told))
    if not 0.0 <= seconds < _LAST_SECOND:
        raise ValueError(f"{told} is no time")
    return seconds


def _fit(study: Study, pod: KubeObject, container: KubeObject, own: Mapping[str, str]) -> str:
    """Return a text that is the same for attempts that can have the same Pod: it tells of all that a Pod has from its start."""
    written = study.spec.trial.template.get("metadata")
    others = [held for held in container["env"] if held["name"] not in own]
    alike = {**container, "env": others}
    containers = [alike if held is container else held for held in pod["spec"]["containers"]]
    whole = {"study": study.metadata.uid, "metadata": written, "spec": {**pod["spec"], "containers": containers}}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:32]


def _containers(spec: Mapping[str, object]) -> Iterator[Mapping[str, Any]]:
    for field in ("containers", "initContainers"):
        yield from _mappings(spec.get(field))


def _mappings(items: object) -> Iterator[Mapping[str, Any]]:
    yield from (item for item in (items if isinstance(items, list) else ()) if isinstance(item, dict))


def _tells_of_pod(variable: Mapping[str, Any]) -> bool:
    source = variable.get("valueFrom")
    field = source.get("fieldRef") if isinstance(source, dict) else None
    path = str(field.get("fieldPath")) if isinstance(field, dict) else ""
    return path.startswith("metadata.") and path != "metadata.namespace"


def _command(container: Mapping[str, object]) -> list[str]:
    """Return the command line of a container, empty when its image knows it."""
    if not container.get("command"):
        return []
    words: list[str] = []
    for field in ("command", "args"):
        items = container.get(field)
        words += [str(item) for item in items] if isinstance(items, list) else []
    return words


def _free_port(spec: KubeObject) -> int:
    taken = {port.get("containerPort") for held in spec["containers"] for port in held.get("ports") or ()}
    return next(port for port in range(_PORT, _PORT + 1000) if port not in taken)


def _escape(root: str, name: str) -> str:
    return root + name.replace("~", "~0").replace("/", "~1")


def _parse_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
