"""Population-based training against random search with as many steps, on the paper's toy and on a real training.

    python bench/pbt.py [--seeds 10] [--ray PYTHON] [--only WORD]

Two tasks. *Toy*: the quadratic of Jaderberg et al. 2017, figure 2 (maximise 1.2 - |theta|^2 by gradients of a surrogate whose slopes are
the hyperparameters), shown as a loss. *Digits*: an MLP in NumPy on the UCI digits, SGD with momentum; learning rate, momentum and
dropout may change during training; the loss on the validation part at the last step counts, the test part is not touched.

Every method trains members * steps steps in all: a population, or its own first assignments and weights held constant, of which the
best is kept: what random search finds with as many steps. Each value is the best loss at the last step. ``--ray`` runs Ray Tune's PBT as well, by a Python that has ray[tune],
numpy and scikit-learn: the same tasks, population, interval, quantile, factors and seeds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

# In place of this folder, so that the bench is a package wherever it is called from.
sys.path[0] = str(Path(__file__).parents[1])

from bench.population.tasks import TASKS, Task  # noqa: E402 - the path comes first

from seatrial.search.algorithms import ALGORITHMS  # noqa: E402 - the path comes first
from seatrial.search.base import Algorithm, Evaluated, History, Saved, Settings  # noqa: E402 - the path comes first
from seatrial.search.parameters import Float  # noqa: E402 - the path comes first
from seatrial.search.space import SearchSpace  # noqa: E402 - the path comes first

BASELINE = "random, constant"
METHODS = {
    BASELINE: None,
    "pbt": {},
    "pbt, tournament": {"selection": "tournament"},
    "pbt, asynchronous": {"mode": "asynchronous"},
    "pb2": {"explore": "pb2"},
}


def space_of(task: Task) -> SearchSpace:
    """Return the search space of a task."""
    return SearchSpace([Float(name=n, low=low, high=high, log=log) for n, low, high, log in task.parameters])


def population_of(task: Task, seed: int, words: dict[str, str]) -> Algorithm:
    """Return our algorithm for a task."""
    numbers = {"population_size": task.members, "ready_interval": task.interval, "quantile": 0.25}
    settings = Settings(seed=seed, max_step=task.steps, numbers=numbers, words=words)
    return ALGORITHMS["pbt"](space_of(task), settings)


def run_random(task: Task, seed: int) -> float:
    """Return the best of the constant settings with which the population of the same seed begins."""
    starts = population_of(task, seed, {}).ask(History(), task.members).suggestions
    ends = [task.train(task.start(m, seed), s.assignment, 0, task.steps, seed)[1] for m, s in enumerate(starts)]
    return min(loss if np.isfinite(loss) else float("inf") for loss in ends)


def run_population(task: Task, seed: int, words: dict[str, str]) -> float:
    """Return the best loss of our population at the last step; members end in an order of their own."""
    algorithm = population_of(task, seed, words)
    states, history, rng, trained = {}, History(), np.random.default_rng(seed), 0
    while True:
        answer = algorithm.ask(history, task.members)
        for suggestion in answer.suggestions:
            history = history.with_suggestion(suggestion)
        if not history.pending:
            break
        done = history.pending[int(rng.integers(len(history.pending)))]
        first = done.source.step if done.source else 0
        before = states[done.source.trial] if done.source else task.start(done.membership.member, seed)
        state, loss = task.train(before, done.assignment, first, done.until_step, seed)
        states[done.index], trained = state, trained + done.until_step - first
        failed = not np.isfinite(loss)
        result = Evaluated(
            index=done.index,
            assignment=done.assignment,
            values=(float("inf") if failed else loss,),
            failed=failed,
            step=done.until_step,
            until_step=done.until_step,
            saved=Saved(step=done.until_step, digest=str(done.index)),
            source=done.source,
            membership=done.membership,
        )
        evaluated = tuple(sorted((*history.evaluated, result), key=lambda trial: trial.index))
        pending = tuple(trial for trial in history.pending if trial is not done)
        history = History(evaluated=evaluated, pending=pending, next_index=history.next_index)
    assert trained <= task.members * task.steps, trained
    return min(t.values[0] for t in history.evaluated if t.until_step == task.steps)


def run_ray(python: str, task: Task, seeds: int, mode: str) -> list[float]:
    """Return the losses of Ray Tune's PBT, one a seed."""
    script = Path(__file__).parent / "population" / "ray_pbt.py"
    command = [python, str(script), task.name, str(seeds), mode]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print one table a task."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=10)
    options.add_argument("--ray", metavar="PYTHON")
    options.add_argument("--tasks", nargs="*", default=list(TASKS))
    options.add_argument(
        "--only", default="", metavar="WORD", help="only rows with this word, beside the constant ones"
    )
    chosen = options.parse_args()
    for name in chosen.tasks:
        task = TASKS[name]
        print(f"\n{name}: {task.members} members, {task.steps} steps, every {task.interval}, {chosen.seeds} seeds")
        print(f"{'method':20} {'median':>10} {'quartiles':>21} {'beats random':>13} {'seconds':>8}")
        rows = {}
        for method, words in METHODS.items():
            if method != BASELINE and chosen.only not in method:
                continue
            begun = time.perf_counter()
            run = run_random if words is None else lambda task, seed, words=words: run_population(task, seed, words)
            rows[method] = [run(task, seed) for seed in range(chosen.seeds)]
            report(method, rows, time.perf_counter() - begun)
        for mode in ("async", "sync") if chosen.ray else ():
            if chosen.only not in (method := f"Ray's pbt, {mode}"):
                continue
            begun = time.perf_counter()
            rows[method] = run_ray(chosen.ray, task, chosen.seeds, mode)
            report(method, rows, time.perf_counter() - begun)


def report(method: str, rows: dict[str, list[float]], seconds: float) -> None:
    """Print one row: losses are shown as they are."""
    losses, baseline = rows[method], rows[BASELINE]
    low, middle, high = statistics.quantiles(losses, n=4)
    wins = sum(a < b for a, b in zip(losses, baseline, strict=True))
    print(
        f"{method:20} {middle:10.4g} {low:10.4g} {high:10.4g} {wins:>6} of {len(losses):<3} {seconds:8.1f}", flush=True
    )


if __name__ == "__main__":
    main()
