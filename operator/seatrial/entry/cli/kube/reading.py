"""Reads one study and its trials from an API server, once."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.faults import NotFound
from seatrial.adapters.kubernetes.port import STUDIES, TRIALS, KubeClient, KubeObject, Resource
from seatrial.adapters.kubernetes.records import StudyRecord, build_study_record, build_trial_record
from seatrial.api.study import Study
from seatrial.api.trial import Trial
from seatrial.api.wording import list_words, nearest
from seatrial.entry.cli.kube.connection import Connection
from seatrial.errors import UsageError

__all__ = ["StoredStudy", "list_all", "read_study", "read_trials"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStudy:
    """A study as the API server has it.

    Attributes:
        trials: Its own, by index; not those of an earlier study of its name.
    """

    study: Study
    trials: tuple[Trial, ...]


async def read_study(connection: Connection, name: str) -> Study:
    """Return the study of that name.

    Raises:
        UsageError: If there is none, naming those near it, or it cannot be read.
        NotFound: If the cluster has no such kind.
    """
    try:
        record = build_study_record(await connection.client.get(STUDIES, connection.namespace, name))
    except NotFound as error:
        raise UsageError(await _missing(connection, name)) from error
    return _model(record)


def _model(record: StudyRecord) -> Study:
    if record.model is None:
        words = record.problem.replace("\n", " ")
        raise UsageError(
            f"study {record.study.name} cannot be read by this version of the command ({words}); is the cluster's Seatrial newer? "
            "pip install --upgrade seatrial"
        )
    return record.model


async def read_trials(client: KubeClient, study: Study) -> tuple[Trial, ...]:
    """Return the trials of a study by index."""
    selector = f"{names.LABEL_STUDY}={study.metadata.name}"
    found = []
    async for item in list_all(client, TRIALS, study.metadata.namespace, selector):
        try:
            record = build_trial_record(item)
        except ValueError:
            continue  # its author cannot mend it here, and the others are to be seen
        if record.owner_uid == study.metadata.uid:
            found.append(record.model)
    return tuple(sorted(found, key=lambda trial: trial.spec.index))


async def list_all(
    client: KubeClient, resource: Resource, namespace: str | None, selector: str = ""
) -> AsyncIterator[KubeObject]:
    """Yield all objects of a kind, page by page."""
    page = await client.list(resource, namespace, selector=selector)
    while True:
        for item in page.items:
            yield item
        if not page.next:
            return
        page = await client.list(resource, namespace, selector=selector, next=page.next)


async def _missing(connection: Connection, name: str) -> str:
    # Raises NotFound itself where the kind is what is missing.
    known = [item["metadata"]["name"] async for item in list_all(connection.client, STUDIES, connection.namespace)]
    where = f"namespace {connection.namespace} of context {connection.context}"
    if not known:
        return f"there is no study {name!r}, and none at all in {where}; kubectl seatrial list -A shows those of all namespaces"
    near = nearest(name, known)
    hint = f"did you mean {near}? " if near else ""
    return f"there is no study {name!r} in {where}; {hint}known there: {list_words(known)}"
