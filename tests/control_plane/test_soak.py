"""That the soak sees what grows. `make soak` runs it."""

from __future__ import annotations

import dataclasses

import pytest

from control_plane.hostile.watching import Sample
from control_plane.soak import find_growth

FLAT = Sample(seconds=0.0, rss_mb=100.0, thinking_mb=200.0, files=30, sockets=20, threads=10, queue=0, tasks=40)


def samples(**growth: float) -> list[Sample]:
    """Two hours, one sample a minute, in which some figures grow by so much a minute."""
    return [
        dataclasses.replace(FLAT, seconds=60.0 * n, **{name: getattr(FLAT, name) + n * a for name, a in growth.items()})
        for n in range(120)
    ]


@pytest.mark.parametrize("name", ["files", "sockets", "tasks", "threads"])
def test_what_grows_is_told(name: str):
    (told,) = find_growth(samples(**{name: 1}))

    assert told.startswith(f"{name} grew from ")


def test_memory_that_grows_is_told_by_the_hour():
    assert find_growth(samples(rss_mb=1.0)) == ["memory grows by 60.0 MB an hour"]


def test_what_stays_as_it_is_is_no_growth():
    assert find_growth(samples()) == []
