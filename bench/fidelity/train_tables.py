"""Train the tables of ``bench/multifidelity.py`` anew: ``python bench/fidelity/train_tables.py``. Needs torch and scikit-learn.

*digits-mlp*: an MLP with two hidden layers on the UCI digits, SGD with momentum, 81 epochs; trainings of equal shapes are computed side by side.
*digits-boosting*: boosted trees that tell odd digits from even ones, 81 trees. Losses are those of the validation part; the
test part is not touched.
"""

import itertools
import math
import sys
import time
from pathlib import Path

import numpy as np

sys.path[0] = str(Path(__file__).parents[2])

from bench.fidelity.tables import Table, save  # noqa: E402 - the path comes first
from bench.population.tasks import _digits  # noqa: E402 - the path comes first

STEPS = 81
# What a training that has gone wrong is worth, and the least loss: logarithms of both exist.
WORST, LEAST = 10.0, 1e-6

MLP = (
    ("lr", tuple(float(x) for x in np.geomspace(1e-4, 1.0, 9).round(6))),
    ("momentum", (0.0, 0.6, 0.9, 0.98)),
    ("dropout", (0.0, 0.25, 0.5)),
    ("weightDecay", (0.0, 1e-3)),
    ("hidden", (8, 16, 32)),
    ("batch", (64,)),
)
BOOSTING = (
    ("learningRate", tuple(float(x) for x in np.geomspace(0.01, 1.0, 9).round(4))),
    ("leaves", (2, 4, 8, 16, 31)),
    ("minLeaf", (1, 5, 20, 60)),
    ("l2", (0.0, 1.0, 10.0)),
    ("features", (0.15, 1.0)),
)


def train_mlps(points: np.ndarray, hidden: int, batch: int) -> np.ndarray:
    """Return the losses (points, STEPS) of trainings side by side; *points*: (lr, momentum, dropout, weight decay), shape (n, 4)."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(hidden * 1000 + batch)
    X, y, X_validation, y_validation = (torch.from_numpy(part) for part in _digits())
    X, X_validation = X.float(), X_validation.float()
    lr, momentum, dropout, decay = (torch.tensor(points[:, i]).float().view(-1, 1, 1) for i in range(4))
    n, sizes = len(points), (64, hidden, hidden, 10)
    weights = [torch.randn(n, a, b) * math.sqrt(2 / a) for a, b in itertools.pairwise(sizes)]
    weights += [torch.zeros(n, 1, b) for b in sizes[1:]]
    speed = [torch.zeros_like(w) for w in weights]
    for w in weights:
        w.requires_grad_()

    def forward(rows: "torch.Tensor", *, train: bool) -> "torch.Tensor":
        H = rows.expand(n, *rows.shape)
        for layer in range(2):
            H = torch.relu(H @ weights[layer] + weights[layer + 3])
            if train:
                H = H * (torch.rand_like(H) >= dropout) / (1 - dropout)
        return torch.log_softmax(H @ weights[2] + weights[5], dim=2)

    found = np.empty((n, STEPS))
    for step in range(STEPS):
        for rows in torch.randperm(len(X)).split(batch):
            picked = forward(X[rows], train=True)[:, range(len(rows)), y[rows]]
            gradients = torch.autograd.grad(-picked.mean(dim=1).sum(), weights)
            with torch.no_grad():
                for w, v, g in zip(weights, speed, gradients, strict=True):
                    v.mul_(momentum).sub_(lr * (g + decay * w))
                    w.add_(v)
        with torch.no_grad():
            loss = -forward(X_validation, train=False)[:, range(len(y_validation)), y_validation].mean(dim=1)
        found[:, step] = np.clip(np.nan_to_num(loss.numpy(), nan=WORST, posinf=WORST), LEAST, WORST)
    return found


def mlp_table() -> Table:
    """Train all points, those of equal shapes together."""
    outer = list(itertools.product(*(values for _, values in MLP[:4])))
    inner = list(itertools.product(MLP[4][1], MLP[5][1]))
    losses = np.empty((len(outer), len(inner), STEPS))
    for column, (hidden, batch) in enumerate(inner):
        begun = time.perf_counter()
        losses[:, column] = train_mlps(np.array(outer), hidden, batch)
        print(f"digits-mlp: {hidden} hidden, batches of {batch}: {time.perf_counter() - begun:.0f} s", flush=True)
    return Table(name="digits-mlp", parameters=MLP, losses=losses.reshape(-1, STEPS))


def boosting_table() -> Table:
    """Train all points one after the other."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import log_loss

    X, y, X_validation, y_validation = _digits()
    losses = []
    for number, (rate, leaves, least, l2, features) in enumerate(itertools.product(*(v for _, v in BOOSTING))):
        model = HistGradientBoostingClassifier(
            learning_rate=rate,
            max_iter=STEPS,
            max_leaf_nodes=leaves,
            min_samples_leaf=least,
            l2_regularization=l2,
            max_features=features,
            max_bins=17,
            early_stopping=False,
            random_state=number,
        )
        model.fit(X, y % 2)
        curve = [log_loss(y_validation % 2, P[:, 1]) for P in model.staged_predict_proba(X_validation)]
        losses.append(np.clip(curve + curve[-1:] * (STEPS - len(curve)), LEAST, WORST))
        if number % 100 == 0:
            print(f"digits-boosting: {number}", time.strftime("%X"), flush=True)
    return Table(name="digits-boosting", parameters=BOOSTING, losses=np.array(losses))


if __name__ == "__main__":
    for build in {"mlp": [mlp_table], "boosting": [boosting_table]}.get(sys.argv[-1], [mlp_table, boosting_table]):
        save(build())
