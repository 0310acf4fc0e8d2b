"""Softmax regression on the digits in plain numpy: a script that knows nothing of Seatrial and only prints.

Usage::

    python no_sdk.py --lr 0.5 --l2 0.0001 --batch-size 64
    seatrial run no-sdk.yaml
"""

import argparse

import numpy as np
from digits_parts import load_training, load_validation


def probabilities(X: np.ndarray, W: np.ndarray) -> np.ndarray:
    """Return class probabilities (n, 10) of images X (n, 65), the last column being 1, under weights W (65, 10)."""
    logits = X @ W
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def with_ones(X: np.ndarray) -> np.ndarray:
    return np.hstack([X, np.ones((len(X), 1), dtype=X.dtype)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--l2", type=float, default=1e-4)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    rng = np.random.default_rng(options.seed)
    X, y = load_training()
    X_validation, y_validation = load_validation()
    X, X_validation = with_ones(X), with_ones(X_validation)
    W = np.zeros((65, 10), dtype=np.float32)
    for epoch in range(1, options.epochs + 1):
        for batch in np.array_split(rng.permutation(len(X)), max(1, len(X) // options.batch_size)):
            errors = probabilities(X[batch], W) - np.eye(10, dtype=np.float32)[y[batch]]
            W -= options.lr * (X[batch].T @ errors / len(batch) + options.l2 * W)
        p = probabilities(X_validation, W)
        loss = -np.log(p[np.arange(len(p)), y_validation] + 1e-12).mean()
        print(f"epoch={epoch} val_loss={loss:.4f} val_accuracy={(p.argmax(1) == y_validation).mean():.4f}", flush=True)


if __name__ == "__main__":
    main()
