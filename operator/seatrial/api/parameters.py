"""The search space as the user writes it: one model per kind of parameter would be clearer, one list item is what CRDs can check.

Each kind reads its own fields and refuses the others' (:mod:`seatrial.api.checks`), in the CRD by CEL and in the command line by
the same rules in words.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from seatrial.api.base import ParameterName, Wire

__all__ = ["Choice", "Parameter", "ParameterType", "Scale", "When"]


class ParameterType(StrEnum):
    """Kinds of parameters."""

    FLOAT = "float"
    INT = "int"
    ORDINAL = "ordinal"
    CATEGORICAL = "categorical"
    CONSTANT = "constant"


class Scale(StrEnum):
    """How distances are measured between two values of a number."""

    LINEAR = "linear"
    LOG = "log"


Choice = Annotated[bool | int | float | str, Field(union_mode="smart")]


class When(Wire):
    """Makes a parameter conditional: it exists only while another one has one of the given values."""

    parameter: ParameterName = Field(
        description="Name of the parameter that this one depends on. Chains nest conditions to any depth; cycles are refused."
    )
    in_: list[Choice] = Field(
        alias="in",
        min_length=1,
        max_length=64,
        description="The parent's values under which this parameter is active. Each must be a value that the parent can take.",
    )


class Parameter(Wire):
    """One dimension of the search space."""

    name: ParameterName = Field(
        description="Name of the parameter. The trial sees its value as the environment variable HP_<name> and in SEATRIAL_PARAMETERS."
    )
    type: ParameterType = Field(
        description=(
            "Kind of the parameter: float or int (a range from min to max), ordinal (ordered choices), categorical (unordered choices), "
            "constant (one value, passed on to every trial)."
        )
    )
    min: float | None = Field(
        default=None, description="Smallest value of a float or int, inclusive. Must be above 0 with scale: log."
    )
    max: float | None = Field(default=None, description="Largest value of a float or int, inclusive.")
    scale: Scale | None = Field(
        default=None,
        description="linear (the default) or log, for float and int. Use log where a factor matters rather than a difference, as for learning rates.",
    )
    step: float | None = Field(
        default=None,
        gt=0,
        description="Only the values min, min + step, min + 2 step … up to max are used. For float and int with scale: linear.",
    )
    choices: list[Choice] | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="Values of an ordinal (in their order) or a categorical: strings, numbers or booleans, no two equal.",
    )
    value: Choice | None = Field(default=None, description="The value of a constant.")
    default: Choice | None = Field(
        default=None,
        description="Domain knowledge: the value that is tried first and towards which the model is drawn while little is known. Must lie in the parameter's range.",
    )
    when: When | None = Field(
        default=None, description="Condition under which the parameter exists at all. Absent: always."
    )
