"""What must hold of the tree as a whole."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import seatrial
import seatrial_harness.wire
from seatrial.api import wire

ROOT = Path(__file__).parent.parent
MODULES = sorted(
    module.name
    for package in (seatrial, seatrial_harness)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
)


def constants(module: object) -> dict[str, object]:
    return {name: value for name, value in vars(module).items() if name.isupper()}


def test_operator_folder_never_shadows_the_standard_library():
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_harness_and_operator_name_everything_on_the_wire_alike():
    assert constants(seatrial_harness.wire) == constants(wire)


def test_top_level_holds_what_is_agreed():
    expected = {"pyproject.toml", "README.md", "operator", "crds", "charts", "trial_image", "tests", "kind-config.yaml"}
    assert expected <= {path.name for path in ROOT.iterdir()}


@pytest.mark.parametrize("name", MODULES)
def test_no_module_takes_a_name_of_the_standard_library(name):
    leaf = name.rsplit(".", 1)[-1]
    assert leaf not in sys.stdlib_module_names or leaf == "copy"


@pytest.mark.parametrize("name", MODULES)
def test_all_names_what_exists(name):
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", []):
        assert hasattr(module, public), f"{name}.__all__ names {public}"


@cache
def definitions() -> list[tuple[Path, str]]:
    """Return path and name of every module and definition of the product."""
    paths = [*(ROOT / "operator").rglob("*.py"), *(ROOT / "trial_image").rglob("*.py")]
    return [(path, path.stem) for path in paths] + [
        (path, node.name)
        for path in paths
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]


@pytest.mark.parametrize("name", ["Experiment", "helper", "helpers", "utils", "manager"])
def test_banned_words_name_no_module_and_no_definition(name):
    assert (ROOT / "operator" / "seatrial" / "api" / "study.py", "Study") in definitions()
    assert [f"{path}: {found}" for path, found in definitions() if found == name] == []


def test_importing_seatrial_brings_in_nothing_heavy():
    code = (
        "import sys, seatrial, seatrial.entry.cli.main;"
        "print([m for m in ('torch', 'optuna', 'plotly', 'numpy', 'scipy', 'pydantic', 'matplotlib', 'kopf') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_torch_is_no_dependency_of_the_operator_or_of_the_bare_harness():
    import tomllib

    for path in (ROOT / "pyproject.toml", ROOT / "trial_image" / "pyproject.toml"):
        dependencies = tomllib.loads(path.read_text())["project"]["dependencies"]
        assert not [name for name in dependencies if name.startswith("torch")]


def test_no_file_names_a_package_registry():
    hosts = ["pypi" + ".org", "python" + "hosted", "npmjs" + ".org", "proxy.golang" + ".org"]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    found = [name for name in tracked if any(host.encode() in (ROOT / name).read_bytes() for host in hosts)]
    assert found == []
