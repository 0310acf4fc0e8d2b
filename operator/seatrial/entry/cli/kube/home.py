"""A study's home in a cluster: places and commands as a user of kubectl knows them. Pure."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.adapters.kubernetes import names
from seatrial.api.checkpoints import CHECKPOINTS_VOLUME
from seatrial.api.environment import checkpoint_url
from seatrial.api.study import Study
from seatrial.api.trial import Trial

__all__ = ["ClusterHome"]

_RESUME = '{"spec":{"suspend":false}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterHome:
    """A namespace of a cluster.

    Attributes:
        flags: What the user had to say to get there.
    """

    namespace: str
    context: str
    flags: tuple[str, ...] = ()

    @property
    def unseen(self) -> str:
        """What is said of a study that has no status yet."""
        return "no operator has looked at it yet; if that stays so: kubectl get deployments -A -l app.kubernetes.io/name=seatrial"

    def command(self, verb: str, call: str, *rest: str) -> str:
        """Return the command line that does *verb* with the study."""
        return shlex.join(["kubectl", "seatrial", verb, call, *self.flags, *rest])

    def places(self) -> list[tuple[str, str]]:
        """Return the namespace."""
        return [("namespace", f"{self.namespace} (context {self.context})")]

    def document(self) -> dict[str, object]:
        """Return the namespace and the context."""
        return {"namespace": self.namespace, "context": self.context}

    def checkpoint(self, study: Study, owner: str, path: str) -> str:
        """Return the volume and the folder in it."""
        if url := checkpoint_url(study):
            return f"{url}/{owner}/{path}"
        volume = _volume(study)
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        where = f"pvc/{claim}" if claim else f"volume {CHECKPOINTS_VOLUME}"
        return f"{where}: {study.metadata.uid}/{owner}/{path}"

    def output(self, trial: Trial) -> str:
        """Return the command that shows it, as long as the Pod is there, whatever its name is."""
        labels = f"{names.LABEL_TRIAL}={trial.metadata.name},{names.LABEL_ATTEMPT}={trial.status.attempt}"
        return shlex.join(["kubectl", "logs", "-n", self.namespace, "-l", labels, "--tail=-1"])

    def continuing(self, call: str, *, suspended: bool, live: bool, again: str) -> str:  # noqa: ARG002
        """Return how to watch it, or how it goes on."""
        if suspended:
            patch = ["kubectl", "patch", "study", call, "-n", self.namespace, "--type", "merge", "-p", _RESUME]
            return f"{shlex.join(patch)}   goes on"
        return self.command("watch", call)

    def report_file(self, name: str) -> Path:
        """Return a file in the current folder."""
        return Path(f"{name}-report.html")


def _volume(study: Study) -> dict[str, Any]:
    spec: Any = study.spec.trial.template.get("spec") or {}
    return next((volume for volume in spec.get("volumes") or () if volume.get("name") == CHECKPOINTS_VOLUME), {})
