"""An installation that fails leaves nothing running, and one that works waits for all that it began."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[1]
_BUILD = 'if [ "$1" = trial ]; then sleep "$BUILD_SECONDS" & echo $! >"$BUILD"; wait; echo built >>"$BUILD"; fi'


class Installation:
    """scripts/kind-install among programs that do nothing; the trials' image takes as long as a test says."""

    def __init__(self, root: Path) -> None:
        self.root, self.build = root, root / "build"
        for name in ("charts/seatrial/values.yaml", "pyproject.toml", "kind-config.yaml", "scripts/kind-install"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
        for name in ("cluster-tools", "kind-load"):
            self.replace(f"scripts/{name}", "exit 0")
        self.replace("scripts/build-images", _BUILD)
        for name in ("docker", "kubectl", "helm"):
            self.replace(f"cache/bin/{name}", "exit 0")

    def replace(self, name: str, text: str) -> None:
        """Put a program of a line in the place of another."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def start(self, build_seconds: float) -> subprocess.Popen[str]:
        own = {
            "SEATRIAL_CACHE": str(self.root / "cache"),
            "BUILD": str(self.build),
            "BUILD_SECONDS": str(build_seconds),
        }
        return subprocess.Popen(
            [self.root / "scripts" / "kind-install"], env={**os.environ, **own}, stderr=subprocess.PIPE, text=True
        )

    def builds(self) -> bool:
        """Return whether the build has begun and has not ended."""
        if not self.build.exists() or not (words := self.build.read_text().split()):
            return False
        try:
            # What ended with nobody to collect it, where process 1 is none that does, is no build either.
            return psutil.Process(int(words[0])).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def until(self, builds: bool) -> None:
        """Wait for the build to begin, or for its end: a process that was told to end takes a moment."""
        deadline = time.monotonic() + 20
        while self.builds() is not builds:
            assert time.monotonic() < deadline, "the build never began" if builds else "the build goes on"
            time.sleep(0.01)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    found = Installation(tmp_path)
    yield found
    if found.builds():
        os.kill(int(found.build.read_text().split()[0]), signal.SIGKILL)


def test_a_build_ends_with_an_installation_that_fails(installation: Installation) -> None:
    waits = f'until [ -s {installation.build} ]; do sleep 0.01; done; echo "no such chart" >&2; exit 3'
    installation.replace("cache/bin/helm", waits)

    process = installation.start(build_seconds=600)
    _, told = process.communicate(timeout=60)

    assert (process.returncode, told.strip()) == (3, "no such chart")
    installation.until(builds=False)


def test_a_build_ends_with_an_installation_that_is_ended(installation: Installation) -> None:
    process = installation.start(build_seconds=600)
    installation.until(builds=True)

    process.terminate()
    process.communicate(timeout=60)

    assert process.returncode != 0
    installation.until(builds=False)


def test_an_installation_that_works_waits_for_the_build(installation: Installation) -> None:
    process = installation.start(build_seconds=0.5)
    _, told = process.communicate(timeout=60)

    assert process.returncode == 0, told
    assert installation.build.read_text().endswith("built\n")


def test_a_build_that_fails_fails_the_installation(installation: Installation) -> None:
    installation.replace("scripts/build-images", '[ "$1" != trial ]')

    process = installation.start(build_seconds=0)
    _, told = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "Seatrial is installed" not in told
