"""A trial that stands for all trials of a study, for a rehearsal of its Pod. Pure."""

from datetime import datetime

from seatrial.api.study import Study
from seatrial.api.trial import Trial
from seatrial.decide.lifecycle import new_trial
from seatrial.decide.suggest import Proposal, trial_seed
from seatrial.search.build import build_space

__all__ = ["build_rehearsal_trial"]


def build_rehearsal_trial(study: Study, now: datetime) -> Trial:
    """Return the trial with index 0 at the study's defaults, or in the middle of its ranges; it is not stored anywhere."""
    assignment = build_space(study.spec.parameters).default()
    seed = trial_seed(study.spec.algorithm.seed, 0)
    proposal = Proposal(index=0, assignment=assignment, seed=seed, algorithm="rehearsal", detail="", reuse_of=None)
    return new_trial(study, proposal, now)
