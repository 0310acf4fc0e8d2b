"""Tells a command that runs a Python program from any other. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["PythonProgram", "find_python"]

_PYTHON = re.compile(r"(.*/)?python(3(\.[0-9]+)?)?")
_FLAGS = re.compile(r"-[bBdEIOPqRsSuv]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonProgram:
    """A command in two parts.

    Attributes:
        interpreter: ``python -u``.
        program: ``train.py --epochs 3``, ``-m package.train`` or ``-c text``.
    """

    interpreter: tuple[str, ...]
    program: tuple[str, ...]

    @property
    def name(self) -> tuple[str, ...]:
        """What is run, without its arguments."""
        return self.program[: 2 if self.program[0] in {"-m", "-c"} else 1]


def find_python(command: Sequence[str]) -> PythonProgram | None:
    """Return the parts of ``python [flags] script.py …``, ``python -m module …`` or ``python -c text …``; None for anything else."""
    if not command or not _PYTHON.fullmatch(command[0]):
        return None
    i = 1
    while i < len(command):
        word = command[i]
        if word in {"-W", "-X"}:
            i += 2
        elif _FLAGS.fullmatch(word) or word[:2] in {"-W", "-X"}:
            i += 1
        else:
            break
    interpreter, program = tuple(command[:i]), tuple(command[i:])
    runs = program[:1] in {("-m",), ("-c",)} and len(program) > 1
    if runs or (program and program[0].endswith(".py") and not program[0].startswith("-")):
        return PythonProgram(interpreter=interpreter, program=program)
    return None
