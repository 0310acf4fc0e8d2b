"""A Pod that does nothing but hold a study's checkpoints open for reading, for as long as a copy takes. Pure.

It has the image and the volume of the study's own trials, so that it can start where they could, and nothing else of them: no GPU,
no environment, no service account token, the volume read-only. It ends by itself should whoever made it be gone.
"""

from seatrial.adapters.kubernetes.manifests import training_container
from seatrial.adapters.kubernetes.port import STUDIES, KubeObject
from seatrial.adapters.kubernetes.security import add_security_defaults
from seatrial.api.checkpoints import CHECKPOINTS_VOLUME, FLEETING_VOLUMES
from seatrial.api.study import Study
from seatrial.errors import UsageError

__all__ = ["CONTAINER", "LABEL", "READER_SECONDS", "build_reader", "checkpoint_folder"]

LABEL = "seatrial.dev/reader"
"""Its value is the Pod's own name. Seatrial's other labels would make the Pod a trial's."""

CONTAINER = "reader"
READER_SECONDS = 3600
"""How long a copy may take."""

# What decides where a Pod can be placed and whether its image can be pulled.
_TAKEN = (
    "imagePullSecrets",
    "nodeSelector",
    "tolerations",
    "affinity",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
)


def build_reader(study: Study, name: str) -> KubeObject:
    """Return the Pod.

    Args:
        study: As stored, with its uid.
        name: Of the Pod.

    Raises:
        UsageError: If the study has no volume for checkpoints that outlives its trials.
    """
    template: KubeObject = {"metadata": {}, "spec": {}} | dict(study.spec.trial.template)
    container = training_container(study, template)
    volume = _volume(study, template["spec"])
    mount = _mount(study, container)
    reader: KubeObject = {
        "name": CONTAINER,
        "image": container.get("image"),
        # Interrupted at once, whatever shell there is or not.
        "command": ["sleep", str(READER_SECONDS)],
        "volumeMounts": [mount | {"readOnly": True}],
        "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}},
    }
    for field in ("imagePullPolicy", "securityContext"):
        if container.get(field):
            reader[field] = container[field]
    spec: KubeObject = {field: template["spec"][field] for field in _TAKEN if template["spec"].get(field)}
    if template["spec"].get("securityContext"):
        spec["securityContext"] = template["spec"]["securityContext"]
    spec |= {
        "containers": [reader],
        "volumes": [volume],
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 0,
        "activeDeadlineSeconds": READER_SECONDS,
    }
    add_security_defaults(spec)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": _metadata(study, name), "spec": spec}


def checkpoint_folder(study: Study, owner: str, path: str) -> str:
    """Return the folder of a checkpoint as the reader sees it.

    Args:
        study: As stored, with its uid.
        owner: Name of the trial that wrote it.
        path: As the trial told it.
    """
    if path.startswith("/"):
        return path
    template: KubeObject = {"metadata": {}, "spec": {}} | dict(study.spec.trial.template)
    mount = _mount(study, training_container(study, template))
    return f"{str(mount['mountPath']).rstrip('/')}/{study.metadata.uid}/{owner}/{path}"


def _metadata(study: Study, name: str) -> KubeObject:
    owner = {
        "apiVersion": STUDIES.api_version,
        "kind": STUDIES.kind,
        "name": study.metadata.name,
        "uid": study.metadata.uid or "",
    }
    return {
        "name": name,
        "namespace": study.metadata.namespace or "default",
        "labels": {LABEL: name},
        "annotations": {
            "seatrial.dev/purpose": f"reads a checkpoint of study {study.metadata.name} for kubectl seatrial export"
        },
        "ownerReferences": [owner],
    }


def _volume(study: Study, spec: KubeObject) -> KubeObject:
    volumes: list[KubeObject] = spec.get("volumes") or []
    found = next((volume for volume in volumes if volume.get("name") == CHECKPOINTS_VOLUME), None)
    if found is None:
        raise UsageError(
            f"study {study.metadata.name} has no volume named {CHECKPOINTS_VOLUME} in its template: nothing of its checkpoints was kept"
        )
    fleeting = next((kind for kind in FLEETING_VOLUMES if kind in found), None)
    if fleeting:
        raise UsageError(
            f"the volume {CHECKPOINTS_VOLUME} of study {study.metadata.name} is of kind {fleeting}, which ends with each Pod: "
            "nothing of its checkpoints was kept; use a persistentVolumeClaim"
        )
    return found


def _mount(study: Study, container: KubeObject) -> KubeObject:
    mounts: list[KubeObject] = container.get("volumeMounts") or []
    found = next((mount for mount in mounts if mount.get("name") == CHECKPOINTS_VOLUME), None)
    if found is None:
        raise UsageError(
            f"the training container of study {study.metadata.name} mounts no volume named {CHECKPOINTS_VOLUME}: nothing of its checkpoints was kept"
        )
    return found
