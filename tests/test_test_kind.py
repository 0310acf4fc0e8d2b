"""The tests on kind: always when asked for; in ``make test`` once for the same files."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHON = """\
#!/bin/sh
echo "$@" >> "$RUNS"
eval "$MEANWHILE"
exit "${CODE:-0}"
"""


class Place:
    """A repository with scripts/test-kind, whose Python notes that it was run, and how."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.runs_file, self.cache = folder / "repository", folder / "runs", folder / "cache"
        for name in ("scripts/test-kind", "operator/seatrial.py", "tests/kind/test_it.py", "tests/test_other.py"):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text("# as it is\n")
        (self.folder / "docs").mkdir()
        (self.folder / ".gitignore").write_text(".venv/\n")
        shutil.copy2(ROOT / "scripts/test-kind", self.folder / "scripts/test-kind")
        python = self.folder / ".venv/bin/python"
        python.parent.mkdir(parents=True)
        python.write_text(PYTHON)
        python.chmod(0o755)
        self.git("init", "--quiet")
        self.commit()

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=test", "-c", "user.email=test@example.com")
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True).stdout.strip()

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "a change")

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name not in {"PYTEST_ADDOPTS", "KIND_CLUSTER"}}
        own = {"RUNS": str(self.runs_file), "SEATRIAL_CACHE": str(self.cache)}
        return subprocess.run(
            [self.folder / "scripts/test-kind", *arguments],
            env=kept | own | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def runs(self) -> int:
        return len(self.runs_file.read_text().splitlines()) if self.runs_file.exists() else 0


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_what_has_passed_is_said_with_its_commit_and_not_run_again(place: Place):
    first, second = place.run("--unless-passed"), place.run("--unless-passed")

    assert (first.returncode, second.returncode, place.runs()) == (0, 0, 1)
    assert place.runs_file.read_text() == "-m pytest -m kind tests/kind\n"
    assert "passed with these very files" in second.stdout
    assert f", {place.git('rev-parse', '--short', 'HEAD')}; make test-kind passes them again" in second.stdout


def test_whoever_asks_for_them_gets_them(place: Place):
    place.run()
    place.run()

    assert place.runs() == 2


@pytest.mark.parametrize(
    "file", ["operator/seatrial.py", "tests/kind/test_it.py", "scripts/test-kind", "operator/new.py"]
)
def test_a_change_of_what_they_depend_on_runs_them_again_committed_or_not(place: Place, file: str):
    place.run("--unless-passed")
    with (place.folder / file).open("a") as text:
        text.write("# changed\n")

    place.run("--unless-passed")
    place.commit()
    place.run("--unless-passed")

    assert place.runs() == 2


@pytest.mark.parametrize("file", ["docs/page.md", "CHANGELOG.md", "tests/test_other.py", "left-over.log"])
def test_a_change_of_anything_else_does_not(place: Place, file: str):
    place.run("--unless-passed")
    (place.folder / file).write_text("another\n")

    place.run("--unless-passed")

    assert place.runs() == 1


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        pytest.param({"CODE": "1"}, 1, id="they failed"),
        pytest.param({"PYTEST_ADDOPTS": "-k one"}, 0, id="perhaps not all were run"),
        pytest.param({"KIND_CLUSTER": "mine"}, 0, id="another cluster"),
        pytest.param({"MEANWHILE": "echo >> operator/seatrial.py"}, 0, id="a file was changed meanwhile"),
    ],
)
def test_nothing_is_noted_of_a_run_that_does_not_show_it(place: Place, variables: dict[str, str], code: int):
    assert place.run("--unless-passed", **variables).returncode == code

    place.run("--unless-passed")

    assert place.runs() == 2


def test_where_git_does_not_know_the_files_they_are_always_run(place: Place):
    shutil.rmtree(place.folder / ".git")

    first, second = place.run("--unless-passed"), place.run("--unless-passed")

    assert (first.returncode, second.returncode, place.runs()) == (0, 0, 2)
