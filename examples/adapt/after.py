import numpy as np
import seatrial_harness as seatrial
from digits import X, X_validation, y, y_validation

trial = seatrial.start(lr=0.5, l2=1e-4)

W = np.zeros((64, 10))
for epoch in trial.steps(30):
    logits = X @ W
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    W -= trial.lr * (X.T @ (p - np.eye(10)[y]) / len(X) + trial.l2 * W)
    accuracy = ((X_validation @ W).argmax(axis=1) == y_validation).mean()
    trial.report(epoch, val_accuracy=accuracy)
