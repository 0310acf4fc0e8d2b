"""All assignments of a finite search space, by number, without listing them.

The parameters form a forest (a condition makes its parameter a child of another). The number of assignments below a parameter is
the sum over its levels of the product over the children that the level activates; an index is taken apart by the same sums and
products, a mixed radix over the forest. A level that activates nothing counts 1, so that only the values named in conditions are
ever looked at and a range of a billion levels costs nothing.
"""

import hashlib
from collections.abc import Sequence

from seatrial.search.parameters import Constant, Float, Int, Parameter, Value
from seatrial.search.space import Assignment, SearchSpace

__all__ = ["Enumeration", "level_of", "permuted"]


def level_of(parameter: Parameter, value: Value) -> int:
    """Return the level that has *value*: the inverse of ``parameter.at`` for a parameter with finitely many levels."""
    match parameter:
        case Float():
            return 0 if parameter.step is None else round((float(value) - parameter.low) / parameter.step)
        case Int():
            return (int(value) - parameter.low) // parameter.step
        case Constant():
            return 0
        case _:
            return parameter.index(value)


class Enumeration:
    """The assignments of a finite space as an immutable sequence: ``at(0)`` to ``at(size - 1)``, each exactly once.

    The first parameter is the most significant digit. Duty: numbering only; which numbers to use in which order is the caller's.
    """

    def __init__(self, space: SearchSpace) -> None:
        """Prepare the radices.

        Raises:
            ValueError: If the space is infinite; the message names the parameters at fault.
        """
        if endless := [p.name for p in space if p.levels is None]:
            raise ValueError(f"the search space is infinite: {', '.join(endless)} can take any number in a range")
        self._space = space
        self._roots = tuple(p for p in space if p.when is None)
        # For each parameter the levels that activate children, increasing, with the children and their joint count.
        self._branches: dict[str, tuple[tuple[int, tuple[Parameter, ...], int], ...]] = {}
        self._counts: dict[str, int] = {}
        for parameter in reversed(space.parameters):
            self._branches[parameter.name] = self._branches_of(parameter)
            extra = sum(count - 1 for _, _, count in self._branches[parameter.name])
            self._counts[parameter.name] = (parameter.levels or 0) + extra
        self.size: int = self._product(self._roots)

    def at(self, index: int) -> Assignment:
        """Return an assignment by its number.

        Raises:
            IndexError: If *index* is not in [0, size).
        """
        if not 0 <= index < self.size:
            raise IndexError(f"assignment {index} does not exist, there are {self.size}")
        values: Assignment = {}
        self._spread(self._roots, index, values)
        return self._space.prune(values)

    def _branches_of(self, parameter: Parameter) -> tuple[tuple[int, tuple[Parameter, ...], int], ...]:
        children = self._space.children[parameter.name]
        named = [value for child in children if child.when for value in child.when.values if parameter.contains(value)]
        found = []
        for level in sorted({level_of(parameter, value) for value in named}):
            own = {parameter.name: parameter.at(level)}
            active = tuple(child for child in children if child.when and child.when.holds(own))
            if active:
                found.append((level, active, self._product(active)))
        return tuple(found)

    def _product(self, parameters: Sequence[Parameter]) -> int:
        total = 1
        for parameter in parameters:
            total *= self._counts[parameter.name]
        return total

    def _spread(self, parameters: Sequence[Parameter], index: int, values: Assignment) -> None:
        """Give *parameters* and all below them the values of combination *index*."""
        for parameter in reversed(parameters):
            index, digit = divmod(index, self._counts[parameter.name])
            self._choose(parameter, digit, values)

    def _choose(self, parameter: Parameter, digit: int, values: Assignment) -> None:
        """Give *parameter* and all below it the values of combination *digit*, which is less than its count."""
        before = 0  # how many more combinations than levels lie before the branch at hand
        for level, active, count in self._branches[parameter.name]:
            inside = digit - before - level
            if inside < 0:
                break
            if inside < count:
                values[parameter.name] = parameter.at(level)
                self._spread(active, inside, values)
                return
            before += count - 1
        values[parameter.name] = parameter.at(digit - before)


def permuted(position: int, size: int, seed: int) -> int:
    """Return the number at *position* of a seeded permutation of range(size), in constant time and memory.

    A Feistel network over the next even number of bits, walked along its cycles until it falls below *size* (Black and Rogaway
    2002, "Ciphers with arbitrary finite domains"). Neighbouring positions land far apart.

    Args:
        position: In [0, size).
        size: Length of the permutation, at least 1.
        seed: Chooses the permutation.
    """
    half = max((size - 1).bit_length() + 1, 2) // 2
    mask = (1 << half) - 1
    number = position
    while True:
        left, right = number >> half, number & mask
        for turn in range(4):
            left, right = right, left ^ (_scramble(right, turn, seed) & mask)
        number = left << half | right
        if number < size:
            return number


def _scramble(number: int, turn: int, seed: int) -> int:
    text = f"{seed}/{turn}/{number}".encode()
    width = max(8, (number.bit_length() + 7) // 8 + 1)
    return int.from_bytes(hashlib.blake2b(text, digest_size=min(width, 64)).digest(), "big")
