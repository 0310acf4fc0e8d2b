import numpy as np
from digits import X, X_validation, y, y_validation

lr, l2 = 0.5, 1e-4

W = np.zeros((64, 10))
for epoch in range(1, 31):
    logits = X @ W
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    W -= lr * (X.T @ (p - np.eye(10)[y]) / len(X) + l2 * W)
    accuracy = ((X_validation @ W).argmax(axis=1) == y_validation).mean()
    print(f"epoch {epoch}: {accuracy:.3f}")
