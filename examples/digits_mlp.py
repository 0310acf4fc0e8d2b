"""Train a multi-layer perceptron on the digits, one trial at a time.

Usage::

    python digits_mlp.py                      train by itself, with the defaults below
    HP_lr=0.01 python digits_mlp.py           … with another learning rate
    seatrial run digits.yaml                  search for the best parameters
    python digits_mlp.py --test CHECKPOINT    measure a checkpoint on the test part, once, at the very end
"""

import os
import sys

import numpy as np
import seatrial_harness as seatrial
import torch
from digits_parts import Part, load_test, load_training, load_validation
from torch import nn

EPOCHS = 27


def build_model(hidden: int, dropout: float) -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, 10),
    )


def build_optimizer(model: nn.Module, trial: seatrial.Trial) -> torch.optim.Optimizer:
    if trial.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), lr=trial.lr, momentum=trial.momentum, weight_decay=trial.weightDecay)
    return torch.optim.AdamW(model.parameters(), lr=trial.lr, weight_decay=trial.weightDecay)


def with_shifts(part: Part) -> Part:
    """Return the images and their copies moved by one pixel in each of eight directions, black coming in."""
    images, labels = part
    padded = np.pad(images.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    moved = [padded[:, down : down + 8, right : right + 8] for down in range(3) for right in range(3)]
    return np.concatenate(moved).reshape(-1, 64), np.tile(labels, len(moved))


def to_tensors(part: Part) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(part[0]), torch.from_numpy(part[1])


def train_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, X: torch.Tensor, y: torch.Tensor, batch_size: int
) -> None:
    model.train()
    for batch in torch.randperm(len(X)).split(batch_size):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(X[batch]), y[batch]).backward()
        optimizer.step()


@torch.no_grad()
def measure(model: nn.Module, X: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
    """Return loss and accuracy."""
    model.eval()
    logits = model(X)
    return nn.functional.cross_entropy(logits, y).item(), (logits.argmax(1) == y).float().mean().item()


def train() -> None:
    trial = seatrial.start(
        lr=0.003, hidden=64, batchSize=64, optimizer="adamw", momentum=0.9, dropout=0.1, weightDecay=1e-4
    )
    torch.manual_seed(trial.seed)
    model = build_model(trial.hidden, trial.dropout)
    optimizer = build_optimizer(model, trial)
    state = trial.load()
    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        trial.reapply(optimizer, lr=trial.lr, weight_decay=trial.weightDecay)

    X, y = to_tensors(with_shifts(load_training()))
    X_validation, y_validation = to_tensors(load_validation())
    weights = sum(parameter.numel() for parameter in model.parameters())
    for epoch in trial.steps(EPOCHS):
        # Seeded by epoch, so that a resumed training is the same as one that was never interrupted.
        torch.manual_seed(trial.seed + epoch)
        train_epoch(model, optimizer, X, y, trial.batchSize)
        loss, accuracy = measure(model, X_validation, y_validation)
        trial.report(epoch, val_accuracy=accuracy, val_loss=loss, weights=weights)
        trial.save(model=model.state_dict(), optimizer=optimizer.state_dict(), hidden=trial.hidden)


def test(checkpoint: str) -> None:
    state = seatrial.load(checkpoint)
    model = build_model(state["hidden"], dropout=0.0)
    model.load_state_dict(state["model"])
    loss, accuracy = measure(model, *to_tensors(load_test()))
    print(f"test_accuracy={accuracy:.4f} test_loss={loss:.4f} step={state.step}")


if __name__ == "__main__":
    # Several trials share the machine: each takes the cores that it was given, not all.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if sys.argv[1:2] == ["--test"]:
        test(sys.argv[2])
    else:
        train()
