"""Rules over ``spec.trial``: what a Pod template must have for a trial to be started from it, here and on a cluster.

The template is any PodTemplateSpec, of Kubernetes versions to come too. Checked is what Seatrial itself relies on, and what would
otherwise be found only when the first Pod is refused; everything else is left to the API server.

Charter: pure; the only module that looks into the untyped template.
"""

import re
from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from seatrial.api import wire
from seatrial.api.base import GROUP, to_seconds
from seatrial.api.checkpoints import CHECKPOINTS_VOLUME, FLEETING_VOLUMES
from seatrial.api.container_checks import CONTAINER_CHECKS, below
from seatrial.api.programs import find_python
from seatrial.api.rules import Check, problem
from seatrial.api.study import Study
from seatrial.api.wording import nearest, show, suggest
from seatrial.errors import Problem

__all__ = ["TEMPLATE_CHECKS", "TEMPLATE_WARNINGS", "shares_checkpoints"]

_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
_PLACEHOLDER = re.compile(r"\$\$|\$\(" + wire.PARAMETER_PREFIX + r"([A-Za-z0-9_]+)\)")
_CONTAINER_FIELDS = [
    "name",
    "image",
    "command",
    "args",
    "workingDir",
    "ports",
    "envFrom",
    "env",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "volumeMounts",
    "volumeDevices",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "imagePullPolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "tty",
]
_ROOT = "trial.template"
_NOBODY_SAVES = f"but the volume {CHECKPOINTS_VOLUME} is where trials save their checkpoints"
# Kinds of volumes that Kubernetes mounts for reading only, whatever is asked for.
_NEVER_WRITTEN = frozenset({"configMap", "secret", "projected", "downwardAPI", "image"})


def _pod(study: Study) -> Mapping[str, JsonValue]:
    spec = study.spec.trial.template.get("spec")
    return spec if isinstance(spec, dict) else {}


def _containers(study: Study) -> Iterator[tuple[str, Mapping[str, JsonValue]]]:
    """Yield (path, container) of everything in the list of containers that is a mapping."""
    containers = _pod(study).get("containers")
    for position, container in enumerate(containers if isinstance(containers, list) else []):
        if isinstance(container, dict):
            yield f"{_ROOT}.spec.containers[{position}]", container


# ---- the Pod -------------------------------------------------------------------------------------------------------------


def template_shape(study: Study) -> Iterator[Problem]:
    """The template has metadata and spec, as a Deployment's has."""
    template = study.spec.trial.template
    for name in template:
        if name in {"metadata", "spec"}:
            continue
        if name in {"containers", "volumes", "initContainers", "nodeSelector", "tolerations", "restartPolicy"}:
            yield problem(f"{_ROOT}.{name}", f"is one level too high; put {name} under spec.{_ROOT}.spec")
        else:
            yield problem(below(_ROOT, name), f"is unknown; {suggest(name, ['metadata', 'spec'])}")
    if "spec" not in template:
        yield problem(f"{_ROOT}.spec", "is missing, but a trial needs a Pod; add spec: with containers:")
    elif not isinstance(template["spec"], dict):
        yield problem(f"{_ROOT}.spec", f"is {show(template['spec'])}, but must be a mapping; add containers: below it")


def containers_present(study: Study) -> Iterator[Problem]:
    """There is a list of containers with distinct names."""
    if not isinstance(study.spec.trial.template.get("spec"), dict):
        return
    path, containers = f"{_ROOT}.spec.containers", _pod(study).get("containers")
    if containers is None:
        yield problem(path, "is missing, but a trial needs a container; add containers: [{name: trainer, image: …}]")
    elif not isinstance(containers, list) or not containers:
        yield problem(path, f"is {show(containers)}, but must be a list of containers; add - name: trainer below it")
    else:
        seen: set[str] = set()
        for position, container in enumerate(containers):
            yield from _container_identity(f"{path}[{position}]", container, seen)


def _container_identity(path: str, container: JsonValue, seen: set[str]) -> Iterator[Problem]:
    if not isinstance(container, dict):
        yield problem(path, f"is {show(container)}, but must be a mapping; write name:, image: and command:")
        return
    name = container.get("name")
    if name is None:
        yield problem(f"{path}.name", "is missing, but each container needs a name; add name: trainer")
    elif not isinstance(name, str) or not _LABEL.match(name):
        rule = "lower-case letters, digits and dashes, at most 63"
        yield problem(f"{path}.name", f"is {show(name)}, but must be text of {rule}; rename it")
    elif name in seen:
        yield problem(f"{path}.name", f"is {show(name)}, which another container already has; rename one")
    else:
        seen.add(name)


def container_exists(study: Study) -> Iterator[Problem]:
    """``trial.container`` names one of the containers."""
    wanted = study.spec.trial.container
    names = [name for _, container in _containers(study) if isinstance(name := container.get("name"), str)]
    if wanted is not None and names and wanted not in names:
        yield problem("trial.container", f"is {show(wanted)}, but there is no such container; {suggest(wanted, names)}")


def restart_policy(study: Study) -> Iterator[Problem]:
    """A Pod of a trial is started once: Seatrial counts the attempts."""
    policy = _pod(study).get("restartPolicy")
    if policy is not None and policy != "Never":
        message = f"is {show(policy)}, but must be Never, since Seatrial itself starts a trial again; remove it and use trial.retries"
        yield problem(f"{_ROOT}.spec.restartPolicy", message)


def pod_metadata(study: Study) -> Iterator[Problem]:
    """Labels and annotations are texts, and those of Seatrial are its own."""
    metadata = study.spec.trial.template.get("metadata")
    if metadata is None:
        return
    if not isinstance(metadata, dict):
        yield problem(f"{_ROOT}.metadata", f"is {show(metadata)}, but must be a mapping; add labels: below it")
        return
    for field in ("labels", "annotations"):
        entries = metadata.get(field)
        if entries is None:
            continue
        if not isinstance(entries, dict):
            yield problem(
                f"{_ROOT}.metadata.{field}", f"is {show(entries)}, but must be a mapping; write key: value below it"
            )
            continue
        for key, value in entries.items():
            path = below(f"{_ROOT}.metadata.{field}", key)
            if key.split("/")[0] == GROUP:
                yield problem(path, f"is set, but {GROUP}/ belongs to Seatrial; use a prefix of your own")
            elif not isinstance(value, str):
                yield problem(path, f"is {show(value)}, but must be text; put it in quotes")


# ---- containers ------------------------------------------------------------------------------------------------------------


def sound_containers(study: Study) -> Iterator[Problem]:
    """What a container runs, and with what, has the form that Kubernetes takes."""
    for path, container in _containers(study):
        for check in CONTAINER_CHECKS:
            for place, message in check(container):
                yield problem(f"{path}.{place}", message)


def timeout_above_zero(study: Study) -> Iterator[Problem]:
    """A timeout leaves time to run."""
    timeout = study.spec.trial.timeout
    if timeout is not None and to_seconds(timeout) == 0:
        yield problem("trial.timeout", f"is {show(timeout)}, but must be longer than nothing; raise it or leave it out")


def reuse_of_python(study: Study) -> Iterator[Problem]:
    """Only a Python program can be forked from a process that has its libraries imported."""
    if not study.spec.trial.reuse:
        return
    wanted = study.spec.trial.container
    for _, container in _containers(study):
        if wanted is not None and container.get("name") != wanted:
            continue
        words = [word for field in ("command", "args") for word in _words(container.get(field))]
        if container.get("command") and find_python(words) is None:
            message = f"is true, but the trial runs {show(' '.join(words[:3]))}, and only python script.py, python -m module and python -c text can be reused; remove reuse, or call python directly"
            yield problem("trial.reuse", message)
        return


def writable_checkpoints(study: Study) -> Iterator[Problem]:
    """Where trials on a cluster keep their checkpoints they can write."""
    settings = study.spec.trial.checkpoints
    if settings is not None and settings.url is not None:
        return
    for path, mount in _checkpoint_mount(study):
        if mount.get("readOnly") is True:
            yield problem(f"{path}.readOnly", f"is true, {_NOBODY_SAVES}; remove it, or give the volume another name")
        for where, volume in _checkpoint_volumes(study):
            yield from _read_only(where, volume)


def shares_checkpoints(study: Study) -> bool:
    """Return whether what a trial saves on a cluster is there for the next one: in an object store, or on a volume that outlives Pods."""
    settings = study.spec.trial.checkpoints
    if settings is not None and settings.url is not None:
        return True
    fleeting = any(kind in volume for _, volume in _checkpoint_volumes(study) for kind in FLEETING_VOLUMES)
    return bool(_checkpoint_mount(study)) and not fleeting


def _checkpoint_mount(study: Study) -> list[tuple[str, Mapping[str, JsonValue]]]:
    """Return path and content of the mount for checkpoints in the training container: the first one counts, as on a cluster."""
    wanted = study.spec.trial.container
    trainers = (entry for entry in _containers(study) if wanted is None or entry[1].get("name") == wanted)
    path, container = next(trainers, ("", {}))
    mounts = enumerate(_mappings(container.get("volumeMounts")))
    found = [(f"{path}.volumeMounts[{i}]", mount) for i, mount in mounts if mount.get("name") == CHECKPOINTS_VOLUME]
    return found[:1]


def _checkpoint_volumes(study: Study) -> list[tuple[str, Mapping[str, JsonValue]]]:
    volumes = enumerate(_mappings(_pod(study).get("volumes")))
    return [(f"{_ROOT}.spec.volumes[{i}]", v) for i, v in volumes if v.get("name") == CHECKPOINTS_VOLUME]


def _read_only(path: str, volume: Mapping[str, JsonValue]) -> Iterator[Problem]:
    for kind, source in volume.items():
        if kind in _NEVER_WRITTEN:
            message = (
                f"cannot be written, {_NOBODY_SAVES}; use a persistentVolumeClaim, or give the volume another name"
            )
            yield problem(below(path, kind), message)
        elif isinstance(source, dict) and source.get("readOnly") is True:
            message = f"is true, {_NOBODY_SAVES}; remove it, or give the volume another name"
            yield problem(f"{below(path, kind)}.readOnly", message)


def _mappings(items: JsonValue) -> list[Mapping[str, JsonValue]]:
    """Return what is in a list, with an empty mapping for what is none, so that positions stay."""
    return [item if isinstance(item, dict) else {} for item in (items if isinstance(items, list) else [])]


def _words(items: JsonValue) -> Iterator[str]:
    yield from (item for item in (items if isinstance(items, list) else []) if isinstance(item, str))


# ---- warnings ----------------------------------------------------------------------------------------------------------------


def misspelt_container_fields(study: Study) -> Iterator[Problem]:
    """Warn of a field that looks like a misspelt one; a newer Kubernetes may know more than this list."""
    for path, container in _containers(study):
        for name in container:
            if name not in _CONTAINER_FIELDS and (near := nearest(name, _CONTAINER_FIELDS)):
                yield problem(
                    below(path, name), f"is no field of a container that is known here; did you mean `{near}`?"
                )


def runnable_here_and_there(study: Study) -> Iterator[Problem]:
    """Warn of a training container that only a laptop or only a cluster could start."""
    wanted = study.spec.trial.container
    for path, container in _containers(study):
        if wanted is not None and container.get("name") != wanted:
            continue
        if not container.get("image"):
            yield problem(f"{path}.image", "is missing: the study runs on a laptop, but a cluster needs an image")
        if not container.get("command"):
            yield problem(f"{path}.command", "is missing: a laptop does not know what the image would start")
        return


def known_placeholders(study: Study) -> Iterator[Problem]:
    """Warn of ``$(HP_x)`` without a parameter x: Kubernetes would pass it on as it stands."""
    names = [parameter.name for parameter in study.spec.parameters]
    for path, container in _containers(study):
        for place, text in _texts_with_placeholders(container):
            for match in _PLACEHOLDER.finditer(text):
                if match[1] and match[1] not in names:
                    message = f"uses {match[0]}, but there is no parameter {match[1]}; {suggest(match[1], names)}"
                    yield problem(f"{path}.{place}", message)


def _texts_with_placeholders(container: Mapping[str, JsonValue]) -> Iterator[tuple[str, str]]:
    for field in ("command", "args"):
        items = container.get(field)
        for position, item in enumerate(items if isinstance(items, list) else []):
            if isinstance(item, str):
                yield f"{field}[{position}]", item
    env = container.get("env")
    for position, entry in enumerate(env if isinstance(env, list) else []):
        if isinstance(entry, dict) and isinstance(value := entry.get("value"), str):
            yield f"env[{position}].value", value


_TRIAL = frozenset({"trial"})
TEMPLATE_CHECKS: tuple[Check, ...] = (
    Check(reads=_TRIAL, find=template_shape),
    Check(reads=_TRIAL, find=containers_present),
    Check(reads=_TRIAL, find=container_exists),
    Check(reads=_TRIAL, find=restart_policy),
    Check(reads=_TRIAL, find=pod_metadata),
    Check(reads=_TRIAL, find=sound_containers),
    Check(reads=_TRIAL, find=timeout_above_zero),
    Check(reads=_TRIAL, find=reuse_of_python),
    Check(reads=_TRIAL, find=writable_checkpoints),
)
TEMPLATE_WARNINGS: tuple[Check, ...] = (
    Check(reads=_TRIAL, find=misspelt_container_fields),
    Check(reads=_TRIAL, find=runnable_here_and_there),
    Check(reads=_TRIAL | {"parameters"}, find=known_placeholders),
)
