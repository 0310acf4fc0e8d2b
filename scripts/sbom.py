"""Writes what Seatrial is made of: a bill of materials for each set of locked packages, and the list of their licences.

python scripts/sbom.py                write dist/sbom/*.cdx.json (CycloneDX 1.6) and docs/licences.md
python scripts/sbom.py --check        write nothing; exit 1 when docs/licences.md is not current

Names, versions and hashes are those of requirements/*.txt. Licences are what the installed packages say of themselves; one that is
not installed here (it is for another platform) keeps what docs/licences.md has of it. The same locks give the same bytes.
"""

import argparse
import json
import re
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
SETS = {
    "operator": "the operator's image",
    "trial": "the trial's image, on top of the torch of its base",
    "demo": "an installation on a laptop with the examples",
}
PAGE = "docs/licences.md"
# Texts of older packages, by the SPDX name of what they mean.
SPDX = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD-3-Clause",
    "License :: OSI Approved :: ISC License (ISCL)": "ISC",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "License :: OSI Approved :: Python Software Foundation License": "PSF-2.0",
}
UNKNOWN = "not stated"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(\[[^]]*])?==([^ ;\\]+)(?: ; ([^\\]+))?")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_ROW = re.compile(r"^\| `([^`]+)` \| [^|]* \| ([^|]*) \|")
_NAMESPACE = uuid.UUID("6f3c0d0e-8a53-5d0c-9a0b-5ea7a1000000")


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One locked package: with its environment marker, and the hashes of the files that may be installed."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    @property
    def purl(self) -> str:
        """Return its package URL."""
        return f"pkg:pypi/{re.sub(r'[-_.]+', '-', self.name).lower()}@{self.version}"


def read_lock(path: Path) -> tuple[Component, ...]:
    """Return the packages of a lock file, in its order."""
    return tuple(_components(path.read_text("utf-8").replace("\\\n", " ").splitlines()))


def _components(lines: list[str]) -> Iterator[Component]:
    for line in lines:
        if found := _PIN.match(line):
            marker = (found[4] or "").split("--hash")[0].strip()
            yield Component(name=found[1], version=found[3], marker=marker, hashes=tuple(sorted(_HASH.findall(line))))


def read_licence(name: str) -> str:
    """Return the licence of an installed package, in SPDX where that can be told; empty when it is not installed."""
    try:
        found = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return ""
    if "License-Expression" in found:
        return found["License-Expression"]
    named = [SPDX.get(entry, "") for entry in found.get_all("Classifier") or () if entry.startswith("License ::")]
    if any(named):
        return " OR ".join(dict.fromkeys(filter(None, named)))
    written = found["License"].strip() if "License" in found else ""
    return written if written and len(written) <= 60 else UNKNOWN


def build_bill(name: str, components: tuple[Component, ...], licences: dict[str, str]) -> dict[str, object]:
    """Return one CycloneDX document."""
    parts = [_part(component, licences[component.name]) for component in components]
    content = json.dumps(parts, sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, name + content)}",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "name": f"seatrial-{name}", "bom-ref": f"seatrial-{name}"},
            "tools": {"components": [{"type": "application", "name": "scripts/sbom.py"}]},
        },
        "components": parts,
        "dependencies": [{"ref": f"seatrial-{name}", "dependsOn": [component.purl for component in components]}],
    }


def _part(component: Component, licence: str) -> dict[str, object]:
    part: dict[str, object] = {
        "type": "library",
        "bom-ref": component.purl,
        "name": component.name,
        "version": component.version,
        "purl": component.purl,
    }
    if licence and licence != UNKNOWN:
        part["licenses"] = [{"expression": licence}] if _is_spdx(licence) else [{"license": {"name": licence}}]
    properties = [{"name": "seatrial:sha256", "value": digest} for digest in component.hashes]
    if component.marker:
        properties.insert(0, {"name": "seatrial:marker", "value": component.marker})
    return part | ({"properties": properties} if properties else {})


def _is_spdx(licence: str) -> bool:
    words = re.split(r"[() ]+", licence)
    return all(re.fullmatch(r"[A-Za-z0-9.+-]*", word) for word in words) and "License" not in licence


def read_page(text: str) -> dict[str, str]:
    """Return licence by name as the page has it."""
    return {row[1]: row[2].strip() for line in text.splitlines() if (row := _ROW.match(line))}


def build_page(locks: dict[str, tuple[Component, ...]], licences: dict[str, str]) -> str:
    """Return docs/licences.md."""
    head = (
        "# Licences\n\n"
        "What Seatrial installs, and under which licence each of it comes. Written by `make sbom` from the lock files in `requirements/` and from what\n"
        "the packages say of themselves; the bills of materials that it writes beside (CycloneDX, in `dist/sbom/`) also hold the hashes. Seatrial itself is under the [Apache License 2.0](../LICENSE).\n\n"
        "| package | versions | licence | part of |\n|---|---|---|---|\n"
    )
    rows = []
    for name in sorted({component.name for lock in locks.values() for component in lock}):
        within = [kind for kind, lock in locks.items() if any(component.name == name for component in lock)]
        versions = dict.fromkeys(c.version for lock in locks.values() for c in lock if c.name == name)
        rows.append(f"| `{name}` | {', '.join(versions)} | {licences[name]} | {', '.join(within)} |\n")
    parts = "".join(f"- **{kind}**: {what}\n" for kind, what in SETS.items())
    return f"{head}{''.join(rows)}\n{parts}"


def main(arguments: list[str] | None = None) -> int:
    """Write or check; return the exit code."""
    parser = argparse.ArgumentParser(description="Write bills of materials and the list of licences.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail when docs/licences.md is not current")
    check = parser.parse_args(arguments).check
    locks = {name: read_lock(ROOT / "requirements" / f"{name}.txt") for name in SETS}
    page = ROOT / PAGE
    known = read_page(page.read_text("utf-8")) if page.exists() else {}
    names = {component.name for lock in locks.values() for component in lock}
    licences = {name: read_licence(name) or known.get(name) or UNKNOWN for name in names}
    text = build_page(locks, licences)
    if check:
        current = page.exists() and page.read_text("utf-8") == text
        if not current:
            sys.stderr.write(f"{PAGE} is not current: run make sbom\n")
        return 0 if current else 1
    page.write_text(text, "utf-8")
    folder = ROOT / "dist" / "sbom"
    folder.mkdir(parents=True, exist_ok=True)
    for name, lock in locks.items():
        bill = json.dumps(build_bill(name, lock, licences), indent=1) + "\n"
        (folder / f"seatrial-{name}.cdx.json").write_text(bill, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
