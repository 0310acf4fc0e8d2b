"""What an operator is told at its start, by environment variables: ``SEATRIAL_OPERATOR_<NAME>``. docs/operator.md lists them."""

import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from seatrial.adapters.kubernetes.removal import Retention
from seatrial.entry.cluster.logs import LogFormat
from seatrial.errors import UsageError

__all__ = ["PREFIX", "OperatorSettings", "read_settings"]

PREFIX = "SEATRIAL_OPERATOR_"

_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_LABEL_LIMIT = 63

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """How the operator works.

    Attributes:
        namespace: Where it looks; empty for all namespaces.
        lease_name: Lease by which operators agree on who works.
        lease_namespace: Where that is.
        identity: Who this process is; no other may ever have the same.
        health_port: Where ``/healthz`` is served; 0 picks a free port, which the log names.
        metrics_port: Where ``/metrics`` is served; 0 for not at all.
        prometheus_url: Prometheus of studies that name none; None when there is none.
        retention: Which Pods stay after their result is stored.
        ask_deadline_seconds: How long an algorithm may think about one question.
        workers: Studies that are worked on at the same time.
    """

    namespace: str = ""
    lease_name: str = "seatrial-operator"
    lease_namespace: str = "default"
    identity: str
    health_port: int = 8080
    metrics_port: int = 9090
    prometheus_url: str | None = None
    retention: Retention = Retention.FAILED
    log_format: LogFormat = LogFormat.JSON
    log_level: str = "INFO"
    ask_deadline_seconds: float = 60.0
    workers: int = 8


def read_settings(environment: Mapping[str, str], *, own_namespace: Path = _OWN_NAMESPACE) -> OperatorSettings:
    """Return the settings that an environment gives.

    Args:
        environment: All variables of the process.
        own_namespace: File in which a Pod finds the namespace that it is in.

    Raises:
        UsageError: If a value is wrong, or a variable with the prefix is none of these.
    """
    reader = _Reader(environment)
    settings = OperatorSettings(
        namespace=reader.text("NAMESPACE", ""),
        lease_name=reader.text("LEASE_NAME", "seatrial-operator"),
        lease_namespace=reader.text("LEASE_NAMESPACE", "") or _read_namespace(own_namespace),
        identity=reader.text("IDENTITY", "") or _make_identity(),
        health_port=reader.port("HEALTH_PORT", 8080),
        metrics_port=reader.port("METRICS_PORT", 9090),
        prometheus_url=reader.url("PROMETHEUS_URL"),
        retention=Retention(reader.word("RETENTION", "failed", [kind.lower() for kind in Retention]).capitalize()),
        log_format=LogFormat(reader.word("LOG_FORMAT", "json", list(LogFormat))),
        log_level=reader.word("LOG_LEVEL", "info", [level.lower() for level in _LEVELS]).upper(),
        ask_deadline_seconds=reader.number("ASK_DEADLINE_SECONDS", 60.0, float, least=1, most=3600),
        workers=reader.number("WORKERS", 8, int, least=1, most=64),
    )
    reader.check_all_known()
    return settings


class _Reader:
    """Reads variables and names the one that is wrong."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._known: set[str] = set()

    def text(self, name: str, default: str) -> str:
        self._known.add(PREFIX + name)
        # What a chart leaves empty is as good as not set.
        return self._environment.get(PREFIX + name, "").strip() or default

    def word(self, name: str, default: str, words: Sequence[str]) -> str:
        found = self.text(name, default).lower()
        if found not in words:
            raise _wrong(name, found, f"must be one of: {', '.join(words)}")
        return found

    def number(self, name: str, default: T, kind: Callable[[str], T], *, least: float, most: float) -> T:
        found = self.text(name, "")
        if not found:
            return default
        try:
            number = kind(found)
            inside = least <= float(found) <= most
        except ValueError:
            inside = False
        if not inside:
            what = "a whole number" if kind is int else "a number"
            raise _wrong(name, found, f"must be {what} from {least:g} to {most:g}")
        return number

    def port(self, name: str, default: int) -> int:
        return self.number(name, default, int, least=0, most=65535)

    def url(self, name: str) -> str | None:
        found = self.text(name, "")
        if found and not found.startswith(("http://", "https://")):
            raise _wrong(name, found, "must begin with http:// or https://")
        return found or None

    def check_all_known(self) -> None:
        for name in sorted(self._environment):
            if name.startswith(PREFIX) and name not in self._known:
                known = ", ".join(sorted(self._known))
                raise UsageError(f"{name} is set, but there is no such setting; there are {known}")


def _wrong(name: str, value: str, rule: str) -> UsageError:
    return UsageError(f"{PREFIX}{name} is {value!r}, but {rule}; set it right or leave it out")


def _read_namespace(file: Path) -> str:
    try:
        return file.read_text().strip() or "default"
    except OSError:
        return "default"


def _make_identity() -> str:
    # The name of a Pod stays the same over restarts of its container: only chance tells two lives apart.
    return f"{socket.gethostname()[: _LABEL_LIMIT - 9]}-{uuid.uuid4().hex[:8]}"
