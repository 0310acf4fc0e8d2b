"""``kubectl seatrial list``: the studies of a namespace or of all."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from seatrial.adapters.kubernetes.port import STUDIES
from seatrial.adapters.kubernetes.records import StudyRecord, build_study_record
from seatrial.decide.snapshot import parse_time
from seatrial.entry.cli.cells import clean, fit
from seatrial.entry.cli.exits import ExitCode, error
from seatrial.entry.cli.kube.connection import Flags, connected
from seatrial.entry.cli.kube.reading import list_all
from seatrial.entry.cli.printing import print_json, print_text
from seatrial.report.words import format_duration

__all__ = ["list_command", "table_lines"]


def list_command(flags: Flags, *, everywhere: bool, as_json: bool) -> ExitCode:
    """Print the studies, newest last."""
    return asyncio.run(_list(flags, everywhere=everywhere, as_json=as_json))


async def _list(flags: Flags, *, everywhere: bool, as_json: bool) -> ExitCode:
    async with connected(flags) as connection:
        namespace = None if everywhere else connection.namespace
        found = [build_study_record(item) async for item in list_all(connection.client, STUDIES, namespace)]
    if as_json:
        print_json([_document(record) for record in found])
    elif found:
        print_text(*table_lines(found, now=datetime.now(UTC), with_namespace=everywhere))
    else:
        where = "in any namespace" if everywhere else f"in namespace {namespace}; -A looks in all"
        error(f"no studies {where}")
    return ExitCode.DONE


def table_lines(studies: Sequence[StudyRecord], *, now: datetime, with_namespace: bool) -> list[str]:
    """Return the table, with the columns of ``kubectl get studies``."""
    ordered = sorted(studies, key=lambda record: (record.study.namespace, _created(record), record.study.name))
    head = ("NAMESPACE", "NAME", "ALGORITHM", "TRIALS", "RUNNING", "BEST", "AGE", "STATE")
    rows: list[tuple[str, ...]] = [head]
    rows += [_row(record, now) for record in ordered]
    rows = rows if with_namespace else [row[1:] for row in rows]
    sizes = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    return ["  ".join([*(fit(c, s) for c, s in zip(row, sizes, strict=False)), row[-1]]).rstrip() for row in rows]


def _created(record: StudyRecord) -> str:
    return (record.model.metadata.creation_timestamp or "") if record.model else ""


def _row(record: StudyRecord, now: datetime) -> tuple[str, ...]:
    namespace, name = record.study
    if record.model is None:
        return namespace, name, "", "", "", "", "", "not readable by this version of the command"
    status, created = record.model.status, _created(record)
    return (
        namespace,
        name,
        record.model.spec.algorithm.name.value,
        status.progress if status else "",
        str(status.trials.running) if status else "",
        status.best_value if status else "",
        format_duration(max(0.0, (now - parse_time(created)).total_seconds())) if created else "",
        clean(status.state) if status and status.state else "New",
    )


def _document(record: StudyRecord) -> dict[str, object]:
    status = record.model.status if record.model else None
    return {
        "namespace": record.study.namespace,
        "name": record.study.name,
        "algorithm": record.model.spec.algorithm.name.value if record.model else None,
        "state": status.state if status else None,
        "trials": status.trials.to_wire() if status else None,
        "best": status.best.to_wire() if status and status.best else None,
        "created": _created(record) or None,
    }
