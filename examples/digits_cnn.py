"""Train a small convolutional network on the digits, with augmentation.

Usage::

    python digits_cnn.py                      train by itself, with the defaults below
    seatrial run digits-cnn.yaml              search for the best parameters
    python digits_cnn.py --test CHECKPOINT    measure a checkpoint on the test part, once, at the very end
"""

import os
import sys

import seatrial_harness as seatrial
import torch
from digits_parts import Part, load_test, load_training, load_validation
from torch import nn

EPOCHS = 27


def build_model(channels: int, dropout: float) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, 2 * channels, 3, padding=1),
        nn.BatchNorm2d(2 * channels),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(2 * channels * 16, 10),
    )


def to_tensors(part: Part) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(part[0]).reshape(-1, 1, 8, 8), torch.from_numpy(part[1])


def augment(images: torch.Tensor, shift: int, noise: float) -> torch.Tensor:
    """Return images moved by up to *shift* pixels and with Gaussian noise of deviation *noise* added; *images*: (n, 1, 8, 8)."""
    if shift:
        padded = nn.functional.pad(images, (shift,) * 4)
        down, right = torch.randint(0, 2 * shift + 1, (2,)).tolist()
        images = padded[:, :, down : down + 8, right : right + 8]
    return images + noise * torch.randn_like(images)


def train_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, X: torch.Tensor, y: torch.Tensor, trial: seatrial.Trial
) -> None:
    model.train()
    for batch in torch.randperm(len(X)).split(trial.batchSize):
        optimizer.zero_grad()
        logits = model(augment(X[batch], trial.shift, trial.noise))
        nn.functional.cross_entropy(logits, y[batch], label_smoothing=trial.labelSmoothing).backward()
        optimizer.step()


@torch.no_grad()
def measure(model: nn.Module, X: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
    """Return loss and accuracy."""
    model.eval()
    logits = model(X)
    return nn.functional.cross_entropy(logits, y).item(), (logits.argmax(1) == y).float().mean().item()


def train() -> None:
    trial = seatrial.start(
        lr=0.003, channels=8, batchSize=64, dropout=0.2, weightDecay=1e-4, shift=0, noise=0.0, labelSmoothing=0.0
    )
    torch.manual_seed(trial.seed)
    model = build_model(trial.channels, trial.dropout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=trial.lr, weight_decay=trial.weightDecay)
    state = trial.load()
    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        trial.reapply(optimizer, lr=trial.lr, weight_decay=trial.weightDecay)

    X, y = to_tensors(load_training())
    X_validation, y_validation = to_tensors(load_validation())
    for epoch in trial.steps(EPOCHS):
        # Seeded by epoch, so that a resumed training is the same as one that was never interrupted.
        torch.manual_seed(trial.seed + epoch)
        train_epoch(model, optimizer, X, y, trial)
        loss, accuracy = measure(model, X_validation, y_validation)
        trial.report(epoch, val_accuracy=accuracy, val_loss=loss)
        trial.save(model=model.state_dict(), optimizer=optimizer.state_dict(), channels=trial.channels)


def test(checkpoint: str) -> None:
    state = seatrial.load(checkpoint)
    model = build_model(state["channels"], dropout=0.0)
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
