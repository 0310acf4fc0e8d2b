"""Choose a model and its own parameters together: support vectors, a forest, neighbours or logistic regression.

Each is judged by five-fold cross-validation on the training and validation parts; a fold is a step, and what is
reported is the mean over the folds so far. The test part stays out.

Usage::

    python model_choice.py                    judge the default, a support vector machine
    HP_model=knn python model_choice.py       … or another one
    seatrial run model-choice.yaml            search models and parameters
    HP_model=knn python model_choice.py --test    train on everything but the test part and measure there, once
"""

import sys

import numpy as np
import seatrial_harness as seatrial
from digits_parts import load_test, load_training, load_validation
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

DEFAULTS = {
    "model": "svm",
    "svmKernel": "rbf",
    "svmC": 1.0,
    "svmGamma": 0.05,
    "svmDegree": 3,
    "forestTrees": 100,
    "forestDepth": 16,
    "forestFeatures": 0.125,
    "knnNeighbours": 5,
    "knnWeights": "uniform",
    "logregC": 1.0,
}


def build_model(p: seatrial.Parameters, seed: int) -> ClassifierMixin:
    match p.model:
        case "svm":
            return SVC(kernel=p.svmKernel, C=p.svmC, gamma=p.svmGamma, degree=p.svmDegree)
        case "forest":
            return RandomForestClassifier(
                p.forestTrees, max_depth=p.forestDepth, max_features=p.forestFeatures, random_state=seed
            )
        case "knn":
            return KNeighborsClassifier(p.knnNeighbours, weights=p.knnWeights)
        case "logreg":
            return LogisticRegression(C=p.logregC, max_iter=500)
    raise seatrial.Infeasible(f"there is no model {p.model!r}")


def main() -> None:
    trial = seatrial.start(**DEFAULTS)
    model = build_model(trial.parameters, trial.seed)
    X, y = (np.concatenate(both) for both in zip(load_training(), load_validation(), strict=True))
    if sys.argv[1:] == ["--test"]:
        print(f"test_accuracy={model.fit(X, y).score(*load_test()):.4f}")
        return
    scores: list[float] = []
    # The same folds in every trial: two assignments are compared on the same images.
    folds = list(StratifiedKFold(5, shuffle=True, random_state=0).split(X, y))
    for fold in trial.steps(5):
        training, held_out = folds[fold - 1]
        scores.append(model.fit(X[training], y[training]).score(X[held_out], y[held_out]))
        trial.report(fold, cv_accuracy=np.mean(scores))


if __name__ == "__main__":
    main()
