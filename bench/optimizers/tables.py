"""Tables of regret, ranks and paired differences.

Regret at n = (lowest true value among the first n - best known) / (median of random search at 100 - best known): 0 is the
optimum, 1 is what random search reaches with 100 evaluations.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from campaign import seeds_of
from scipy.stats import binomtest, rankdata
from suite import CHECKPOINTS, Run, Suite

__all__ = ["report"]

FAMILIES = {
    "bbob": "bbob",
    "mixint": "mixint",
    "real": "real",
    "conditional": "real/cond",
    "categorical": "real/sgdcat",
}
_CLIP = 2.0
_SAME = 0.005


class Scores:
    """Regret of runs with the same batch size and budget."""

    def __init__(self, suite: Suite, runs: Sequence[Run], batch: int, budget: int, seeds: range | None) -> None:
        self.suite = suite
        self.by: dict[tuple[str, str], dict[int, Run]] = defaultdict(dict)
        for run in runs:
            fits = run.batch == batch and run.budget == budget and suite.scale(run.task, run.seed) is not None
            if fits and (seeds is None or run.seed in seeds):
                self.by[run.engine, run.task].setdefault(run.seed, run)
        self.tasks = sorted({task for _, task in self.by})

    def complete(self) -> list[str]:
        """Engines with a run on every task."""
        return [e for e in sorted({e for e, _ in self.by}) if all((e, t) in self.by for t in self.tasks)]

    def regret(self, run: Run, n: int, *, chosen: bool = False) -> float:
        """Regret of one run at n evaluations: of the best evaluated, or of what would be chosen by the observations."""
        random, best = self.suite.scale(run.task, run.seed)
        if not chosen:
            value = min(run.true[:n])
        elif run.chosen:
            value = run.chosen[CHECKPOINTS.index(n)]
        else:
            value = run.true[int(np.argmin(run.observed[:n]))]
        return max(value - best, 0.0) / max(random - best, 1e-12)

    def median(self, engine: str, task: str, n: int, *, chosen: bool = False) -> float:
        """Median over the seeds."""
        return float(np.median([self.regret(run, n, chosen=chosen) for run in self.by[engine, task].values()]))


def quality(scores: Scores, engines: Sequence[str], prefix: str = "", *, chosen: bool = False) -> list[list[str]]:
    """Return rows: engine, fewest seeds, median regret, mean regret at the end, geometric mean at the end, mean ranks."""
    tasks = [t for t in scores.tasks if t.startswith(prefix)]
    table = {
        n: np.array([[scores.median(e, t, n, chosen=chosen) for t in tasks] for e in engines]) for n in CHECKPOINTS
    }
    ranks = {n: rankdata(np.round(table[n], 6), axis=0).mean(axis=1) for n in CHECKPOINTS}
    rows = []
    for i, engine in enumerate(engines):
        fewest = min(len(scores.by[engine, t]) for t in tasks)
        last = table[CHECKPOINTS[-1]][i]
        rows.append(
            [engine, str(fewest)]
            + [f"{np.median(table[n][i]):.3f}" for n in CHECKPOINTS]
            + [f"{np.minimum(last, _CLIP).mean():.3f}", f"{np.exp(np.log(np.maximum(last, 1e-4)).mean()):.3f}"]
            + [f"{ranks[n][i]:.1f}" for n in CHECKPOINTS]
        )
    return sorted(rows, key=lambda row: float(row[-1]))


def paired(scores: Scores, first: str, second: str, n: int, prefix: str = "") -> list[str] | None:
    """Return a row: the mean difference of regret over tasks and its 95 % bootstrap interval, wins, ties and losses."""
    by_task, wins, ties, losses = [], 0, 0, 0
    for task in (t for t in scores.tasks if t.startswith(prefix)):
        mine, theirs = scores.by.get((first, task), {}), scores.by.get((second, task), {})
        common = sorted(set(mine) & set(theirs))
        if not common:
            continue
        d = [min(scores.regret(mine[s], n), _CLIP) - min(scores.regret(theirs[s], n), _CLIP) for s in common]
        by_task.append(float(np.mean(d)))
        wins += sum(x < -_SAME for x in d)
        losses += sum(x > _SAME for x in d)
        ties += sum(abs(x) <= _SAME for x in d)
    if not by_task:
        return None
    m = np.array(by_task)
    means = np.random.default_rng(0).choice(m, (4000, len(m))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    won, lost = int((m < -_SAME).sum()), int((m > _SAME).sum())
    p = binomtest(won, won + lost).pvalue if won + lost else 1.0
    interval = f"{m.mean():+.3f} [{low:+.3f}, {high:+.3f}]"
    return [f"{first} - {second}", str(n), str(len(m)), f"{wins}/{ties}/{losses}", interval, f"{won}:{lost} ({p:.2g})"]


def show(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, markdown: bool) -> None:
    """Print a table."""
    print(f"\n{'### ' if markdown else ''}{title}\n")
    if markdown:
        print("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
        for row in rows:
            print("| " + " | ".join(row) + " |")
        return
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


def report(suite: Suite, own: Sequence[Run], options) -> None:
    """Print all tables for the batch size, budget and seeds of *options*.

    A published trace of an engine that was also run here is left out, or kept as ``published NAME`` if the name is ours.
    """
    mine = {run.engine for run in own}
    peers = [replace(run, engine=f"published {run.engine}") if run.engine in mine else run for run in suite.peers()]
    scores = Scores(suite, [*own, *peers], options.batch, options.budget, seeds_of(options.seeds))
    wanted = [e for e in options.compare.split(",") if e]
    engines = wanted or scores.complete()
    if wanted:
        scores.tasks = [t for t in scores.tasks if all((e, t) in scores.by for e in wanted)]
    columns = [*(f"@{n}" for n in CHECKPOINTS), "mean", "geo-mean", *(f"rank@{n}" for n in CHECKPOINTS)]
    families = {"all tasks": "", **FAMILIES}
    for family, prefix in families.items():
        count = sum(t.startswith(prefix) for t in scores.tasks)
        title = f"{family} ({count}), batches of {options.batch}, seeds {options.seeds}"
        if count:
            show(title, ["engine", "seeds", *columns], quality(scores, engines, prefix), markdown=options.markdown)
    if any(t.startswith("real") for t in scores.tasks):
        title = "regret of the recommended trial, real tasks"
        rows = quality(scores, engines, "real", chosen=True)
        show(title, ["engine", "seeds", *columns], rows, markdown=options.markdown)
    first = "auto" if "auto" in engines else engines[0]
    rows = [row for e in engines if e != first for n in CHECKPOINTS if (row := paired(scores, first, e, n))]
    header = ["pair", "n", "tasks", "runs won/tied/lost", "mean difference [95 %]", "tasks won:lost (p)"]
    show("paired differences of regret, same task and seed", header, rows, markdown=options.markdown)
