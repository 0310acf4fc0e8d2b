"""The two trainings of ``bench/pbt.py``. Needs NumPy and scikit-learn's data file alone, so that any peer can train them.

A state is a dict of arrays that are never changed in place; steps are numbered from 1, and chance depends on (seed, step) alone.
"""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

State = dict[str, np.ndarray]
Start = Callable[[int, int], State]
Train = Callable[[State, Mapping[str, float], int, int, int], tuple[State, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One training.

    Attributes:
        parameters: (name, low, high, log).
        start: State of (member, seed) before the first step.
        train: (state, parameters, steps done, last step, seed) to the state there and its loss.
    """

    name: str
    members: int
    steps: int
    interval: int
    parameters: tuple[tuple[str, float, float, bool], ...]
    start: Start
    train: Train


# ---- the toy -------------------------------------------------------------------------------------------------------------


def _toy_start(_member: int, _seed: int) -> State:
    return {"theta": np.array([0.9, 0.9])}


def _toy_train(state: State, parameters: Mapping[str, float], done: int, last: int, _seed: int) -> tuple[State, float]:
    theta, slopes = state["theta"], np.array([parameters["h0"], parameters["h1"]])
    for _ in range(done, last):
        theta = theta - 0.02 * slopes * theta
    return {"theta": theta}, float((theta**2).sum())


# ---- the digits ----------------------------------------------------------------------------------------------------------


@cache
def _digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the training and the validation part: X (n, 64) in [0, 1], y (n,); the test part stays where it is."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the digits lie inside scikit-learn: pip install scikit-learn")
    path = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    rows = np.loadtxt(path, delimiter=",")
    rows = rows[np.random.default_rng(20240229).permutation(len(rows))]
    X, y = rows[:, :64] / 16, rows[:, 64].astype(int)
    return X[:1077], y[:1077], X[1077:1437], y[1077:1437]


_HIDDEN, _BATCH = 48, 64


def _mlp_start(member: int, seed: int) -> State:
    rng = np.random.default_rng([seed, member, 1])
    shapes = {"W1": (64, _HIDDEN), "b1": (_HIDDEN,), "W2": (_HIDDEN, 10), "b2": (10,)}
    weights = {
        name: rng.normal(0, (2 / shape[0]) ** 0.5, shape) if len(shape) > 1 else np.zeros(shape)
        for name, shape in shapes.items()
    }
    return weights | {f"v{name}": np.zeros(shape) for name, shape in shapes.items()}


def _softmax(Z: np.ndarray) -> np.ndarray:
    E = np.exp(Z - Z.max(axis=1, keepdims=True))
    return E / E.sum(axis=1, keepdims=True)


def _mlp_train(state: State, parameters: Mapping[str, float], done: int, last: int, seed: int) -> tuple[State, float]:
    X, y, X_validation, y_validation = _digits()
    w = {name: value.copy() for name, value in state.items()}
    keep = 1.0 - parameters["dropout"]
    with np.errstate(all="ignore"):
        for step in range(done + 1, last + 1):
            rng = np.random.default_rng([seed, step, 2])
            for rows in np.array_split(rng.permutation(len(X)), len(X) // _BATCH):
                _update(w, X[rows], y[rows], parameters, (rng.random((len(rows), _HIDDEN)) < keep) / keep)
        P = _softmax(np.maximum(X_validation @ w["W1"] + w["b1"], 0) @ w["W2"] + w["b2"])
        loss = -np.log(np.maximum(P[np.arange(len(P)), y_validation], 1e-12)).mean()
    return w, float(loss)


def _update(w: State, X: np.ndarray, y: np.ndarray, parameters: Mapping[str, float], mask: np.ndarray) -> None:
    H = np.maximum(X @ w["W1"] + w["b1"], 0) * mask
    D = _softmax(H @ w["W2"] + w["b2"])
    D[np.arange(len(y)), y] -= 1
    D /= len(y)
    B = (D @ w["W2"].T) * mask * (H > 0)
    for name, gradient in (("W1", X.T @ B), ("b1", B.sum(0)), ("W2", H.T @ D), ("b2", D.sum(0))):
        w[f"v{name}"] = parameters["momentum"] * w[f"v{name}"] - parameters["lr"] * gradient
        w[name] = w[name] + w[f"v{name}"]


TASKS = {
    task.name: task
    for task in (
        Task(
            name="toy",
            members=4,
            steps=60,
            interval=4,
            parameters=(("h0", 0.0, 1.0, False), ("h1", 0.0, 1.0, False)),
            start=_toy_start,
            train=_toy_train,
        ),
        Task(
            name="digits",
            members=8,
            steps=30,
            interval=3,
            parameters=(("lr", 1e-4, 1.0, True), ("momentum", 0.0, 0.99, False), ("dropout", 0.0, 0.7, False)),
            start=_mlp_start,
            train=_mlp_train,
        ),
    )
}
