"""What a laptop would do with the same file."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from kind.cluster import ROOT
from seatrial.api.load import parse_study
from seatrial.decide.snapshot import Snapshotter
from seatrial.reconcile import ThreadSuggester

__all__ = ["laptop_suggestions"]


def laptop_suggestions(example: str, count: int) -> list[dict[str, Any]]:
    """Return the first assignments of a study as `seatrial run` would try them."""
    study = parse_study((ROOT / "examples" / f"{example}.yaml").read_bytes(), source=example).study
    snapshot = Snapshotter().build(study=study, trials=[], attempts={}, curves={}, now=datetime.now(UTC))
    proposals = asyncio.run(ThreadSuggester().propose(snapshot, count)).proposals
    return [dict(proposal.assignment) for proposal in proposals]
