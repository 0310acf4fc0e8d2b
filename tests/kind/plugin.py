"""``kubectl seatrial``, run as kubectl finds it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from kind.cluster import KindCluster

__all__ = ["run_plugin"]


def run_plugin(kind: KindCluster, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the plugin in a folder, as kubectl finds it: by its name on PATH."""
    script = folder / "bin" / "kubectl-seatrial"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m seatrial.entry.cli.kubectl "$@"\n')
    script.chmod(0o755)
    given = dict(kind.environment)
    environment = given | {"PATH": f"{script.parent}{os.pathsep}{given['PATH']}", "NO_COLOR": "1", "COLUMNS": "120"}
    command = ["kubectl", "seatrial", *arguments]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=900
    )
