"""Size of the report and the seconds it takes, by the number of trials.

    python bench/report.py [trials ...]

Seconds are processor time of this process, so that other work on the machine does not count; the first report also pays for
importing and packing plotly once, which is shown apart.
"""

import sys
import time
from pathlib import Path

# In place of this folder: its own name would hide the tests' package of the same name.
sys.path[0] = str(Path(__file__).parents[1] / "tests")

from report.studies import digits_study  # noqa: E402 - the path comes first
from seatrial.report import build_view, render_html  # noqa: E402 - the path comes first
from seatrial.report.embed import plotly_script  # noqa: E402 - the path comes first


def main(counts: list[int]) -> None:
    """Print a row for each count."""
    begun = time.process_time()
    plotly_script()
    render_html(build_view(*digits_study(12)))
    print(f"once: import and pack plotly, {time.process_time() - begun:.2f} s")
    print(f"{'trials':>8} {'view s':>8} {'page s':>8} {'MB':>6}")
    for count in counts:
        study = digits_study(count)
        begun = time.process_time()
        view = build_view(*study)
        viewed = time.process_time()
        page = render_html(view)
        done = time.process_time()
        print(f"{count:>8,} {viewed - begun:>8.2f} {done - viewed:>8.2f} {len(page.encode()) / 1e6:>6.2f}")


if __name__ == "__main__":
    main([int(count) for count in sys.argv[1:]] or [100, 1_000, 10_000])
