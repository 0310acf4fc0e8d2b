"""The programs of a control plane: those that the user has already are used, the others are built, and nothing is built twice."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from control_plane.programs import find_program

ROOT = Path(__file__).parents[1]
GIVEN = ("etcd", "kube-apiserver", "kubectl")
# Tells which packages it is to build, and builds nothing.
_GO = """#!/bin/bash
if [ "$1" = env ]; then echo go1.999; exit; fi
while [ $# -gt 0 ]; do
  case $1 in
  -o) into=$2; shift ;;
  k8s.io/* | go.etcd.io/*)
    name=${1##*/}; [ "$name" = v3 ] && name=server
    echo "$1" >>"$PACKAGES"; echo '#!/bin/sh' >"$into/$name"; chmod +x "$into/$name" ;;
  esac
  shift
done
"""


class Tools:
    """scripts/cluster-tools with a Go that is none."""

    def __init__(self, root: Path) -> None:
        self.cache, self.assets, self._packages = root / "cache", root / "assets", root / "packages"
        self._go = root / "go" / "go"
        self._put(self._go, _GO)

    def _put(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def give(self, *names: str) -> None:
        """Be the user who has these programs."""
        for name in names:
            self._put(self.assets / name, "#!/bin/sh\n")

    def build(self) -> list[str]:
        """Ask for a control plane; return the names of what is built for it."""
        self._packages.write_text("")
        own = {"SEATRIAL_CACHE": str(self.cache), "PACKAGES": str(self._packages)}
        own |= {"PATH": f"{self._go.parent}{os.pathsep}{os.environ['PATH']}", "KUBEBUILDER_ASSETS": str(self.assets)}
        command = [ROOT / "scripts" / "cluster-tools", "control-plane"]
        subprocess.run(command, env={**os.environ, **own}, check=True, capture_output=True, text=True)
        return sorted(package.rpartition("/")[2] for package in self._packages.read_text().split())


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    return Tools(tmp_path)


def test_all_is_built_where_nothing_is_given_and_nothing_the_second_time(tools: Tools) -> None:
    assert tools.build() == ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "v3"]
    assert tools.build() == []


@pytest.mark.parametrize("given", [GIVEN, GIVEN[:1], GIVEN[1:]], ids=" ".join)
def test_what_kubebuilder_has_is_not_built_but_used(
    tools: Tools, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...]
) -> None:
    tools.give(*given)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tools.assets))
    monkeypatch.setenv("SEATRIAL_CACHE", str(tools.cache))

    built = {"etcd" if name == "v3" else name for name in tools.build()}

    assert built == {*GIVEN, "kube-controller-manager", "kube-scheduler"} - {*given}
    for name in GIVEN:
        assert find_program(name).parent == (tools.assets if name in given else tools.cache / "bin")
        assert shutil.which(find_program(name))
