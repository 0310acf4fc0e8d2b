"""How a cluster to play with is made: from the public node image where it can be had, and a machine that can run none is told so."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
USUAL = ("awk", "bash", "cat", "cut", "dirname", "env", "flock", "grep", "mkdir", "sed", "tail")


def test_a_machine_without_docker_is_told_how_to_get_it(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in USUAL:
        found = shutil.which(name)
        if found:
            (programs / name).symlink_to(found)
    # Not root, so that nothing is installed.
    (programs / "id").write_text("#!/bin/sh\necho 1000\n")
    (programs / "id").chmod(0o755)
    environment = {"PATH": str(programs), "SEATRIAL_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)}

    done = subprocess.run(
        [programs / "bash", ROOT / "scripts" / "kind-up"], env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "kind-up: no Docker answers, and dockerd is missing. Start Docker (https://docs.docker.com/get-docker), "
        "or on Debian as root: apt-get install docker.io iproute2 iptables\n"
    )


_TOLD = 'echo "$(basename "$0") $*" >>"$TOLD"'
_PROGRAMS = {
    # It answers, and has no image yet.
    "bin/docker": f'{_TOLD}; case $1 in image) exit 1 ;; pull) [ -n "$CAN_PULL" ] ;; esac',
    "bin/kind": f'{_TOLD}; [ "$1" = create ] && cat >"$TOLD.config"; [ "$1 $2" != "get kubeconfig" ]',
    "bin/kubectl": f'{_TOLD}; [ "$1 $2" != "get nodes" ] || echo node/one',
    "bin/debootstrap": "exit 0",
    "bin/containerd": "exit 0",
    "root/scripts/cluster-tools": _TOLD,
    "root/tests/cluster/node/build-image": _TOLD,
}


@pytest.mark.parametrize("can_pull", [True, False], ids=["it can be pulled", "it cannot"])
def test_with_docker_the_public_node_image_is_used_where_it_can_be_pulled_and_else_one_is_built(
    tmp_path: Path, can_pull: bool
) -> None:
    root, told = tmp_path / "root", tmp_path / "told"
    files = ["scripts/kind-up", "kind-config.yaml", "tests/cluster/node/public-image"]
    files += [f"tests/cluster/{name}/go.mod" for name in ("kubernetes", "kind", "coredns")]
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    for name, text in _PROGRAMS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    own = {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}", "SEATRIAL_CACHE": str(tmp_path / "cache")}
    own |= {"TOLD": str(told), "CAN_PULL": "yes" if can_pull else "", "PRETENDED_GPUS": "3", "KIND_CLUSTER": ""}

    done = subprocess.run(
        [root / "scripts" / "kind-up"], env={**os.environ, **own}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    calls = told.read_text().splitlines()
    public = (ROOT / "tests/cluster/node/public-image").read_text().strip()
    (create,) = [call for call in calls if call.startswith("kind create cluster")]
    built = [call.split()[1] for call in calls if call.startswith("build-image")]
    assert f"docker pull --quiet {public}" in calls
    # Without an image named, kind takes the public one that belongs to it.
    assert [f"--image {name}" in create for name in built] == ([] if can_pull else [True])
    assert ("--image" in create) is not can_pull
    assert ("building a node image" in done.stderr) is not can_pull
    assert told.with_name("told.config").read_text() == (ROOT / "kind-config.yaml").read_text()
    assert any('"nvidia.com/gpu": "3"' in call for call in calls if call.startswith("kubectl patch node/one"))
    assert f"export KUBECONFIG={tmp_path}/cache/kind/" in done.stdout
