"""From Trial and Study to the Pod of one attempt: the user's template, untouched but for what is added here. Pure.

What is added, and only where the template says nothing of its own: see :func:`build_pod`. Nothing here looks at what else the
template contains, so that GPU limits, claims, tolerations, gates and fields of Kubernetes versions to come pass through.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.placement import exclude_nodes
from seatrial.adapters.kubernetes.port import TRIALS, KubeObject
from seatrial.adapters.kubernetes.security import add_security_defaults
from seatrial.adapters.kubernetes.slot_pods import make_slot, why_cold
from seatrial.api.base import to_seconds
from seatrial.api.checkpoints import CHECKPOINTS_VOLUME
from seatrial.api.environment import TrialPaths, build_environment, checkpoint_url, select_container
from seatrial.api.study import Study
from seatrial.api.trial import Trial
from seatrial.decide.fidelity import until_step

__all__ = ["BACKSTOP_SECONDS", "build_pod", "find_metrics_port", "training_container"]

BACKSTOP_SECONDS = 600
"""The operator ends a trial at its timeout. Should it be away, the kubelet does so this much later: its clock starts before the
images are pulled, and the grace period comes on top."""

_GRACE_SECONDS = 30
_TERMINATION_PATH = "/dev/termination-log"
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a mount point in the container
_SHARED_MEMORY_VOLUME = "seatrial-shm"


def build_pod(
    study: Study, trial: Trial, attempt: int, *, rungs: Sequence[int] = (), needed: str | None = None
) -> KubeObject:
    """Return the Pod of an attempt.

    Always set: name, owner, Seatrial's labels and finalizer, the variables of docs/wire.md before the container's own, restartPolicy.
    Added to the template's own: an affinity against the nodes that the trial's record excludes.
    Set where the template is silent: metrics port and scrape annotations, termination message path and policy, no service account
    token, no service links, ``/dev/shm`` in memory, grace period, a deadline behind the timeout, a restricted security context.
    With ``trial.reuse`` its container can run other attempts after this one, see :mod:`seatrial.adapters.kubernetes.slot_pods`.

    Args:
        study: As stored, with its uid.
        trial: As stored, with its uid.
        attempt: Number of the attempt.
        rungs: Steps whose values must be exact.
        needed: Which checkpoints of the study must stay, for ``SEATRIAL_CHECKPOINTS_NEEDED``.

    Raises:
        SpecError: If the template has no container that trains.
    """
    select_container(study)
    pod: KubeObject = copy.deepcopy(dict(study.spec.trial.template))
    pod |= {"apiVersion": "v1", "kind": "Pod"}
    pod["metadata"] = _metadata(study, trial, attempt, pod.get("metadata") or {})
    spec = pod["spec"]
    container = training_container(study, pod)
    _add_pod_defaults(study, spec)
    port = _add_metrics_port(pod, container)
    _add_shared_memory(spec, container)
    container.setdefault("terminationMessagePath", _TERMINATION_PATH)
    container.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    paths = TrialPaths(
        checkpoints=checkpoint_url(study) or _checkpoint_root(study, container),
        needed=needed,
        termination=container["terminationMessagePath"],
        metrics_port=port,
    )
    until = until_step(study.spec, trial)
    variables = build_environment(study, trial, attempt, paths, rungs=rungs, until_step=until)
    container["env"] = _declare(variables) + list(container.get("env") or ())
    add_security_defaults(spec)
    exclude_nodes(spec, trial.status.excluded_nodes)
    if not why_cold(study):
        make_slot(study, pod, container, variables)
    return pod


def training_container(study: Study, pod: KubeObject) -> KubeObject:
    """Return the container of a Pod that trains."""
    containers: list[KubeObject] = pod["spec"]["containers"]
    wanted = study.spec.trial.container
    return next((found for found in containers if wanted in {None, found.get("name")}), containers[0])


def find_metrics_port(pod: KubeObject, container: KubeObject) -> int | None:
    """Return the port on which a trial serves its metrics, None where it cannot.

    That is the Pod's ``prometheus.io/port``, else the container's port of the name ``metrics``, else 9464. On the node's own
    network trials would take each other's port, so there is none.
    """
    if pod["spec"].get("hostNetwork"):
        return None
    annotations = pod["metadata"].get("annotations") or {}
    named = annotations.get(names.ANNOTATION_PORT, "")
    if str(named).isdecimal():
        return int(named)
    ports = container.get("ports") or ()
    found = [port.get("containerPort") for port in ports if port.get("name") == names.METRICS_PORT_NAME]
    return int(found[0]) if found and found[0] else names.METRICS_PORT


def _metadata(study: Study, trial: Trial, attempt: int, written: KubeObject) -> KubeObject:
    name = trial.metadata.name
    own = {
        names.LABEL_STUDY: study.metadata.name,
        names.LABEL_STUDY_UID: study.metadata.uid or "",
        names.LABEL_TRIAL: name,
        names.LABEL_ATTEMPT: str(attempt),
    }
    owner = {
        "apiVersion": TRIALS.api_version,
        "kind": TRIALS.kind,
        "name": name,
        "uid": trial.metadata.uid or "",
        "controller": True,
    }
    metadata = {key: value for key, value in written.items() if key not in {"generateName", "uid", "resourceVersion"}}
    finalizers = [held for held in written.get("finalizers") or () if held != names.FINALIZER]
    # By this label Pods are found that are to be deleted; a template's own copy of it would end its training.
    labels = {key: value for key, value in (written.get("labels") or {}).items() if key != names.LABEL_RELEASED}
    return metadata | {
        "name": names.build_pod_name(name, attempt),
        "namespace": study.metadata.namespace or "default",
        "labels": labels | own,
        "ownerReferences": [owner],
        "finalizers": [*finalizers, names.FINALIZER],
    }


def _add_pod_defaults(study: Study, spec: KubeObject) -> None:
    spec["restartPolicy"] = "Never"
    spec.setdefault("automountServiceAccountToken", False)
    spec.setdefault("enableServiceLinks", False)
    spec.setdefault("terminationGracePeriodSeconds", _GRACE_SECONDS)
    timeout = study.spec.trial.timeout
    if timeout is not None:
        grace = int(spec["terminationGracePeriodSeconds"])
        spec.setdefault("activeDeadlineSeconds", to_seconds(timeout) + grace + BACKSTOP_SECONDS)


def _add_metrics_port(pod: KubeObject, container: KubeObject) -> int | None:
    port = find_metrics_port(pod, container)
    if port is None:
        return None
    ports = container.get("ports") or []
    taken = {held.get("containerPort") for held in ports} | {held.get("name") for held in ports}
    if port not in taken and names.METRICS_PORT_NAME not in taken:
        container["ports"] = [*ports, {"name": names.METRICS_PORT_NAME, "containerPort": port, "protocol": "TCP"}]
    annotations = pod["metadata"].get("annotations") or {}
    if names.ANNOTATION_SCRAPE not in annotations:
        own = {
            names.ANNOTATION_SCRAPE: "true",
            names.ANNOTATION_PORT: str(port),
            names.ANNOTATION_PATH: "/metrics",
        }
        pod["metadata"]["annotations"] = own | dict(annotations)
    return port


def _add_shared_memory(spec: KubeObject, container: KubeObject) -> None:
    """Give the trial shared memory as large as its memory limit: a container's own 64 MiB are too few for data loaders."""
    mounts, volumes = container.get("volumeMounts") or [], spec.get("volumes") or []
    mounted = any(str(mount.get("mountPath", "")).rstrip("/") == _SHARED_MEMORY for mount in mounts)
    if mounted or spec.get("hostIPC") or any(volume.get("name") == _SHARED_MEMORY_VOLUME for volume in volumes):
        return
    spec["volumes"] = [*volumes, {"name": _SHARED_MEMORY_VOLUME, "emptyDir": {"medium": "Memory"}}]
    container["volumeMounts"] = [*mounts, {"name": _SHARED_MEMORY_VOLUME, "mountPath": _SHARED_MEMORY}]


def _declare(variables: Mapping[str, str]) -> list[dict[str, Any]]:
    # Kubernetes would take $(NAME) in a value for a reference, and $$ for one $.
    return [{"name": name, "value": value.replace("$", "$$")} for name, value in variables.items()]


def _checkpoint_root(study: Study, container: KubeObject) -> str | None:
    """Return where the checkpoints of a study lie in the container, None when no volume for them is mounted."""
    for mount in container.get("volumeMounts") or ():
        if mount.get("name") == CHECKPOINTS_VOLUME:
            return f"{str(mount.get('mountPath', '')).rstrip('/')}/{study.metadata.uid}"
    return None
