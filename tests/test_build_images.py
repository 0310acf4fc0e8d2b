"""On what the images are built: a Python and a torch with CUDA that can be pulled, else bases of our own; and what is said of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHON, CUDA = "python:3.13-slim-trixie", "pytorch/pytorch:2.9.1-cuda12.8-cudnn9-runtime"
_PROGRAMS = {
    # It has no image yet, and each that it builds is 448 MB.
    "bin/docker": """
echo "docker $*" >>"$TOLD"
case "$1 $2 $3" in
"image inspect --format") echo 448000000 ;;
"image inspect "*) exit 1 ;;
"pull "*) [ -n "$CAN_PULL" ] ;;
esac""",
    "root/tests/cluster/base/build-base": 'echo "build-base $*" >>"$TOLD"',
}


class Images:
    """scripts/build-images with a Docker that only tells what it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._root, self._told, self._folder = folder / "root", folder / "told", folder
        for name in ("scripts/build-images", "pyproject.toml", "operator/Dockerfile", "trial_image/Dockerfile"):
            (self._root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self._root / name)
        for name, text in _PROGRAMS.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(f"#!/bin/bash\n{text}\n")
            (folder / name).chmod(0o755)

    def build(self, *, can_pull: bool, **settings: str) -> tuple[list[str], str]:
        """Build both; return what was asked for and what was said."""
        own = {"TOLD": str(self._told), "CAN_PULL": "yes" if can_pull else "", "SEATRIAL_CACHE": str(self._folder)}
        own |= {"PATH": f"{self._folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            [self._root / "scripts" / "build-images"],
            env={**os.environ, **own, **settings},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return self._told.read_text().splitlines(), done.stderr


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(tmp_path)


def bases(calls: list[str]) -> list[str]:
    """Return on what each image was built."""
    builds = [call.split() for call in calls if call.startswith("docker build ")]
    return [word.removeprefix("BASE_IMAGE=") for words in builds for word in words if word.startswith("BASE_IMAGE=")]


def test_images_are_built_on_public_ones_where_they_can_be_pulled_and_their_sizes_are_told(images: Images) -> None:
    calls, said = images.build(can_pull=True)

    assert bases(calls) == [PYTHON, CUDA]
    assert {f"docker pull --quiet {name}" for name in (PYTHON, CUDA)} <= {*calls}
    assert not [call for call in calls if call.startswith("build-base")]
    assert "build-images: seatrial-operator:0.1.0: 448 MB" in said
    assert "build-images: seatrial-trial:latest: 448 MB" in said


def test_where_nothing_can_be_pulled_bases_are_built(images: Images) -> None:
    calls, said = images.build(can_pull=False)

    built = [call.split()[1:] for call in calls if call.startswith("build-base")]
    assert [variant for variant, _ in built] == ["python", "torch"]
    assert bases(calls) == [name for _, name in built]
    assert f"{CUDA} cannot be pulled" in said


def test_another_base_is_taken_where_one_is_given(images: Images) -> None:
    calls, _ = images.build(can_pull=False, OPERATOR_BASE="debian:mine", TRIAL_BASE="rocm/pytorch:6")

    assert bases(calls) == ["debian:mine", "rocm/pytorch:6"]
    assert not [call for call in calls if call.startswith(("build-base", "docker pull"))]
