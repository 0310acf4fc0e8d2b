"""From the text of a file to a valid study, or to everything that is wrong with it.

Charter: pure; the caller reads the file. Rules over fields come in as tables, so that layers above may add theirs.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from seatrial.api.base import GROUP, VERSION
from seatrial.api.checks import PARAMETER_CHECKS, PARAMETER_WARNINGS, STUDY_CHECKS, STUDY_WARNINGS
from seatrial.api.nodes import Json, Node, node_of, to_json
from seatrial.api.rules import MOST_TOLD, Check, find_problems
from seatrial.api.study import Study, StudySpec
from seatrial.api.translate import error_path, translate, wire_names
from seatrial.api.wording import Path, list_words, path_text, show, suggest
from seatrial.api.yaml_text import read_documents
from seatrial.errors import Problem, SpecError

__all__ = ["Parsed", "parse_object", "parse_study"]

# The metadata that a user may write; what the server adds besides is accepted and ignored.
_METADATA = (
    "name",
    "namespace",
    "labels",
    "annotations",
    "uid",
    "generation",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "finalizers",
    "ownerReferences",
    "managedFields",
    "generateName",
    "selfLink",
)
_PART = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)|\[([^\]]*)\]")
_PLACEHOLDERS: Mapping[str, Json] = {
    "objectives": [{"metric": "placeholder", "goal": "minimize"}],
    "parameters": [{"name": "placeholder", "type": "constant", "value": 0}],
    "trial": {"template": {}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A study that can be run.

    Attributes:
        study: The valid study.
        warnings: What looks unintended, in the words of :class:`~seatrial.errors.Problem`, but is allowed.
    """

    study: Study
    warnings: tuple[Problem, ...] = ()


def parse_study(
    text: bytes,
    *,
    source: str,
    checks: Sequence[Check] = STUDY_CHECKS,
    warnings: Sequence[Check] = STUDY_WARNINGS,
) -> Parsed:
    """Return the one study in a YAML or JSON text, read as kubectl reads it.

    Args:
        text: The file's bytes.
        source: Name of the file, for messages about the file as a whole.
        checks: Rules over the fields.
        warnings: Rules whose findings do not refuse the study.

    Raises:
        SpecError: With every problem found, in the order of the file.
    """
    documents = read_documents(text, source=source)
    root, ignored = _choose(documents, source)
    return _parse(root, checks=checks, warnings=warnings, more=ignored)


def parse_object(
    value: Mapping[str, Json], *, checks: Sequence[Check] = STUDY_CHECKS, warnings: Sequence[Check] = STUDY_WARNINGS
) -> Parsed:
    """Return the study in an object from the API server; its problems have no lines.

    Raises:
        SpecError: With every problem found.
    """
    try:
        return _parse(node_of(dict(value)), checks=checks, warnings=warnings)
    except SpecError as err:
        raise SpecError(Problem(path=p.path, message=p.message) for p in err.problems) from err


# ---- which document ------------------------------------------------------------------------------------------------------


def _choose(documents: Sequence[Node], source: str) -> tuple[Node, list[Problem]]:
    """Return the only study among the documents, and a warning about the others."""
    start = f"start with apiVersion: {GROUP}/{VERSION} and kind: Study"
    if not documents:
        raise SpecError([Problem(path="", message=f"{source} is empty, but must hold a study; {start}")])
    studies = [document for document in documents if _text(document, "kind") == "Study"]
    if len(studies) == 1:
        return studies[0], _ignored(documents, studies[0])
    if len(studies) > 1:
        lines = list_words(document.line for document in studies)
        message = (
            f"{source} holds {len(studies)} studies (at lines {lines}), but one is run at a time; keep one in a file"
        )
        raise SpecError([Problem(path="", message=message)])
    if len(documents) > 1:
        kinds = list_words(_text(document, "kind") or "no kind" for document in documents)
        message = f"{source} holds {len(documents)} documents ({kinds}), but none of kind: Study; add one"
        raise SpecError([Problem(path="", message=message)])
    raise SpecError([_no_study(documents[0], source, start)])


def _no_study(document: Node, source: str, start: str) -> Problem:
    kind, version = _text(document, "kind"), _text(document, "apiVersion") or ""
    if not isinstance(document.value, dict):
        message = f"{source} holds {show(to_json(document))}, but must hold the mapping of a study; {start}"
        return Problem(path="", message=message, line=document.line)
    line = document.line_of(("kind",))
    if "kind" not in document.value:
        return Problem(path="kind", message=f"is missing, but must be Study; {start}", line=document.line)
    if kind == "Trial":
        message = "is 'Trial', but must be Study; trials are made by a study: write the study"
    elif version.startswith("kubeflow.org/"):
        message = (
            f"is {show(kind)} of Katib, but must be Study of {GROUP}/{VERSION}; rewrite it: the fields have other names"
        )
    elif version and not version.startswith(f"{GROUP}/"):
        message = (
            f"is {show(kind)} of {show(version)[1:-1]}, but must be Study of {GROUP}/{VERSION}; is it the right file?"
        )
    else:
        message = f"is {show(to_json(document.value['kind']))}, but must be Study; write kind: Study"
    return Problem(path="kind", message=message, line=line)


def _ignored(documents: Sequence[Node], study: Node) -> list[Problem]:
    return [
        Problem(
            path="", message=f"the document {_text(document, 'kind') or 'without kind'} is ignored", line=document.line
        )
        for document in documents
        if document is not study
    ]


def _text(document: Node, key: str) -> str | None:
    node = document.find((key,))
    return node.value if node is not None and isinstance(node.value, str) else None


# ---- fields ----------------------------------------------------------------------------------------------------------------


def _parse(root: Node, *, checks: Sequence[Check], warnings: Sequence[Check], more: Iterable[Problem] = ()) -> Parsed:
    tree = to_json(root)
    assert isinstance(tree, dict)  # noqa: S101 - chosen by its kind
    found: list[tuple[Path, str, int]] = list(root.all_problems())
    broken = {path for path, _, _ in found}
    value = _without_nulls(tree, ())
    found += [(path, message, root.line_of(path)) for path, message in _metadata_problems(value)]
    study, errors = _validate(value)
    for path, message in _told(errors, root):
        # What could not be read is told once, not again as null.
        if not any(path[: len(other)] == other for other in broken if other):
            found.append((path, message, root.line_of(path)))
    problems = [Problem(path=path_text(path), message=message, line=line) for path, message, line in found]
    unsound = _unsound([path for path, _, _ in found])
    if study is None or unsound:
        study = _patched(value, unsound)
    if study is not None:
        here = find_problems(study, checks=checks, parameter_checks=PARAMETER_CHECKS, unsound=unsound)
        problems += [_with_line(problem, root) for problem in here]
    if problems or study is None:
        raise SpecError(_in_order(problems))
    notes = find_problems(study, checks=warnings, parameter_checks=PARAMETER_WARNINGS)
    told = [*more, *_boolean_words(root), *(_with_line(problem, root) for problem in notes)]
    return Parsed(study=study, warnings=tuple(_in_order(told)))


def _validate(value: Json) -> tuple[Study | None, list[ErrorDetails]]:
    """Return the study, or pydantic's errors.

    Strict, as the API server is: a text is no number. By alias alone: max_trials is unknown there too.
    """
    try:
        return Study.model_validate_json(json.dumps(value), strict=True, by_alias=True, by_name=False), []
    except ValidationError as err:
        return None, err.errors(include_url=False)


def _told(errors: Iterable[ErrorDetails], root: Node) -> list[tuple[Path, str]]:
    """Return one message for each place, however many members of a union complained about it."""
    told: dict[Path, str] = {}
    for error in errors:
        path = error_path(error, root)
        if len(told) >= MOST_TOLD:
            told.setdefault(path, "and more fields are wrong; mend these first")
            break
        if path not in told:
            told[path] = translate(error, path, root)
    return list(told.items())


def _without_nulls(value: Json, path: Path) -> Json:
    """Leave out entries that are null, as the API server does; a Pod template is passed on as it stands."""
    if path == ("spec", "trial", "template"):
        return value
    if isinstance(value, dict):
        return {key: _without_nulls(child, (*path, key)) for key, child in value.items() if child is not None}
    if isinstance(value, list):
        return [_without_nulls(child, (*path, position)) for position, child in enumerate(value)]
    return value


def _metadata_problems(value: Json) -> list[tuple[Path, str]]:
    metadata = value.get("metadata") if isinstance(value, dict) else None
    if not isinstance(metadata, dict):
        return []
    return [
        (("metadata", name), f"is unknown; {suggest(name, _METADATA[:4])}")
        for name in metadata
        if name not in _METADATA
    ]


# ---- what is sound ---------------------------------------------------------------------------------------------------------


def _unsound(paths: Iterable[Path]) -> frozenset[str]:
    """Return the sections of the specification that cannot be looked at further."""
    found: set[str] = set()
    for path in paths:
        if path in {(), ("spec",)}:
            found |= set(wire_names(StudySpec))
        elif path[0] == "spec" and len(path) > 1:
            item = f"[{path[2]}]" if path[1] == "parameters" and len(path) > 2 else ""
            found.add(f"{path[1]}{item}")
    return frozenset(found)


def _patched(value: Json, unsound: frozenset[str]) -> Study | None:
    """Return the study with placeholders for what is unsound, so that the rest can still be checked; None when that fails."""
    spec = value.get("spec") if isinstance(value, dict) else None
    known = wire_names(StudySpec)
    sound = {
        key: child
        for key, child in (spec if isinstance(spec, dict) else {}).items()
        if key in known and key not in unsound
    }
    parameters = sound.get("parameters")
    if isinstance(parameters, list):
        sound["parameters"] = [
            {"name": f"placeholder_{i}", "type": "constant", "value": 0} if f"parameters[{i}]" in unsound else parameter
            for i, parameter in enumerate(parameters)
        ]
    patched: Json = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Study",
        "metadata": {"name": "placeholder"},
        "spec": {**_PLACEHOLDERS, **sound},
    }
    return _validate(patched)[0]


# ---- lines and warnings ------------------------------------------------------------------------------------------------------


def _with_line(problem: Problem, root: Node) -> Problem:
    return Problem(path=problem.path, message=problem.message, line=root.line_of(_path_of(problem.path, root)))


def _path_of(text: str, root: Node) -> Path:
    """Return the path that *text* writes, as deep as the document has it."""
    path: Path = ()
    node = root
    for word, bracket in _PART.findall(text):
        part = int(bracket) if isinstance(node.value, list) and bracket.isdigit() else word or bracket
        child = node.child(part)
        if child is None:
            break
        path, node = (*path, part), child
    return path


def _in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Sort by line, keeping the order within a line; problems of the file as a whole come first."""
    unique = dict.fromkeys(problems)
    return sorted(unique, key=lambda problem: problem.line or 0)


def _boolean_words(root: Node) -> list[Problem]:
    """Warn of values of parameters that YAML turned into booleans: ``off`` in ``choices: [off, cosine]``."""
    found: list[Problem] = []
    for section in ("parameters", "initialTrials"):
        node = root.find(("spec", section))
        found += _booleans_below(node, ("spec", section)) if node else []
    return found


def _booleans_below(node: Node, path: Path) -> list[Problem]:
    if isinstance(node.value, dict):
        return [p for key, child in node.value.items() for p in _booleans_below(child, (*path, key))]
    if isinstance(node.value, list):
        return [p for position, child in enumerate(node.value) for p in _booleans_below(child, (*path, position))]
    if isinstance(node.value, bool) and node.plain and str(node.raw).lower() not in {"true", "false"}:
        message = (
            f'is {node.raw}, which YAML reads as the boolean {show(node.value)}; write "{node.raw}" if text is meant'
        )
        return [Problem(path=path_text(path), message=message, line=node.line)]
    return []
