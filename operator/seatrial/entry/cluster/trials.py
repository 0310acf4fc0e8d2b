"""What the readers of metrics need to know of running Pods, from the cache of Pods."""

from collections.abc import AsyncGenerator, Sequence

from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.faults import ApiError
from seatrial.adapters.kubernetes.informer import Informer
from seatrial.adapters.kubernetes.pods import PodRecord
from seatrial.adapters.kubernetes.port import KubeClient
from seatrial.adapters.metrics.logs import NoLogError
from seatrial.adapters.metrics.targets import Target
from seatrial.api.study import Study
from seatrial.decide.attempts import Phase
from seatrial.ports import StudyKey

__all__ = ["PodLogs", "PodTargets", "key_of"]

_LOG_LIMIT_BYTES = (64 << 20) + 1
# Between two pieces other studies are worked on.
_PIECE_LENGTH = 1 << 18


def key_of(study: Study) -> StudyKey:
    """Return the key of a study."""
    return StudyKey(study.metadata.namespace or "default", study.metadata.name)


class PodTargets:
    """A :class:`~seatrial.adapters.metrics.targets.TargetFinder` over the cache of Pods."""

    def __init__(self, pods: Informer[PodRecord]) -> None:
        self._pods = pods

    def find(self, study: Study) -> Sequence[Target]:
        """Return the attempts of the study that have an address and run."""
        return [
            Target(trial=pod.attempt.trial, attempt=pod.attempt.number, url=f"http://{pod.address}/metrics")
            for pod in self._pods.of(key_of(study)).values()
            if pod.address and pod.study_uid == study.metadata.uid and pod.attempt.phase is Phase.RUNNING
        ]


class PodLogs:
    """A :class:`~seatrial.adapters.metrics.logs.LogReader` over the API server."""

    def __init__(self, client: KubeClient, pods: Informer[PodRecord]) -> None:
        self._client, self._pods = client, pods

    async def read(self, study: Study, trial: str, number: int) -> AsyncGenerator[bytes, None]:
        """Yield what an attempt's training container printed.

        Raises:
            TransientError: While it cannot be read.
            NoLogError: If the Pod is gone, or the API server will not have it.
        """
        key, name = key_of(study), names.build_pod_name(trial, number)
        pod = self._pods.get(key.namespace, name)
        if pod is None:
            raise NoLogError(f"Pod {name} is gone, and what it printed with it")
        try:
            text = await self._client.read_log(key.namespace, name, pod.container, limit_bytes=_LOG_LIMIT_BYTES)
        except ApiError as error:
            raise NoLogError(str(error)) from error
        # Some logs are read at a time: none is held twice.
        for start in range(0, len(text), _PIECE_LENGTH):
            yield text[start : start + _PIECE_LENGTH].encode()
