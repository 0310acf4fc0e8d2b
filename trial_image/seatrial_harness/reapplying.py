"""Puts a trial's own hyperparameters back into an optimizer, and its schedules, whose state came from another trial.

Restoring an optimizer restores the learning rate that was saved with it: without this, what the study had changed would be undone. Must
not import torch: everything here is attributes and mappings.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["holds_optimizer", "match_groups", "set_hyperparameters"]

_ALIASES = {"learningrate": "lr", "wd": "weight_decay", "l2": "weight_decay", "epsilon": "eps"}
_BETAS = ("beta1", "beta2")
_SCALED = ("initial_lr", "max_lr", "min_lr")


def match_groups(groups: Sequence[Mapping[str, Any]], names: Iterable[str]) -> dict[str, str]:
    """Return the entry of the param groups that each parameter means, for those that all groups have.

    Spelling does not matter: ``weightDecay`` is ``weight_decay``, ``learningRate`` is ``lr``, ``beta1`` the first of ``betas``.
    """
    known = {_plain(key): key for key in groups[0] if key != "params" and all(key in group for group in groups)}
    found = {}
    for name in names:
        plain = _plain(name)
        if plain in _BETAS and "betas" in known:
            found[name] = plain
            continue
        entry = known.get(plain) or known.get(_plain(_ALIASES.get(plain, "")))
        if entry is not None:
            found[name] = entry
    return found


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def set_hyperparameters(groups: Sequence[dict[str, Any]], schedules: Sequence[Any], values: Mapping[str, Any]) -> None:
    """Set entries of param groups; a learning rate moves schedules with it, each at its place in its course.

    Args:
        groups: The optimizer's param groups.
        schedules: Learning-rate schedules of it, already restored.
        values: By the groups' own names, or ``beta1`` and ``beta2``.

    Raises:
        ValueError: If a group has no such entry.
    """
    for group in groups:
        for name, value in values.items():
            entry = "betas" if name in _BETAS else name
            if entry not in group or entry == "params":
                known = ", ".join(key for key in group if key != "params")
                raise ValueError(f"the optimizer has no {name!r} in its param groups; it has {known}")
            if name in _BETAS:
                value = tuple(value if i == _BETAS.index(name) else old for i, old in enumerate(group["betas"]))
            if name != "lr" or not schedules:
                _set(group, entry, value)
        if "lr" in values and "initial_lr" in group and not schedules:
            _set(group, "initial_lr", values["lr"])
    if "lr" in values and schedules:
        _move_schedules(groups, [*_flat(schedules)], float(values["lr"]))


def _flat(schedules: Sequence[Any]) -> Iterable[Any]:
    """Yield schedules, those inside of a chain or a sequence as well."""
    for schedule in schedules:
        yield schedule
        yield from _flat(getattr(schedule, "_schedulers", ()))


def _move_schedules(groups: Sequence[dict[str, Any]], schedules: Sequence[Any], lr: float) -> None:
    """Let schedules go on from where they are, as if they had begun with *lr*.

    Where a schedule can say its rate at a step from its base (torch's closed forms), that counts. Otherwise all rates are
    multiplied by the change of the base, which is the same for schedules that only multiply. Of one that climbs to a peak (one
    cycle) *lr* is the peak. One without a base (on a plateau) is told the rate itself.
    """
    for group in groups:
        base = group.get("max_lr") or group.get("initial_lr")
        ratio = lr / float(base) if base else None
        _set(group, "lr", lr if ratio is None else float(group["lr"]) * ratio)
        for entry in _SCALED:
            if ratio is not None and entry in group:
                _set(group, entry, float(group[entry]) * ratio)
    for schedule in schedules:
        if hasattr(schedule, "base_lrs"):
            schedule.base_lrs = [float(group["initial_lr"]) for group in groups]
    closed = getattr(schedules[0], "_get_closed_form_lr", None) if len(schedules) == 1 else None
    if closed is not None:
        for group, rate in zip(groups, closed(), strict=True):
            _set(group, "lr", float(rate))
    for schedule in schedules:
        if hasattr(schedule, "_last_lr"):
            # What get_last_lr() says until the next step.
            vars(schedule)["_last_lr"] = [group["lr"] for group in groups]


def holds_optimizer(value: object) -> bool:
    """Whether a part of a saved state is that of an optimizer."""
    return isinstance(value, Mapping) and "param_groups" in value


def _set(group: dict[str, Any], name: str, value: Any) -> None:  # noqa: ANN401
    # Some optimizers keep the learning rate in a tensor.
    if hasattr(group.get(name), "fill_"):
        group[name].fill_(value)
    else:
        group[name] = value
