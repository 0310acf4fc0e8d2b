"""The commands that look at a study: what they print, and what they answer to wrong calls."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from entry.conftest import TINY, run_seatrial
from seatrial.entry.cli.app import app
from seatrial.entry.cli.exits import ExitCode


def call(*arguments: str, text: str | None = None) -> Result:
    """Call the command in this process."""
    return CliRunner().invoke(app, list(arguments), input=text, prog_name="seatrial")


# ---- validate ----------------------------------------------------------------------------------------------------------


def test_a_valid_file_is_described(place: Path) -> None:
    result = call("validate", "tiny.yaml")

    assert result.exit_code == 0
    assert result.stdout == (
        "tiny.yaml: OK: study tiny, 2 parameters (6 assignments), algorithm grid, no limit on trials, 2 at a time\n"
    )


def test_a_population_says_itself_how_many_trials_it_makes() -> None:
    result = call("validate", str(Path(__file__).parents[2] / "examples/digits-pbt.yaml"))

    assert "algorithm pbt, at most 16 trials, 2 at a time" in result.stdout


def test_every_problem_of_every_file_is_told_with_its_line(place: Path) -> None:
    Path("one.yaml").write_text(TINY.replace("minimize", "smaller").replace("type: ordinal", "type: ordnal"))
    Path("two.yaml").write_text("")

    result = call("validate", "one.yaml", "tiny.yaml", "two.yaml")

    assert result.exit_code == 2
    assert [line.split(" ", 2)[:2] for line in result.stderr.splitlines()] == [
        ["one.yaml:5:", "spec.objectives[0].goal"],
        ["one.yaml:7:", "spec.parameters[0].type"],
        ["two.yaml", "is"],
    ]
    assert result.stdout.startswith("tiny.yaml: OK")


def test_a_warning_does_not_refuse_a_study(place: Path) -> None:
    Path("warned.yaml").write_text(TINY.replace("{maxFailedTrials: 3,", "{maxTrials: 2, maxFailedTrials: 3,"))

    result = call("validate", "warned.yaml")

    assert result.exit_code == 0
    assert "warned.yaml:10: warning: spec.budget.maxFailedTrials is 3" in result.stderr


def _directory(folder: Path) -> str:
    (folder / "studies").mkdir()
    (folder / "studies" / "a.yaml").write_text(TINY)
    return "studies"


def _large(folder: Path) -> str:
    with (folder / "large.yaml").open("wb") as stream:
        stream.truncate(50 * 1024 * 1024)
    return "large.yaml"


def _circle(folder: Path) -> str:
    (folder / "circle.yaml").symlink_to("circle.yaml")
    return "circle.yaml"


def _misspelt(folder: Path) -> str:
    (folder / "digits.yaml").write_text(TINY)
    return "digit.yaml"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(
            _directory,
            "studies is a directory, but must be one file; name one in it, such as studies/a.yaml",
            id="a directory",
        ),
        pytest.param(_large, "large.yaml is larger than 1 MiB, which no study is; is it the right file?", id="50 MB"),
        pytest.param(
            _misspelt,
            "digit.yaml does not exist; did you mean digits.yaml?",
            id="a name that is nearly right",
        ),
        pytest.param(
            lambda folder: "a/b.yaml",
            "a/b.yaml does not exist; check the name, from {folder}",
            id="a folder that is not there",
        ),
        pytest.param(lambda folder: "\0", "\0 cannot be read: embedded null byte", id="no name at all"),
        pytest.param(_circle, "circle.yaml cannot be read: Too many levels of symbolic links", id="a circle of links"),
    ],
)
def test_what_cannot_be_a_study_is_answered_in_one_sentence(make, message, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = make(tmp_path)

    result = call("validate", name)

    assert result.exit_code == 2
    assert result.stderr == message.replace("{folder}", str(tmp_path)) + "\n"


def test_a_file_of_somebody_else_is_named_with_the_way_out(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)  # root may read everything

    assert (
        call("validate", "tiny.yaml").stderr
        == "tiny.yaml cannot be read: permission denied; change its mode (chmod u+r)\n"
    )


def test_a_study_is_read_from_standard_input(place: Path) -> None:
    good, bad = call("validate", "-", text=TINY), call("validate", "-", text="kind: Study\n")

    assert (good.exit_code, good.stdout[:19]) == (0, "standard input: OK:")
    assert bad.exit_code == 2
    assert "apiVersion" in bad.stderr


def test_validation_as_json_lists_problems_and_what_is_asked_for(place: Path) -> None:
    result = call("validate", "tiny.yaml", "missing.yaml", "--output", "json")

    good, bad = json.loads(result.stdout)["files"]
    assert result.exit_code == 2
    assert (good["valid"], good["study"], good["parameters"], good["size"]) == (True, "tiny", 2, 6)
    assert (bad["valid"], bad["problems"][0]["path"]) == (False, "")


# ---- show and trials ---------------------------------------------------------------------------------------------------


def test_a_study_is_shown_by_name_and_by_directory(place: Path) -> None:
    by_name, by_directory = call("show", "tiny"), call("show", ".seatrial/tiny/")

    assert by_name.exit_code == by_directory.exit_code == 0
    assert by_name.stdout.startswith("tiny: The study is complete")
    assert "last failure tiny-" in by_name.stdout
    assert by_name.stdout.splitlines()[0] == by_directory.stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "tinny"], "there is no study 'tinny'"),
        (["show", "tinny"], "did you mean tiny?"),
        (["show", "."], "there is no study '.'"),
        (["show", "tiny.yaml"], "is a file, but this command takes a study that was run: known here: tiny"),
        (["trials", "tiny", "--state", "faild"], "did you mean failed?"),
        (["export", "tiny", "--best", "--trial", "1"], "give one of them"),
        (["export", "tiny", "--trial", "77"], "the trials are tiny-0 to tiny-5"),
        (["export", "tiny", "--front"], "needs a study with several objectives"),
        (["export", "tiny", "--front", "--format", "env"], "only --format json and yaml can"),
        (["report", "tiny", "--file", "tiny.yaml/report.html"], "cannot be written"),
        (["trials", "tiny", "--sort", "name"], "is not one of 'value', 'index'"),
        (["shw", "tiny"], "No such command 'shw'"),
        (["run"], "Missing argument 'STUDY.yaml'"),
        (["run", "tiny.yaml", "--parallel", "0"], "Invalid value for '--parallel'"),
    ],
)
def test_a_wrong_call_names_the_next_step(place: Path, arguments: list[str], message: str) -> None:
    result = call(*arguments)

    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_where_nothing_was_run_the_first_step_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    result = call("trials", "digits")

    assert result.exit_code == 2
    assert "start one with `seatrial run STUDY.yaml`" in result.stderr


def test_trials_are_sorted_by_value_with_failures_last(place: Path) -> None:
    lines = call("trials", "tiny", "--sort", "value").stdout.splitlines()

    column = lines[0].index("loss")
    assert [line[column : column + 4].strip() for line in lines[1:]] == ["1", "1", "2", "2", "3", ""]
    assert "exit code 3" in lines[-1]


def test_trials_can_be_chosen_by_state_in_any_case(place: Path) -> None:
    trials = json.loads(call("trials", "tiny", "--state", "FAILED", "--output", "json").stdout)

    assert [trial["state"] for trial in trials] == ["Failed"]
    assert trials[0]["assignment"] == {"x": 3, "word": "a b"}


def test_the_csv_table_reads_back(place: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(call("trials", "tiny", "--output", "csv").stdout)))

    assert len(rows) == 6
    assert {row["HP_word"] for row in rows} == {"a b", "it's $HOME"}
    assert [row["loss"] for row in rows if row["state"] == "Failed"] == [""]


def test_a_reader_that_leaves_early_is_no_error(place: Path) -> None:
    command = (
        f"{sys.executable} -m seatrial.entry.cli.main trials tiny --output json | head -1; echo ${{PIPESTATUS[0]}}"
    )

    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=True)

    assert (result.stdout, result.stderr) == ("[\n0\n", "")


# ---- export ------------------------------------------------------------------------------------------------------------


def test_exported_variables_read_back_in_a_shell(place: Path) -> None:
    trial = next(t for t in json.loads(call("trials", "tiny", "-o", "json").stdout) if "'" in t["assignment"]["word"])
    lines = call("export", "tiny", "--trial", trial["name"]).stdout

    script = f'{lines}printf "%s|%s|%s" "$HP_x" "$HP_word" "$SEATRIAL_PARAMETERS"'
    shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=10, check=True)
    x, word, parameters = shell.stdout.split("|")
    assert (int(x), word) == (trial["assignment"]["x"], "it's $HOME")
    assert json.loads(parameters) == trial["assignment"]


def test_the_exported_command_repeats_the_trial_from_anywhere(place: Path, tmp_path: Path) -> None:
    trial = next(t for t in json.loads(call("trials", "tiny", "-o", "json").stdout) if "'" in t["assignment"]["word"])
    line = call("export", "tiny", "--trial", str(trial["index"]), "--format", "command").stdout

    again = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=10, check=True)

    assert line.count("\n") == 1
    assert line.startswith(f"cd {place} && env ")
    assert again.stdout == f"loss={trial['assignment']['x']} got word is it's $HOME\n"


def test_the_winner_is_exported_as_json(place: Path) -> None:
    document = json.loads(call("export", "tiny", "--best", "--format", "json").stdout)

    assert document["study"] == "tiny"
    assert document["values"] == {"loss": 1.0}
    assert document["assignment"]["x"] == 1
    assert document["image"] == "example.org/tiny:1"


# ---- report ------------------------------------------------------------------------------------------------------------


def test_the_report_is_written_and_named(place: Path, tmp_path: Path) -> None:
    result = call("report", "tiny", "--file", str(tmp_path / "new" / "tiny.html"))

    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"report: {tmp_path / 'new' / 'tiny.html'}\n"
    assert "tiny" in (tmp_path / "new" / "tiny.html").read_text()


# ---- the command itself ------------------------------------------------------------------------------------------------

HEAVY = ("pydantic", "numpy", "scipy", "optuna", "plotly", "torch", "rich.markdown", "ruamel")


@pytest.mark.parametrize(
    "code",
    [
        "import seatrial",
        "import sys; sys.argv = ['seatrial', '--help']; import seatrial.entry.cli.main as m\ntry:\n    m.main()\nexcept SystemExit:\n    pass",
    ],
)
def test_help_loads_nothing_that_only_commands_need(code: str) -> None:
    script = f"{code}\nimport sys\nprint('loaded', [name for name in {HEAVY!r} if name in sys.modules])"

    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)

    assert result.stdout.splitlines()[-1] == "loaded []"


def test_every_command_explains_itself_with_an_example() -> None:
    top = call("--help").stdout

    assert "Exit codes:" in top
    for command in ("run", "validate", "show", "trials", "report", "export"):
        assert f"  {command} " in top
        assert "Example" in call(command, "--help").stdout


def test_the_version_is_printed(tmp_path: Path) -> None:
    assert run_seatrial("--version", folder=tmp_path).stdout.startswith("seatrial 0.")


def test_the_documentation_names_every_command_and_option() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    command = typer.main.get_command(app)
    options = {
        name
        for sub in command.commands.values()  # type: ignore[attr-defined]
        for parameter in sub.params
        for name in parameter.opts
        if name.startswith("--")
    }

    assert {"--png", "--restart"} <= options
    assert [name for name in sorted(options) if f"`{name}" not in page] == []
    assert [name for name in command.commands if f"## {name}\n" not in page] == []  # type: ignore[attr-defined]
    assert [code.value for code in ExitCode if f"| {code.value} |" not in page] == []
