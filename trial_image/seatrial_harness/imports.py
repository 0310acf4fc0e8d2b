"""Finds the installed modules that a program imports when it begins, without running any of the program.

Only what lies in the folders of Python and its packages counts as installed. The program and the modules beside it are read, never
imported: a warm start runs them anew every time, as a cold one does.
"""

import ast
import importlib
import importlib.util
import sys
import sysconfig
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path

__all__ = ["Wanted", "find_imports", "list_imported", "load_modules"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One installed module.

    Attributes:
        module: ``torch.utils.data``.
        names: What is taken from it; some of them may be modules themselves.
    """

    module: str
    names: tuple[str, ...] = ()


def find_imports(program: Sequence[str]) -> list[Wanted]:
    """Return what a program and its own modules import at their top level, in the order in which that would happen.

    Imports in functions, and those that depend on a condition, are left to the program.

    Args:
        program: ``train.py``, ``-m package.train`` or ``-c text``; modules are looked for as ``sys.path`` says.
    """
    reader = _Reader()
    match program:
        case ["-m", module, *_]:
            reader.take(Wanted(module=module))
            reader.take(Wanted(module=f"{module}.__main__"))
        case ["-c", text, *_]:
            reader.read_text(text, "")
        case [path, *_]:
            reader.read(Path(path), "")
    return list(reader.found)


def load_modules(wanted: Sequence[Wanted]) -> list[str]:
    """Import modules; return those that could not be, each with the reason: the program finds out by itself."""
    failed = []
    for one in wanted:
        try:
            module = importlib.import_module(one.module)
            for name in one.names:
                if not hasattr(module, name) and importlib.util.find_spec(f"{one.module}.{name}") is not None:
                    importlib.import_module(f"{one.module}.{name}")
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever foreign code raises
            failed.append(f"{one.module}: {type(error).__name__}: {error}")
    return failed


def list_imported(before: Container[str]) -> list[str]:
    """Return the installed modules that are imported by now and not in *before*, in their order."""
    found = []
    for name in [name for name in sys.modules if name not in before]:
        spec = getattr(sys.modules[name], "__spec__", None)
        if isinstance(spec, ModuleSpec) and spec.name == name and _is_installed(spec):
            found.append(name)
    return found


@dataclass(slots=True)
class _Reader:
    found: dict[Wanted, None] = field(default_factory=dict)
    _seen: set[Path] = field(default_factory=set)

    def read(self, path: Path, package: str) -> None:
        """Read a file of the program; one that cannot be read or is no Python imports nothing."""
        if path in self._seen:
            return
        self._seen.add(path)
        try:
            source = path.read_bytes()
        except OSError:
            return
        self.read_text(source, package)

    def read_text(self, source: str | bytes, package: str) -> None:
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError):
            return
        for statement in _statements(tree.body):
            for wanted in _wanted(statement, package):
                self.take(wanted)

    def take(self, wanted: Wanted) -> None:
        """Note an installed module, or read one of the program's own."""
        top, *rest = wanted.module.split(".")
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError, AttributeError):
            return
        if spec is None:
            return
        if _is_installed(spec):
            self.found.setdefault(wanted)
        elif top not in sys.modules:
            self._read_own(spec, top, rest, wanted.names)

    def _read_own(self, spec: ModuleSpec, top: str, rest: Sequence[str], names: Sequence[str]) -> None:
        if not spec.submodule_search_locations:
            if spec.origin is not None and spec.has_location:
                self.read(Path(spec.origin), "")
            return
        folder, package = Path(next(iter(spec.submodule_search_locations))), top
        self.read(folder / "__init__.py", package)
        for part in rest:
            self._read_part(folder, package, part)
            folder, package = folder / part, f"{package}.{part}"
        for name in names:
            self._read_part(folder, package, name)

    def _read_part(self, folder: Path, package: str, name: str) -> None:
        self.read(folder / f"{name}.py", package)
        self.read(folder / name / "__init__.py", f"{package}.{name}")


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    for statement in body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield statement
        elif isinstance(statement, ast.Try | ast.With):
            yield from _statements(statement.body)


def _wanted(statement: ast.Import | ast.ImportFrom, package: str) -> Iterator[Wanted]:
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            yield Wanted(module=alias.name)
        return
    names = tuple(alias.name for alias in statement.names if alias.name != "*")
    module = statement.module or ""
    if statement.level:
        parents = package.split(".")[: len(package.split(".")) - statement.level + 1]
        module = ".".join(filter(None, [*parents, module]))
    if module and module != "__future__":
        yield Wanted(module=module, names=names)


def _is_installed(spec: ModuleSpec) -> bool:
    if spec.origin in {"built-in", "frozen"}:
        return True
    places = [spec.origin] if spec.has_location and spec.origin else list(spec.submodule_search_locations or ())
    return bool(places) and all(any(Path(place).is_relative_to(root) for root in _ROOTS) for place in places)


_ROOTS = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    | {path for path in sys.path if Path(path).name in {"site-packages", "dist-packages", "lib-dynload"}}
)
