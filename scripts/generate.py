"""Writes what is generated from the wire models: the CRDs and the field reference.

python scripts/generate.py           write the files
python scripts/generate.py --check   write nothing; exit 1 and name the files that are not current
"""

import argparse
import sys
from pathlib import Path

import yaml

from seatrial.api.crd import build_study_crd, build_trial_crd
from seatrial.api.reference import build_reference
from seatrial.api.schema import Schema
from seatrial.search.algorithms import TRAITS

ROOT = Path(__file__).parents[1]
HEADER = "# Generated from the models in operator/seatrial/api by scripts/generate.py: edit those and run it again.\n"


class _Plain(yaml.SafeDumper):
    """YAML without aliases: equal parts are written out."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the dumper's signature
        """Never write an alias."""
        return True


def build_files() -> dict[str, str]:
    """Return the text of every generated file by its path from the repository's root."""
    single = sorted(name for name, traits in TRAITS.items() if traits.max_objectives == 1)
    crds = {"Study": build_study_crd(single_objective=single), "Trial": build_trial_crd()}
    files = {
        f"crds/seatrial.dev_{name}.yaml": _to_yaml(crds[kind])
        for kind, name in (("Study", "studies"), ("Trial", "trials"))
    }
    return files | {"docs/reference.md": build_reference(crds)}


def find_stale(root: Path = ROOT) -> list[str]:
    """Return the paths of the generated files that are missing or not current."""
    current = build_files()
    return [
        name for name, text in current.items() if not (root / name).exists() or (root / name).read_text("utf-8") != text
    ]


def main(arguments: list[str] | None = None) -> int:
    """Write or check the files; return the exit code."""
    parser = argparse.ArgumentParser(description="Generate the CRDs and the field reference from the models.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail when a file is not current")
    if parser.parse_args(arguments).check:
        stale = find_stale()
        for name in stale:
            sys.stderr.write(f"{name} is not current: run python scripts/generate.py\n")
        return 1 if stale else 0
    for name, text in build_files().items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return 0


def _to_yaml(crd: Schema) -> str:
    return HEADER + yaml.dump(crd, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)


if __name__ == "__main__":
    sys.exit(main())
