"""Search spaces that the tests of the GP share."""

from seatrial.search.parameters import Categorical, Condition, Constant, Float, Int, Ordinal
from seatrial.search.space import SearchSpace

__all__ = ["BRANCHES", "LINE", "MIXED"]

LINE = SearchSpace([Float(name="x", low=0.0, high=1.0)])

MIXED = SearchSpace(
    [
        Float(name="lr", low=1e-4, high=1.0, log=True),
        Int(name="hidden", low=16, high=512, log=True),
        Ordinal(name="batch", choices=(32, 64, 128, 256)),
        Categorical(name="optimizer", choices=("sgd", "adamw", "lion")),
        Float(name="momentum", low=0.0, high=0.99, when=Condition(parent="optimizer", values=("sgd", "lion"))),
        Constant(name="epochs", value=9),
    ]
)

BRANCHES = SearchSpace(
    [
        Categorical(name="model", choices=("svm", "forest", "knn")),
        Float(name="c", low=0.0, high=1.0, when=Condition(parent="model", values=("svm",))),
        Categorical(name="rule", choices=("gini", "entropy"), when=Condition(parent="model", values=("forest",))),
        Int(name="depth", low=1, high=9, when=Condition(parent="rule", values=("entropy",))),
    ]
)
