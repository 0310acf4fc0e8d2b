"""Studies of a cluster, for the commands that look at one."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from seatrial.api.study import Study
from seatrial.api.trial import Trial
from seatrial.entry.cli.exits import ExitCode, error, finish
from seatrial.entry.cli.kube.connection import Connection, Flags, connected
from seatrial.entry.cli.kube.copying import copy_from_cluster
from seatrial.entry.cli.kube.curves import read_curves
from seatrial.entry.cli.kube.home import ClusterHome
from seatrial.entry.cli.kube.reading import read_study, read_trials
from seatrial.entry.cli.sources import Found
from seatrial.entry.cli.summary import Standing

__all__ = ["ClusterSource", "build_standing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSource:
    """Studies of one namespace.

    Attributes:
        prometheus_url: Where curves are, when the user says so.
    """

    flags: Flags
    prometheus_url: str | None = None

    def open(self, study: str, *, with_curves: bool = False) -> Found:
        """Return the study of that name."""
        return asyncio.run(self._open(study, with_curves=with_curves))

    def copy_checkpoint(self, standing: Standing, trial: Trial, target: Path) -> None:
        """Copy it through a short-lived Pod."""
        try:
            asyncio.run(copy_from_cluster(self.flags, standing.study, trial, target))
        except asyncio.CancelledError:
            error("seatrial: ended by SIGTERM; nothing was copied")
            finish(ExitCode.TERMINATED)

    async def _open(self, name: str, *, with_curves: bool) -> Found:
        async with connected(self.flags) as connection:
            study = await read_study(connection, name)
            trials = await read_trials(connection.client, study)
            standing = build_standing(connection, study, trials)
            if not with_curves:
                return Found(standing=standing, curves={})
            drawn = await read_curves(connection, study, trials, self.prometheus_url, datetime.now(UTC))
            return Found(standing=standing, curves=drawn.curves, curves_from=drawn.source)


def build_standing(connection: Connection, study: Study, trials: tuple[Trial, ...]) -> Standing:
    """Return the study in words."""
    home = ClusterHome(namespace=connection.namespace, context=connection.context, flags=connection.flags.words())
    return Standing(study=study, trials=trials, home=home, call=study.metadata.name)
