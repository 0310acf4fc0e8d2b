"""Kopf's part: it tells of Studies. Every handler does one thing and decides nothing; docs/operator.md says why so little.

With handlers of raw events alone Kopf writes nothing to the cluster: no finalizer, no annotation, no Event, no peering.
"""

import itertools
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import kopf

from seatrial.adapters.kubernetes.port import STUDIES
from seatrial.ports import StudyKey

__all__ = ["build_registry", "build_settings"]

logger = logging.getLogger(__name__)


class _Backoffs:
    """Pauses between tries, for ever: an API server that is away for an hour must not end the operator.

    An iterable that can be begun again and again, as Kopf does for every request.
    """

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1.0, 2.0, 3.0, 5.0, 8.0), itertools.repeat(15.0))


def build_settings() -> kopf.OperatorSettings:
    """Return Kopf's settings."""
    settings = kopf.OperatorSettings()
    # What there is to watch is known: no rights on namespaces and CRDs are needed.
    settings.scanning.disabled = True
    settings.posting.enabled = False
    # None is ever added; the name only has to be none of Kopf's default.
    settings.persistence.finalizer = "seatrial.dev/never-used"
    settings.peering.standalone = True
    settings.watching.server_timeout = 300
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.networking.enforce_retry_after = True
    settings.networking.error_backoffs = _Backoffs()
    return settings


def build_registry(
    wake: Callable[[StudyKey], None],
    *,
    start: Callable[[], Awaitable[None]],
    stop: Callable[[], Awaitable[None]],
) -> kopf.OperatorRegistry:
    """Return the handlers.

    Args:
        wake: Wants a study to be looked at.
        start: Called when Kopf starts.
        stop: Called when Kopf ends.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.startup(registry=registry)
    async def on_startup(**_: object) -> None:
        await start()

    @kopf.on.cleanup(registry=registry)
    async def on_cleanup(**_: object) -> None:
        await stop()

    @kopf.on.login(registry=registry)
    def on_login(**given: Any) -> kopf.ConnectionInfo | None:  # noqa: ANN401 - Kopf's own
        return kopf.login_with_service_account(**given) or kopf.login_with_kubeconfig(**given)

    @kopf.on.event(STUDIES.group, STUDIES.version, STUDIES.plural, registry=registry)
    async def on_study(*, namespace: str | None, name: str, **_: object) -> None:
        wake(StudyKey(namespace or "", name))

    return registry
