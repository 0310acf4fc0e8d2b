"""Values that would hurt in a shell reach a trial on a laptop as they are, whichever way they are handed over, and nothing runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from entry.conftest import run_seatrial

pytestmark = pytest.mark.slow

HURTS = [
    "$(touch canary)",
    "`touch canary`",
    "; touch canary",
    "& touch canary &",
    "&& touch canary",
    "| touch canary",
    "> canary",
    "x\ntouch canary\n",
    "'; touch canary; '",
    '"; touch canary; "',
    "$(HP_other)",
    "$$(HP_other)",
    "$HP_other ${HP_other} $$ $",
    "%HP_other% !HP_other! {HP_other} {{HP_other}}",
    "--help",
    "-c",
    "--",
    "-rf /",
    "",
    " ",
    "  two  spaces\t",
    "*",
    "~",
    "\\",
    "\\n\\0\\x41",
    "a\rb",
    "\x1b[2J\x07",
    "a=b=c",
    "#no comment",
    "'\"'\"'",
    "ünïcode 数 😀",
    "\u202eevil\u202c",
    "true",
    "null",
    "1e5",
    "é",
    "e\u0301",
]
"""Each a choice of one parameter, and so a trial."""

SCRIPT = """
import json, os, pathlib, sys

name = os.environ["SEATRIAL_TRIAL"]
seen = {"arguments": sys.argv[1:], "environment": dict(os.environ)}
pathlib.Path("seen").mkdir(exist_ok=True)
pathlib.Path("seen", name + ".json").write_text(json.dumps(seen))
print("loss=1")
"""


def study(values: list[str], *, reuse: bool) -> dict[str, Any]:
    container = {
        "name": "main",
        "command": [sys.executable, "program.py"],
        "args": ["$(HP_x)", "--option=$(HP_x)", "$(HP_x)$(HP_x)", "$$(HP_x)", "last"],
        "env": [{"name": "PLACED", "value": "<$(HP_x)>"}, {"name": "TWICE", "value": "$(PLACED)$(PLACED)"}],
    }
    parameters = [
        {"name": "x", "type": "categorical", "choices": values},
        {"name": "other", "type": "constant", "value": "interpreted"},
    ]
    return {
        "apiVersion": "seatrial.dev/v1alpha1",
        "kind": "Study",
        "metadata": {"name": "hurts"},
        "spec": {
            "objectives": [{"metric": "loss", "goal": "minimize"}],
            "parameters": parameters,
            "algorithm": {"name": "grid"},
            "budget": {"parallelTrials": 2},
            "trial": {"reuse": reuse, "template": {"spec": {"containers": [container]}}},
        },
    }


@pytest.fixture(scope="module", params=[False, True], ids=["a process each", "forks of one"])
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a folder with such a study run to its end, and what was printed."""
    folder = tmp_path_factory.mktemp("hurts")
    (folder / "program.py").write_text(SCRIPT)
    (folder / "hurts.yaml").write_text(json.dumps(study(HURTS, reuse=request.param), ensure_ascii=False))
    done = run_seatrial("run", "hurts.yaml", folder=folder, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout + done.stderr


def test_a_value_is_an_argument_a_variable_and_a_part_of_a_text_as_it_is(ran: tuple[Path, str]) -> None:
    folder, _ = ran

    seen = [json.loads(path.read_text()) for path in sorted((folder / "seen").iterdir())]
    values = [one["environment"]["HP_x"] for one in seen]
    assert sorted(values) == sorted(HURTS)
    for one, value in zip(seen, values, strict=True):
        environment = one["environment"]
        assert one["arguments"] == [value, f"--option={value}", value + value, "$(HP_x)", "last"]
        assert (environment["PLACED"], environment["TWICE"]) == (f"<{value}>", f"<{value}><{value}>")
        assert json.loads(environment["SEATRIAL_PARAMETERS"]) == {"x": value, "other": "interpreted"}
    assert not list(folder.rglob("canary"))


def test_what_is_told_of_such_values_is_told_without_them_speaking(ran: tuple[Path, str]) -> None:
    folder, printed = ran

    told = [run_seatrial(*words.split(), folder=folder) for words in ("show hurts", "trials hurts", "report hurts")]

    assert [one.returncode for one in told] == [0] * 3, [one.stderr for one in told]
    for text in (printed, *(one.stdout + one.stderr for one in told)):
        assert not {"\x1b", "\x07", "\u202e", "\r"} & set(text)
    trials = json.loads(run_seatrial("trials", "hurts", "--output", "json", folder=folder).stdout)
    assert sorted(trial["assignment"]["x"] for trial in trials) == sorted(HURTS)
    assert not list(folder.rglob("canary"))


@pytest.fixture(scope="module")
def winner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study of one trial that has all these values at once, and what to do with them elsewhere."""
    folder = tmp_path_factory.mktemp("winner")
    (folder / "program.py").write_text(SCRIPT)
    tree = study(["x"], reuse=False)
    tree["spec"]["parameters"] += [
        {"name": f"p{number}", "type": "constant", "value": value} for number, value in enumerate(HURTS)
    ]
    container = tree["spec"]["trial"]["template"]["spec"]["containers"][0]
    container["args"] = [f"$(HP_p{number})" for number in range(len(HURTS))]
    (folder / "hurts.yaml").write_text(json.dumps(tree, ensure_ascii=False))
    done = run_seatrial("run", "hurts.yaml", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def shell(text: str, folder: Path) -> str:
    """Run a line of a POSIX shell in which the command is there; return what it printed."""
    command = f'seatrial() {{ "{sys.executable}" -m seatrial.entry.cli.main "$@"; }}; {text}'
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_exported_for_a_shell_gives_the_same_values_to_its_programs(winner: Path) -> None:
    told = "import json, os; print(json.dumps(dict(os.environ)))"

    shown = shell(f"set -a; eval \"$(seatrial export hurts --best)\"; '{sys.executable}' -c '{told}'", winner)

    variables = json.loads(shown)
    assert [variables[f"HP_p{number}"] for number in range(len(HURTS))] == HURTS
    assert not list(winner.rglob("canary"))


def test_the_exported_command_runs_as_the_trial_did(winner: Path) -> None:
    (ran,) = (winner / "seen").iterdir()
    before = json.loads(ran.read_text())
    ran.unlink()

    shell("SEATRIAL_TRIAL=again; export SEATRIAL_TRIAL; seatrial export hurts --best --format command | sh", winner)

    (again,) = (winner / "seen").iterdir()
    after = json.loads(again.read_text())
    assert before["arguments"] == after["arguments"] == HURTS
    for number, value in enumerate(HURTS):
        assert after["environment"][f"HP_p{number}"] == value
    assert not list(winner.rglob("canary"))


@pytest.mark.parametrize("value", ["a\0b", "\0"])
def test_a_value_that_no_process_can_be_given_is_refused_before_anything_runs(tmp_path: Path, value: str) -> None:
    (tmp_path / "program.py").write_text(SCRIPT)
    (tmp_path / "hurts.yaml").write_text(json.dumps(study([value, "fine"], reuse=False)))

    done = run_seatrial("run", "hurts.yaml", folder=tmp_path)

    assert done.returncode == 2
    assert "spec.parameters[0].choices[0]" in done.stderr
    assert not (tmp_path / "seen").exists()
