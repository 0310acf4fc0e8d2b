#!/usr/bin/env python3
"""Build an image twice from nothing and compare what is in the two: scripts/reproducible.py operator [trial].

Every file has to have the same path, kind, mode, owner and content. Times are not compared: they are those of the build, unless BuildKit is
told otherwise (--output type=image,rewrite-timestamp=true). Ends with 1 and the paths where there is a difference.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHOWN = 20


def find_engine() -> dict[str, str]:
    """Return the environment in which docker answers."""
    if subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0:
        return dict(os.environ)
    cache = os.environ.get("SEATRIAL_CACHE", str(Path.home() / ".cache" / "seatrial"))
    return os.environ | {"DOCKER_HOST": f"unix://{cache}/engine/docker.sock"}


def build(name: str, number: int, environment: dict[str, str]) -> str:
    """Build an image without a cache; return its name."""
    image = f"seatrial-twice-{name}:{number}"
    extra = {f"{name.upper()}_IMAGE": image, "NO_CACHE": "1"}
    subprocess.run([ROOT / "scripts" / "build-images", name], env=environment | extra, check=True)
    return image


def read_files(image: str, environment: dict[str, str]) -> dict[str, tuple[object, ...]]:
    """Return kind, mode, owner and content of every file of an image, by path."""
    container = subprocess.run(
        ["docker", "create", image], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()
    found: dict[str, tuple[object, ...]] = {}
    try:
        with tempfile.TemporaryFile() as exported:
            subprocess.run(["docker", "export", container], env=environment, stdout=exported, check=True)
            exported.seek(0)
            with tarfile.open(fileobj=exported, mode="r|") as archive:
                for member in archive:
                    file = archive.extractfile(member) if member.isreg() else None
                    content = hashlib.file_digest(file, "sha256").hexdigest() if file else member.linkname
                    found[member.name] = (member.type, member.mode, member.uid, member.gid, content)
    finally:
        subprocess.run(["docker", "rm", container], env=environment, capture_output=True, check=True)
    return found


def compare(name: str, environment: dict[str, str]) -> bool:
    """Build an image twice; print and return whether the two are the same."""
    images = [build(name, number, environment) for number in (1, 2)]
    first, second = (read_files(image, environment) for image in images)
    subprocess.run(["docker", "rmi", *images], env=environment, capture_output=True, check=True)
    differ = sorted(path for path in first.keys() | second.keys() if first.get(path) != second.get(path))
    if not differ:
        print(f"{name}: all {len(first)} files are the same in both builds")
        return True
    print(
        f"{name}: {len(differ)} of {len(first)} files differ: {', '.join(differ[:SHOWN])}{' …' * (len(differ) > SHOWN)}"
    )
    return False


def main() -> int:
    """Compare the images that are named."""
    environment = find_engine()
    same = [compare(name, environment) for name in sys.argv[1:] or ["operator"]]
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
