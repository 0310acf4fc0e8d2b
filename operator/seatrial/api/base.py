"""What all wire models share: camelCase on the wire, snake_case in Python, unknown fields refused, instances frozen."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

__all__ = ["GROUP", "VERSION", "Assignment", "Duration", "MetricName", "ParameterName", "Value", "Wire", "to_seconds"]

GROUP = "seatrial.dev"
VERSION = "v1alpha1"

Value = bool | int | float | str
"""One parameter's value as it travels in JSON."""

Assignment = dict[str, Value]
"""Parameter name -> value, active parameters only, in the order of the specification."""


class Wire(BaseModel):
    """Base of every wire model."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
    )

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON form, camelCase, without unset optional fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


ParameterName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", min_length=1, max_length=63)]
"""Parameters become environment variables ``HP_<name>``, hence no dots and no dashes."""

MetricName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_./:-]*$", min_length=1, max_length=120)]

Duration = Annotated[
    str,
    StringConstraints(pattern=r"^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$", min_length=2, max_length=20),
    Field(examples=["30m", "2h", "1h30m", "45s"]),
]
"""A length of time in days, hours, minutes and seconds: ``1h30m``."""

_UNIT_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def to_seconds(duration: str) -> int:
    """Return the length of a :data:`Duration` in seconds: ``1h30m`` is 5400."""
    total, digits = 0, ""
    for character in duration:
        if character.isdigit():
            digits += character
        else:
            total += int(digits) * _UNIT_SECONDS[character]
            digits = ""
    return total
