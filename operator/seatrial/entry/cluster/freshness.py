"""Which loops of the operator still show life: what its liveness probe asks.

A loop either beats at least once in a while, or says when it is at work and how long that may last: a worker that waits for work
is no dead worker. It ends nothing and restarts nothing; the probe's answer lets Kubernetes do that.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Freshness", "Stale"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """A loop that shows no life.

    Attributes:
        name: Name of the loop.
        age_seconds: Since it last did.
        bound_seconds: How long it may take.
    """

    name: str
    age_seconds: float
    bound_seconds: float

    def __str__(self) -> str:
        """Say it in words."""
        return f"{self.name} has shown no life for {self.age_seconds:.0f} s (at most {self.bound_seconds:.0f} s)"


class Freshness:
    """A register of loops and when they last showed life.

    Args:
        time: Seconds that never run backwards.
    """

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._bounds: dict[str, float] = {}
        self._seen: dict[str, float] = {}

    def expect(self, name: str, bound_seconds: float) -> None:
        """Expect a loop to beat at least every *bound_seconds* from now on.

        Raises:
            ValueError: If *bound_seconds* is not positive.
        """
        if bound_seconds <= 0:
            raise ValueError(f"bound_seconds of {name} is {bound_seconds}, but must be positive")
        self._bounds[name] = bound_seconds
        self._seen[name] = self._time()

    def beat(self, name: str) -> None:
        """Say that a loop lives.

        Raises:
            KeyError: If it was never expected.
        """
        if name not in self._bounds:
            raise KeyError(f"loop {name} was never expected; call expect() first")
        self._seen[name] = self._time()

    def forget(self, name: str) -> None:
        """Expect nothing of a loop any more: it has ended as it should."""
        self._bounds.pop(name, None)
        self._seen.pop(name, None)

    @contextmanager
    def busy(self, name: str, bound_seconds: float) -> Iterator[None]:
        """Expect the work inside to be over within *bound_seconds*; nothing is expected before and after it."""
        self.expect(name, bound_seconds)
        try:
            yield
        finally:
            self.forget(name)

    def ages(self) -> dict[str, float]:
        """Return seconds since each loop last showed life, by name."""
        now = self._time()
        return {name: max(0.0, now - seen) for name, seen in self._seen.items()}

    def stale(self) -> tuple[Stale, ...]:
        """Return the loops that are over their bound, by name; empty when all is well."""
        ages = self.ages()
        return tuple(
            Stale(name=name, age_seconds=ages[name], bound_seconds=bound)
            for name, bound in sorted(self._bounds.items())
            if ages[name] > bound
        )
