"""A machine that can run no cluster is told what is missing, in one line, and nothing is tried."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

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
