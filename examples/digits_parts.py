"""The UCI digits in three parts that never mix: 1,077 images to train on, 360 to choose by, 360 to test the winner once.

The file is the one that ``sklearn.datasets.load_digits`` reads. It is read directly here, since importing scikit-learn
would take longer than a training.
"""

import importlib.util
from pathlib import Path

import numpy as np

Part = tuple[np.ndarray, np.ndarray]
"""Images (n, 64) in [0, 1] as float32, and labels (n,) in 0..9 as int64."""

TRAINING = slice(0, 1077)
VALIDATION = slice(1077, 1437)
TEST = slice(1437, 1797)


def load_training() -> Part:
    return _load(TRAINING)


def load_validation() -> Part:
    return _load(VALIDATION)


def load_test() -> Part:
    """Return the part that no trial ever sees; only ``--test`` on a finished checkpoint does."""
    return _load(TEST)


def _load(part: slice) -> Part:
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the digits lie inside scikit-learn: pip install scikit-learn")
    rows = np.loadtxt(
        Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz",
        delimiter=",",
        dtype=np.float32,
    )
    # The same shuffle in every trial: the parts belong to the question, not to the answer.
    rows = rows[np.random.default_rng(20240229).permutation(len(rows))[part]]
    return rows[:, :64] / 16, rows[:, 64].astype(np.int64)
