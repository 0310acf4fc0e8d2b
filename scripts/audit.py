"""Asks whether a locked package has a known vulnerability, and says plainly when nobody could be asked.

python scripts/audit.py               exit 1 when there is one
python scripts/audit.py --strict      exit 2, too, when something could not be asked about: for releases

It runs pip-audit over requirements/*.txt without installing or resolving anything. A machine without a connection gets a sentence instead
of a traceback, and no all-clear: pip-audit itself reports "no known vulnerabilities" also for packages that it found nobody to ask about.
So a run without a connection ends with 0, for it found nothing wrong, and its last line says that it found nothing at all.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKS = ("operator", "trial", "demo", "dev", "build", "uv")
_SECONDS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is known of the packages of one lock file.

    Attributes:
        asked: How many packages were asked about.
        skipped: Names of those about which nobody answered.
        found: Sentences, one a vulnerability.
        trouble: Why there is no verdict at all; empty where there is one.
    """

    asked: int = 0
    skipped: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    trouble: str = ""


def read_verdict(output: str) -> Verdict:
    """Return what pip-audit's JSON says.

    Raises:
        ValueError: If it is no JSON of pip-audit.
    """
    try:
        packages = json.loads(output)["dependencies"]
        skipped = tuple(package["name"] for package in packages if "skip_reason" in package)
        found = tuple(
            f"{package['name']} {package['version']}: {hole['id']}, fixed in {', '.join(hole['fix_versions']) or 'no version yet'}"
            for package in packages
            for hole in package.get("vulns", ())
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no report of pip-audit: {error}") from error
    return Verdict(asked=len(packages) - len(skipped), skipped=skipped, found=found)


def audit(lock: Path) -> Verdict:
    """Ask about one lock file."""
    if importlib.util.find_spec("pip_audit") is None:
        return Verdict(trouble="pip-audit is not installed; run make setup")
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", "--timeout", "15"]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command over a file of this tree
            command, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
        return read_verdict(done.stdout)
    except subprocess.TimeoutExpired:
        return Verdict(trouble=f"no answer within {_SECONDS} s")
    except ValueError:
        lines = done.stderr.strip().splitlines()
        return Verdict(trouble=lines[-1] if lines else f"pip-audit ended with {done.returncode}")


def tell(name: str, verdict: Verdict) -> str:
    """Return one line for people."""
    if verdict.trouble:
        return f"{name}: NOT AUDITED: {verdict.trouble}"
    if verdict.skipped and not verdict.asked:
        return f"{name}: NOT AUDITED: nobody answered about any of its {len(verdict.skipped)} packages"
    gaps = f"; NOT AUDITED: {', '.join(verdict.skipped)}" if verdict.skipped else ""
    return f"{name}: {len(verdict.found)} known vulnerabilities in {verdict.asked} packages{gaps}"


def sum_up(verdicts: Sequence[Verdict]) -> str:
    """Return the last line: what is known after all."""
    asked, holes = sum(verdict.asked for verdict in verdicts), sum(len(verdict.found) for verdict in verdicts)
    if not asked:
        return "NO VULNERABILITY SOURCE COULD BE REACHED: nothing is known of any package, which is no all-clear"
    gaps = sum(bool(verdict.trouble or verdict.skipped) for verdict in verdicts)
    doubt = f"; {gaps} of {len(verdicts)} lists are not audited in whole" if gaps else ""
    return f"{holes} known vulnerabilities{doubt}"


def main(arguments: list[str] | None = None) -> int:
    """Audit all lock files; return the exit code."""
    parser = argparse.ArgumentParser(description="Look for known vulnerabilities in the locked packages.")
    parser.add_argument("--strict", action="store_true", help="fail when something could not be asked about")
    strict = parser.parse_args(arguments).strict
    verdicts = []
    for name in LOCKS:
        verdict = audit(ROOT / "requirements" / f"{name}.txt")
        verdicts.append(verdict)
        sys.stdout.write(
            "".join(f"{line}\n" for line in (tell(name, verdict), *(f"  {hole}" for hole in verdict.found)))
        )
    sys.stdout.write(f"{sum_up(verdicts)}\n")
    holes = any(verdict.found for verdict in verdicts)
    gaps = any(verdict.trouble or verdict.skipped for verdict in verdicts)
    return 1 if holes else 2 if gaps and strict else 0


if __name__ == "__main__":
    sys.exit(main())
