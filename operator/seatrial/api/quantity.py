"""Kubernetes quantities: ``500m`` cores, ``2Gi`` bytes, ``1e3``.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re

__all__ = ["parse_quantity"]

_QUANTITY = re.compile(
    r"^([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:([eE][+-]?[0-9]+)|(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]?))$"
)

_FACTORS = {
    "": 1.0,
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    **{unit: 1000.0**power for power, unit in enumerate("kMGTPE", 1)},
    **{f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", 1)},
}


def parse_quantity(quantity: str | float) -> float:
    """Return a quantity as a number of its base unit: ``500m`` is 0.5, ``1Ki`` is 1024.

    Raises:
        ValueError: If it is none.
    """
    matched = _QUANTITY.match(str(quantity).strip())
    if matched is None:
        raise ValueError(f"is {quantity!r}, but must be a quantity such as 500m, 2 or 1Gi")
    number, exponent, unit = matched.groups()
    return float(number + exponent) if exponent else float(number) * _FACTORS[unit or ""]
