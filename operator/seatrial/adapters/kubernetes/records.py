"""What is kept of Studies and Trials: the wire models, made of what the API server has."""

from dataclasses import dataclass

from seatrial.adapters.kubernetes.port import STUDIES, KubeObject
from seatrial.api.study import Study, StudyStatus
from seatrial.api.trial import Trial
from seatrial.decide.lifecycle import LABEL_STUDY, describe_assignment
from seatrial.errors import SpecError
from seatrial.ports import StudyKey
from seatrial.search.checks import load_object

__all__ = ["StudyRecord", "TrialRecord", "build_study_record", "build_trial_record"]

# metadata.managedFields and the like may be larger than the object itself, and the models ignore them.
_KEPT = (
    "name",
    "namespace",
    "uid",
    "generation",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
    "annotations",
    "ownerReferences",
)
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRecord:
    """A Study, or why it cannot be read.

    Attributes:
        model: None when it is not valid by the rules of this version.
        problem: Why then.
        status: What is stored as its status, where that can be read.
        uid: Its identity.
        version: Its resourceVersion.
        generation: Generation of its specification.
        deleting: Whether it is being deleted.
    """

    study: StudyKey
    model: Study | None
    problem: str
    status: StudyStatus | None
    uid: str
    version: str
    generation: int
    deleting: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """A Trial.

    Attributes:
        owner_uid: Identity of the Study that owns it; empty when none does.
        deleting: Whether it is being deleted.
    """

    study: StudyKey
    model: Trial
    owner_uid: str
    deleting: bool


def build_study_record(written: KubeObject) -> StudyRecord:
    """Return what is kept of a Study; one that is not valid is kept as such, so that its author can be told."""
    metadata = written["metadata"]
    model, problem = None, ""
    try:
        model = Study.model_validate(_slim(written))
    except ValueError as error:
        problem = _describe(written, error)
    return StudyRecord(
        study=StudyKey(metadata["namespace"], metadata["name"]),
        model=model,
        problem=problem,
        status=model.status if model is not None else _read_status(written),
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        generation=int(metadata.get("generation") or 0),
        deleting=bool(metadata.get("deletionTimestamp")),
    )


def _read_status(written: KubeObject) -> StudyStatus | None:
    try:
        return StudyStatus.model_validate(written.get("status") or {})
    except ValueError:
        # Somebody else wrote it; it is written anew.
        return None


def _describe(written: KubeObject, error: ValueError) -> str:
    """Return what is wrong with a Study as the command line would say it."""
    try:
        load_object(_slim(written))
    except SpecError as told:
        return str(told)
    return str(error)


def build_trial_record(written: KubeObject) -> TrialRecord:
    """Return what is kept of a Trial.

    Raises:
        ValueError: If it is no Trial by the rules of this version.
    """
    model = Trial.model_validate(_slim(written))
    if not model.status.parameters and not model.status.conditions:
        # A new Trial has no status: it cannot be written together with the rest.
        parameters = describe_assignment(model.spec.assignment)
        model = model.model_copy(update={"status": model.status.model_copy(update={"parameters": parameters})})
    owners = [owner.uid for owner in model.metadata.owner_references if owner.kind == STUDIES.kind]
    return TrialRecord(
        study=StudyKey(model.metadata.namespace or "", model.metadata.labels.get(LABEL_STUDY, model.spec.study)),
        model=model,
        owner_uid=owners[0] if owners else "",
        deleting=model.metadata.deletion_timestamp is not None,
    )


def _slim(written: KubeObject) -> KubeObject:
    metadata = {key: written["metadata"][key] for key in _KEPT if written["metadata"].get(key) is not None}
    annotations = metadata.get("annotations")
    if annotations and _LAST_APPLIED in annotations:
        metadata["annotations"] = {key: text for key, text in annotations.items() if key != _LAST_APPLIED}
    return {**{key: value for key, value in written.items() if value is not None}, "metadata": metadata}
