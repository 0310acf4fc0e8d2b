"""What of an invalid Study can still be relied on: enough to go on watching the Pods that it started when it was valid. Pure."""

from seatrial.adapters.kubernetes.port import KubeObject
from seatrial.api.study import Study
from seatrial.search.checks import check_study

__all__ = ["salvage_study"]

# Each is taken where the Study is valid with it; those that others build on come first.
_SECTIONS = ("steps", "metrics", "constraints", "trial", "budget", "algorithm", "stopping")


def salvage_study(written: KubeObject) -> Study | None:
    """Return the study without the sections that make it invalid; None when nothing can be made of it.

    Objectives and parameters cannot be edited, so they are as they were when its Pods were started.

    Args:
        written: The Study as stored.
    """
    given = written.get("spec") or {}
    if "objectives" not in given or "parameters" not in given:
        return None
    spec: KubeObject = {
        "objectives": given["objectives"],
        "parameters": given["parameters"],
        # Limits that nothing meets, and a Pod that is never made.
        "budget": {"maxTrials": 100_000, "maxFailedTrials": 100_000},
        "trial": {"template": {"spec": {"containers": [{"name": "trainer", "image": "none"}]}}},
    }
    found = _read(written, spec)
    for section in _SECTIONS:
        if section in given and (better := _read(written, spec | {section: given[section]})) is not None:
            spec[section], found = given[section], better
    return found


def _read(written: KubeObject, spec: KubeObject) -> Study | None:
    kept = {key: written["metadata"].get(key) for key in ("name", "namespace", "uid", "generation")}
    tree = {**{key: written[key] for key in ("apiVersion", "kind")}, "metadata": kept, "spec": spec}
    try:
        study = Study.model_validate(tree)
        return None if check_study(study) else study
    except ValueError:
        return None
