"""Helm, and the chart as it renders it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from control_plane.programs import find_program

__all__ = ["CHART", "Helm", "select"]

CHART = Path(__file__).parents[2] / "charts" / "seatrial"

Object = dict[str, Any]


class Helm:
    """Helm with values in a file of its own."""

    def __init__(self, folder: Path) -> None:
        self.values = folder / "values.yaml"
        self._rendered: dict[str, str] = {}

    def run(self, *arguments: str, values: Object | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command, with these values of the chart where it takes any."""
        self.values.write_text(json.dumps(values))
        command = [find_program("helm"), *arguments, *([] if values is None else ["--values", self.values])]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def render(
        self, values: Object | None = None, *, namespace: str = "default", kinds: tuple[str, ...] = ()
    ) -> list[Object]:
        """Return the objects of a release named seatrial in *namespace*, on a cluster that knows *kinds*."""
        apis = [word for kind in kinds for word in ("--api-versions", kind)]
        asked = json.dumps([values, namespace, kinds])
        if asked not in self._rendered:
            done = self.run("template", "seatrial", str(CHART), "--namespace", namespace, *apis, values=values)
            assert done.returncode == 0, done.stderr
            self._rendered[asked] = done.stdout
        return [found for found in yaml.load_all(self._rendered[asked], Loader=yaml.CSafeLoader) if found]


def select(objects: list[Object], kind: str, name: str = "") -> Object:
    """Return the one object of a kind whose name ends so."""
    (found,) = [each for each in objects if each["kind"] == kind and each["metadata"]["name"].endswith(name)]
    return found
