"""The hyperparameters of a trial: what the study assigned, over the defaults that the script was written with.

Must not know where the values come from.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from seatrial_harness import wire
from seatrial_harness.surroundings import Value

__all__ = ["Parameters", "choose_parameters"]


class Parameters(Mapping[str, Any]):
    """Typed values by name; ``parameters["lr"]`` and ``parameters.lr`` are the same.

    Remembers which names were read, so that a misspelt one can be pointed out at the end.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)
        self._read: set[str] = set()

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401  (a parameter is what the study says it is)
        self._read.add(name)
        return self._values[name]

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        if name.startswith("_") or name not in self._values:
            raise AttributeError(
                f"no parameter {name!r}; there are {', '.join(self._values) or 'none'}. Give it a default in start({name}=…)"
            )
        return self[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Parameters({self._values!r})"

    def never_read(self, names: Mapping[str, Value]) -> list[str]:
        """Return those of *names* that the script did not ask for, when it asked for any at all."""
        return [name for name in names if name not in self._read] if self._read else []


def choose_parameters(
    defaults: Mapping[str, Any], assignment: Mapping[str, Value], environment: Mapping[str, str], *, alone: bool
) -> Parameters:
    """Lay the assignment over the defaults; alone, lay ``HP_<name>`` over them instead.

    A number takes the type of its default where nothing is lost by it: JSON's ``1`` for a default of ``0.1`` is ``1.0``.

    Raises:
        ValueError: If an ``HP_<name>`` variable does not read as the type of its default.
    """
    values = {**defaults, **{name: _like(defaults.get(name), value) for name, value in assignment.items()}}
    if alone:
        for name, default in defaults.items():
            text = environment.get(wire.PARAMETER_PREFIX + name)
            if text is not None:
                values[name] = _parse(name, text, default)
    return Parameters(values)


def _like(default: object, value: Value) -> Value:
    if type(default) is float and type(value) is int:
        return float(value)
    if type(default) is int and type(value) is float and value.is_integer():
        return int(value)
    return value


_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _parse(name: str, text: str, default: object) -> Value:
    try:
        if isinstance(default, bool):
            return _WORDS[text.strip().lower()]
        if isinstance(default, int):
            return int(text)
        if isinstance(default, float):
            return float(text)
    except (ValueError, KeyError):
        kind = type(default).__name__
        raise ValueError(
            f"the environment variable {wire.PARAMETER_PREFIX}{name} is {text!r}, but must be a {kind} like its default {default!r}"
        ) from None
    return text
