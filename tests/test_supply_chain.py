"""What Seatrial is made of, and that nothing in it runs what a stranger sent."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*(ROOT / "operator").rglob("*.py"), *(ROOT / "trial_image").rglob("*.py")])


def script(name: str, folder: str = "scripts") -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{folder}_{name}", ROOT / folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


sbom, audit = script("sbom"), script("audit")
LOCKS = {name: sbom.read_lock(ROOT / "requirements" / f"{name}.txt") for name in sbom.SETS}


# ---- nothing that a stranger sent is run --------------------------------------------------------------------------------

UNSAFE_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle"}
PIPES = {
    "operator/seatrial/entry/cluster/asking.py": "the pipe to the process that the operator itself started",
    "operator/seatrial/entry/cluster/thinking.py": "the other end of that pipe",
}
"""Files that may use pickle, and what they read with it: pipes between two processes of one program, never a socket or a file."""

INTERPRETERS = {"trial_image/seatrial_harness/program.py"}
"""Files that may run source text: only the program that the trial's own command names, in the trial's own process."""


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def unsafe_uses(source: str) -> list[str]:
    """Return what in a source could run what it reads."""
    tree = ast.parse(source)
    found = sorted(imports(tree) & UNSAFE_MODULES)
    # A training script may ask for less safety with its own files; what it gets unasked is the safe way.
    safe = {"True"} | ({"weights_only"} if re.search(r"weights_only: bool\b(?! = False)", source) else set())
    for name, call in calls(tree):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name in {"eval", "exec", "compile", "os.system", "os.popen"}:
            found.append(name)
        if name == "torch.load" and given.get("weights_only") not in safe:
            found.append("torch.load without weights_only=True")
        if name.endswith((".load", ".loadtxt")) and given.get("allow_pickle") == "True":
            found.append(f"{name} with allow_pickle=True")
        if name in {"yaml.load", "yaml.load_all"} and not ({"Loader"} & given.keys() or len(call.args) > 1):
            found.append(f"{name} without a safe loader")
        if name in {"yaml.unsafe_load", "yaml.full_load"} or given.get("shell") == "True":
            found.append(f"{name}({', '.join(given)})")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_no_source_runs_what_it_reads(path):
    found = unsafe_uses(path.read_text("utf-8"))

    name = str(path.relative_to(ROOT))
    expected = {"pickle"} if name in PIPES else {"compile", "exec"} if name in INTERPRETERS else set()
    assert set(found) == expected


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "def load(weights_only: bool = False): torch.load(path, weights_only=weights_only)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "yaml.unsafe_load(text)",
        "eval(text)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_the_search_for_unsafe_uses_finds_them(source):
    assert unsafe_uses(source)


def test_a_training_script_loads_checkpoints_the_safe_way_unless_it_says_otherwise():
    defaults = [
        f"{path.name}: {ast.unparse(default)}"
        for path in (ROOT / "trial_image").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
        for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        if argument.arg == "weights_only" and default is not None
    ]

    assert defaults
    assert all(default.endswith(": True") for default in defaults)


@pytest.mark.parametrize("name", sorted(PIPES))
def test_what_may_use_pickle_opens_no_socket_and_no_file(name):
    tree = ast.parse((ROOT / name).read_text("utf-8"))

    loads = [ast.unparse(call) for called, call in calls(tree) if called == "pickle.loads"]
    assert len(loads) == 1
    assert re.search(r"pickle\.loads\((await process\.stdout\.readexactly|source\.read)\(length\)\)", loads[0])
    assert not imports(tree) & {"socket", "urllib", "http", "aiohttp", "requests"}
    assert not [called for called, _ in calls(tree) if called in {"open", "asyncio.open_connection"}]


# ---- bandit's rules -----------------------------------------------------------------------------------------------------


def test_bandits_rules_are_on_and_no_rule_of_theirs_is_off_for_the_product():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    selected = re.search(r"^select = \[(.*)\]$", text, re.MULTILINE)
    ignored = re.search(r"^ignore = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    per_file = re.findall(r'^"(operator|trial_image)/.*$', text, re.MULTILINE)

    assert selected is not None
    assert '"S"' in selected[1]
    assert ignored is not None
    assert not re.search(r'"S\d+"', ignored[1])
    assert per_file == []


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_each_exception_from_bandits_rules_has_its_reason_beside_it_or_above_it(path):
    lines = path.read_text("utf-8").splitlines()

    for place, line in enumerate(lines):
        if found := re.search(r"# noqa: ([A-Z0-9, ]*\bS\d{3}\b[A-Z0-9, ]*)(.*)", line):
            above = lines[place - 1].strip() if place else ""
            assert found[2].strip().startswith("- ") or above.startswith("#"), f"{path}:{place + 1}"


# ---- the operator's image -----------------------------------------------------------------------------------------------


def test_of_a_root_only_python_libraries_and_data_are_kept(tmp_path):
    files = {
        "usr/bin/python3.13": (0o755, True),
        "usr/bin/bash": (0o755, False),
        "usr/local/bin/pip3": (0o755, False),
        "usr/lib/apt/methods/http": (0o755, False),
        "usr/lib/sudo/helper": (0o755, False),
        "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": (0o755, True),
        "usr/lib/x86_64-linux-gnu/libssl.so.3": (0o644, True),
        "usr/lib/python3.13/base64.py": (0o755, True),
        "usr/lib/python3.13/ensurepip/_bundled/pip.whl": (0o644, False),
        "usr/local/lib/python3.13/site-packages/pip/__init__.py": (0o644, False),
        "etc/ssl/certs/ca-certificates.crt": (0o644, True),
        "var/lib/dpkg/status": (0o644, True),
    }
    for name, (mode, _) in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode)
    (tmp_path / "usr/bin/python3").symlink_to("python3.13")
    (tmp_path / "usr/bin/sh").symlink_to("bash")
    (tmp_path / "bin").symlink_to("usr/bin")

    script("keep_python", "operator").strip(tmp_path)

    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_symlink() or path.is_file()}
    assert left == {name for name, (_, kept) in files.items() if kept} | {"bin", "usr/bin/python3"}


# ---- bills of materials and licences ------------------------------------------------------------------------------------


def test_every_locked_package_has_an_exact_version_and_hashes():
    for lock in (ROOT / "requirements").glob("*.txt"):
        if lock.stem in {"go", "uv"}:
            # One tool each, named by its version, that fetches what is locked; neither is part of what is installed by users.
            continue
        packages = sbom.read_lock(lock)
        assert packages, lock
        assert all(package.version and package.hashes for package in packages), lock


def test_a_lock_line_is_read_with_its_marker_and_hashes(tmp_path):
    lock = tmp_path / "lock.txt"
    one, two = "a" * 64, "b" * 64
    lock.write_text(
        f"Some_Name[extra]==1.2 ; python_full_version < '3.12' \\\n    --hash=sha256:{two} \\\n    --hash=sha256:{one}\n"
    )

    (found,) = sbom.read_lock(lock)

    assert (found.name, found.version, found.marker) == ("Some_Name", "1.2", "python_full_version < '3.12'")
    assert found.hashes == (one, two)
    assert found.purl == "pkg:pypi/some-name@1.2"


@pytest.mark.parametrize("name", sorted(LOCKS))
def test_a_bill_names_every_locked_package_once_and_is_the_same_each_time(name):
    lock = LOCKS[name]
    licences = {package.name: "MIT" for package in lock}

    bill, again = sbom.build_bill(name, lock, licences), sbom.build_bill(name, lock, licences)

    assert json.dumps(bill) == json.dumps(again)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    references = [part["bom-ref"] for part in bill["components"]]
    assert references == [package.purl for package in lock]
    assert len(references) == len(set(references))
    assert bill["dependencies"][0]["dependsOn"] == references


def test_the_list_of_licences_names_what_the_locks_name():
    page = (ROOT / sbom.PAGE).read_text("utf-8")

    assert page == sbom.build_page(LOCKS, sbom.read_page(page)), "run make sbom"


COPYLEFT = re.compile(r"\b(A?GPL|SSPL|BUSL|CC-BY-NC)")


def test_the_images_hold_nothing_that_forbids_or_forces():
    licences = sbom.read_page((ROOT / sbom.PAGE).read_text("utf-8"))

    for name in ("operator", "trial"):
        for package in LOCKS[name]:
            licence = licences[package.name]
            assert licence != sbom.UNKNOWN, package.name
            assert not COPYLEFT.search(licence), f"{package.name}: {licence}"
            assert "roprietary" not in licence, package.name


# ---- known vulnerabilities ---------------------------------------------------------------------------------------------------

HOLE = {"name": "jinja2", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"], "description": "x"}]}
CLEAN = {"name": "rich", "version": "15", "vulns": []}
UNASKED = {"name": "numpy", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "line", "code"),
    [
        ([CLEAN], "a: 0 known vulnerabilities in 1 packages", 0),
        ([CLEAN, HOLE], "a: 1 known vulnerabilities in 2 packages", 1),
        ([CLEAN, UNASKED], "a: 0 known vulnerabilities in 1 packages; NOT AUDITED: numpy", 2),
        ([UNASKED], "a: NOT AUDITED: nobody answered about any of its 1 packages", 2),
    ],
)
def test_an_audit_gives_no_all_clear_for_what_nobody_was_asked_about(packages, line, code, monkeypatch, capsys):
    verdict = audit.read_verdict(json.dumps({"dependencies": packages}))
    monkeypatch.setattr(audit, "audit", lambda _: verdict)

    strict = audit.main(["--strict"])
    lax = audit.main([])

    assert audit.tell("a", verdict) == line
    assert strict == code
    assert lax == (1 if code == 1 else 0)
    assert ("PYSEC-1, fixed in 2.1" in capsys.readouterr().out) == (code == 1)


def test_an_audit_without_a_connection_says_so_and_does_not_fail(monkeypatch):
    def broken(*_: object, **__: object) -> object:
        return type("Done", (), {"stdout": "", "stderr": "Traceback\nConnectionError: no route", "returncode": 1})()

    monkeypatch.setattr(audit.importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(audit.subprocess, "run", broken)

    verdict = audit.audit(ROOT / "requirements" / "uv.txt")

    assert verdict.trouble == "ConnectionError: no route"
    assert audit.tell("uv", verdict) == "uv: NOT AUDITED: ConnectionError: no route"


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        (["trouble", "unasked"], "NO VULNERABILITY SOURCE COULD BE REACHED"),
        (["clean", "trouble"], "0 known vulnerabilities; 1 of 2 lists are not audited in whole"),
        (["clean", "hole"], "1 known vulnerabilities"),
    ],
)
def test_the_last_line_of_an_audit_says_whether_anybody_was_asked_at_all(verdicts, words):
    found = {
        "trouble": audit.Verdict(trouble="no route"),
        "unasked": audit.Verdict(skipped=("numpy",)),
        "clean": audit.Verdict(asked=3),
        "hole": audit.Verdict(asked=3, found=("x 1: PYSEC-1",)),
    }

    line = audit.sum_up([found[name] for name in verdicts])

    assert line.startswith(words)
    assert ("no all-clear" in line) == ("NO " in words)
