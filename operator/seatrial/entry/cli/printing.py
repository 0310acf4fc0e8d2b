"""Prints results to standard output. Texts of trials lose their control characters first."""

import json
import sys
from collections.abc import Iterable, Mapping

from seatrial.entry.cli.cells import clean

__all__ = ["print_json", "print_text", "print_yaml"]


def print_text(*lines: str) -> None:
    """Print lines."""
    for line in lines:
        sys.stdout.write(f"{clean(line) if not line.isprintable() else line}\n")


def print_json(document: Mapping[str, object] | Iterable[object]) -> None:
    """Print one JSON document. Numbers that are not finite are written as the strings that the wire uses."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def print_yaml(document: Mapping[str, object] | Iterable[object]) -> None:
    """Print one YAML document, in the order of its fields."""
    import yaml

    yaml.safe_dump(document, sys.stdout, sort_keys=False, allow_unicode=True)
