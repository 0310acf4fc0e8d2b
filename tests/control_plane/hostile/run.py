"""Ten thousand hostile studies and two thousand edits of live ones, against a control plane and an operator of their own.

    make hostile                                             everything, about an hour on two cores
    make hostile ARGUMENTS="--specs 300 --edits 100 --seed 5"
    make hostile ARGUMENTS="--specs 300 --seed 5 --only 17"  the study of such a run that broke a rule, alone

Exits with 1 where a rule was broken; what is needed to try it again is printed and stands in the report.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from api.strategies import Tree, studies
from control_plane.client import Client
from control_plane.cluster import run_control_plane, wait_until
from control_plane.hostile.edits import Walks
from control_plane.hostile.gauntlet import Gauntlet, Outcome
from control_plane.hostile.nodes import Nodes
from control_plane.hostile.specs import draw_specs, draw_trees
from control_plane.hostile.watching import operate

__all__ = ["draw_long_studies", "main", "open_namespace"]


def open_namespace(api: Client, name: str) -> str:
    """Create a namespace in which Pod Security holds the level that the operator's defaults keep."""
    body = {"metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    assert api.create("/api/v1/namespaces", body).is_accepted
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    wait_until(lambda: api.get(account).is_accepted, what=f"the service account of {name}")
    return name


def draw_long_studies(seed: int) -> Iterator[Tree]:
    """Yield valid studies with unique names that are far from their end."""
    for chunk in itertools.count(10**6 + 1000 * seed):
        for place, tree in enumerate(draw_trees(studies(), number=20, start=chunk)):
            tree["metadata"]["name"] = f"w-{chunk}-{place}"
            tree["spec"]["budget"] |= {"maxTrials": 1000, "parallelTrials": 2}
            tree["spec"].pop("suspend", None)
            yield tree


def tell(words: str) -> None:
    """Say how far it is."""
    sys.stdout.write(words[:2000] + "\n")
    sys.stdout.flush()


def _show(name: str, outcome: Outcome) -> dict[str, object]:
    totals: Counter[str] = Counter()
    for (_, ending), number in outcome.tried.items():
        totals[ending] += number
    tell(f"\n{name}: {outcome.total} in {outcome.seconds:.0f} s, {len(outcome.faults)} faults")
    for ending, number in totals.most_common():
        tell(f"  {number:6} {ending}")
    for fault in outcome.faults:
        tell(f"FAULT {fault}")
    tried = {f"{kind} | {ending}": number for (kind, ending), number in sorted(outcome.tried.items())}
    words = {f"{kind} | {ending}": said for (kind, ending), said in sorted(outcome.words.items())}
    samples = [asdict(sample) for sample in outcome.samples]
    return {
        "total": outcome.total,
        "seconds": outcome.seconds,
        "endings": totals,
        "tried": tried,
        "words": words,
        "faults": outcome.faults,
        "samples": samples,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--specs", type=int, default=10_000)
    parser.add_argument("--edits", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, metavar="PLACE", help="one study of all, as a fault names it; no edits")
    parser.add_argument("--report", type=Path, help="file for everything, as JSON")
    given = parser.parse_args(arguments)
    report: dict[str, object] = {"seed": given.seed}
    tell(f"seed {given.seed}, {given.specs} studies, {given.edits} edits")
    faults = 0
    with (
        tempfile.TemporaryDirectory(prefix="seatrial-hostile-") as name,
        run_control_plane(Path(name)) as plane,
        plane.client() as api,
    ):
        for what in ("studies", "edits") if given.only is None else ("studies",):
            space = open_namespace(api, what)
            seconds = 0.0 if what == "studies" else 8.0
            with (
                operate(plane.admin, Path(name), space) as operated,
                Nodes(plane.admin, space, seconds=lambda _, seconds=seconds: seconds, seed=given.seed),
            ):
                if what == "studies":
                    gauntlet = Gauntlet(api, space, operated, tell=tell)
                    specs = enumerate(draw_specs(given.specs, seed=given.seed))
                    outcome = gauntlet.run(each for each in specs if given.only in {None, each[0]})
                    for place in outcome.places:
                        tell(
                            f'again: make hostile ARGUMENTS="--specs {given.specs} --seed {given.seed} --only {place}"'
                        )
                else:
                    walks = Walks(api, space, operated, seed=given.seed, tell=tell)
                    outcome = walks.run(draw_long_studies(given.seed), given.edits)
            report[what] = _show(what, outcome)
            faults += len(outcome.faults)
            if given.report:
                given.report.write_text(json.dumps(report, indent=1))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
