"""The names that Seatrial uses on objects of a cluster."""

from seatrial.api.base import GROUP

__all__ = [
    "ANNOTATION_DIRECTIVE",
    "ANNOTATION_FIT",
    "ANNOTATION_HANDED",
    "ANNOTATION_NUDGED",
    "ANNOTATION_PATH",
    "ANNOTATION_PORT",
    "ANNOTATION_SCRAPE",
    "ANNOTATION_STOP",
    "FINALIZER",
    "LABEL_ATTEMPT",
    "LABEL_RELEASED",
    "LABEL_STUDY",
    "LABEL_STUDY_UID",
    "LABEL_TRIAL",
    "METRICS_PORT",
    "METRICS_PORT_NAME",
    "build_pod_name",
]

LABEL_STUDY = f"{GROUP}/study"
LABEL_STUDY_UID = f"{GROUP}/study-uid"
LABEL_TRIAL = f"{GROUP}/trial"
LABEL_ATTEMPT = f"{GROUP}/attempt"

LABEL_RELEASED = f"{GROUP}/released"
"""On a Pod whose result is stored and that is to be deleted."""

FINALIZER = f"{GROUP}/result-tracking"
"""Keeps a Pod until its result is stored in its Trial."""

ANNOTATION_SCRAPE = "prometheus.io/scrape"
ANNOTATION_PORT = "prometheus.io/port"
ANNOTATION_PATH = "prometheus.io/path"

ANNOTATION_DIRECTIVE = f"{GROUP}/directive"
"""On a Pod that runs one attempt after another: what it runs now. Its container reads it as a file."""

ANNOTATION_FIT = f"{GROUP}/fit"
"""Attempts whose Pods would be the same but for their variables have the same text here."""

ANNOTATION_HANDED = f"{GROUP}/handed-at"
"""When a Pod was handed on to its attempt; absent for the one that it was made for."""

ANNOTATION_NUDGED = f"{GROUP}/nudged-at"
"""When its node was made to look at the directive again: it may have missed a change."""

ANNOTATION_STOP = f"{GROUP}/stop-at"
"""When its attempt was told to stop."""

METRICS_PORT = 9464
"""Where a trial serves its metrics unless its template says otherwise: the port that exporters of OpenTelemetry use."""

METRICS_PORT_NAME = "metrics"


def build_pod_name(trial: str, attempt: int) -> str:
    """Return the name of an attempt's Pod."""
    return f"{trial}-{attempt}"
