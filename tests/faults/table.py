"""The figures of a sweep, and the table of docs/reliability.md that shows them."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from faults.plans import Mode

__all__ = ["Figures", "IncompleteError", "Row", "render", "write"]

_BEGIN, _END = "<!-- begin: figures -->", "<!-- end: figures -->"
_CUT = " A sample: the time was over before the plans were."
_TITLES = {
    "memory": "Cluster in memory, simulated clock",
    "real": "Real API server, operator as a process, through the proxy",
    "disk": "Laptop, faults of the disk",
}


@dataclass(slots=True, kw_only=True)
class Row:
    """Runs of one study under one fault.

    Attributes:
        failed: Runs with a violation.
        kills: SIGKILLs of the operator or runner in them.
        failures: Their plans.
    """

    tier: str
    mode: str
    case: str
    runs: int = 0
    failed: int = 0
    kills: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    def add(self, *, kills: int, failed: bool, seconds: float) -> None:
        """Count a run."""
        self.runs += 1
        self.failed += failed
        self.kills += kills
        self.seconds += seconds


class IncompleteError(Exception):
    """A tier has no figures of this sweep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a tier that was swept to its end keeps.

    Attributes:
        seed: Of its plans.
        cut: Whether its time was over before its plans were.
    """

    seed: int
    cut: bool
    rows: Sequence[Row]

    def save(self, path: Path) -> None:
        """Write them; a reader finds all or nothing."""
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self), indent=1))
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Figures:
        """Return what was saved."""
        found = json.loads(path.read_text())
        return cls(seed=found["seed"], cut=found["cut"], rows=[Row(**row) for row in found["rows"]])


def render(rows: Sequence[Row], cut: Collection[str] = ()) -> str:
    """Return one table for each tier: runs by fault and study, violations behind a slash.

    Args:
        rows: Of all tiers.
        cut: Tiers whose time was over before their plans were.
    """
    parts = []
    for tier, title in _TITLES.items():
        mine = [row for row in rows if row.tier == tier]
        if not mine:
            continue
        cases, modes = list(dict.fromkeys(r.case for r in mine)), list(dict.fromkeys(r.mode for r in mine))
        by_place = {(row.mode, row.case): row for row in mine}
        runs, failed, kills = (sum(getattr(row, name) for row in mine) for name in ("runs", "failed", "kills"))
        stormy = sum(row.kills for row in mine if row.mode == Mode.KILLED)
        when = f", {stormy} of them at random moments" if stormy else ""
        parts += [
            f"### {title}",
            "",
            f"{runs} runs with {kills} SIGKILLs{when}; {failed} with a violation.{_CUT if tier in cut else ''}",
            "",
            f"| fault | {' | '.join(cases)} | SIGKILLs | violations |",
            f"|---|{'---|' * (len(cases) + 2)}",
        ]
        for mode in modes:
            found = [by_place.get((mode, case)) for case in cases]
            told = [str(row.runs) if row else "–" for row in found]
            killed, bad = (sum(getattr(row, name) for row in found if row) for name in ("kills", "failed"))
            parts.append(f"| {mode} | {' | '.join(told)} | {killed} | {bad} |")
        failures = [plan for row in mine for plan in row.failures]
        parts += ["", *(f"- violated: `{plan}`" for plan in failures), *([""] if failures else [])]
    return "\n".join(parts)


def write(page: Path, results: Path, *, seed: int) -> None:
    """Put the figures of all tiers between the marks of a page.

    Raises:
        IncompleteError: If a tier was not swept to its end, or with another seed; the page stays as it is.
    """
    found = {tier: Figures.load(path) for tier in _TITLES if (path := results / f"{tier}.json").exists()}
    wrong = [f"{tier} was not swept to its end" for tier in _TITLES if tier not in found]
    wrong += [f"{tier} has seed {each.seed}, not {seed}" for tier, each in found.items() if each.seed != seed]
    wrong += [f"{tier} carried out no plan" for tier, each in found.items() if not each.rows]
    if wrong:
        raise IncompleteError("; ".join(wrong))
    rows, cut = (
        [row for each in found.values() for row in each.rows],
        {tier for tier, each in found.items() if each.cut},
    )
    text = page.read_text("utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    figures = f"{_BEGIN}\n\nSeed {seed}. Numbers of runs:\n\n{render(rows, cut)}\n{_END}"
    page.write_text(before + figures + after, "utf-8")
