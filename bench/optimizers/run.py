"""Search quality of our algorithms beside others: run, resume, print.

    python bench/optimizers/run.py --engines auto,tpe --tasks all --seeds 0-4 [--batch 8] [--budget 100] [--limit SECONDS]
    python bench/optimizers/run.py --tables --seeds 0-4 [--batch 8] [--compare auto,optuna_tpe] [--markdown]
    python bench/optimizers/run.py --document docs/benchmarks.md --seeds 0-4 --compare …
    python bench/optimizers/run.py --latency --engines auto,tpe

Runs are appended to ``bench/results/optimizers/ENGINE.jsonl``; what is there is not run again. Seeds are the outer loop, so that a run
that is cut off leaves a balanced set. Only the standard library is imported at the top: threads are limited before NumPy is loaded.
"""

import argparse
import os
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[1] / "results" / "optimizers"


def main() -> None:
    """Parse the command line."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    import campaign
    import document
    import latency
    import tables
    from suite import Suite, default_suite

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", type=Path, default=default_suite())
    parser.add_argument("--engines", default="auto")
    parser.add_argument("--tasks", default="all", help="all, or beginnings of task names, comma-separated")
    parser.add_argument("--seeds", default="0-4")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--budget", type=int, default=100)
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds after which no run is started")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--tables", action="store_true")
    parser.add_argument(
        "--compare", default="", help="engines in the tables, comma-separated; default: all complete ones"
    )
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--document", type=Path, help="file whose marked part is replaced by the tables")
    parser.add_argument("--latency", action="store_true")
    options = parser.parse_args()
    if options.latency:
        latency.report(options.engines.split(","))
        return
    if options.suite is None:
        raise SystemExit("no suite: name one with --suite or SEATRIAL_BENCH_SUITE")
    suite = Suite(options.suite)
    if options.document:
        document.rewrite(options.document, suite, campaign.own_runs(options.results), options)
    elif options.tables:
        runs = campaign.own_runs(options.results)
        tables.report(suite, runs, options)
    else:
        campaign.run_all(suite, options)


if __name__ == "__main__":
    main()
