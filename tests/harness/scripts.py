"""Runs small scripts as real trials: with the environment of docs/wire.md, in a process of their own."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

__all__ = ["ATrial", "Ended"]


@dataclass(frozen=True, kw_only=True)
class Ended:
    code: int
    out: str
    err: str
    message: dict[str, Any] | None
    observations: list[dict[str, Any]]

    @property
    def status(self) -> str:
        assert self.message is not None, self.err
        return str(self.message["status"])


@dataclass(kw_only=True)
class ATrial:
    """A trial whose files lie under one folder."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    alone: bool = False

    def with_env(self, **more: str) -> Self:
        return replace(self, env=self.env | more)

    @property
    def environment(self) -> Mapping[str, str]:
        clean = {
            name: text
            for name, text in os.environ.items()
            if not name.startswith(("SEATRIAL_", "HP_")) and name != "RANK"
        }
        if self.alone:
            return clean | self.env
        own = {
            "SEATRIAL_STUDY": "digits",
            "SEATRIAL_TRIAL": "digits-3",
            "SEATRIAL_TRIAL_INDEX": "3",
            "SEATRIAL_ATTEMPT": "0",
            "SEATRIAL_SEED": "77",
            "SEATRIAL_PARAMETERS": '{"lr": 0.5}',
            "SEATRIAL_OBJECTIVES": '[{"metric": "val", "goal": "maximize"}]',
            "SEATRIAL_RUNGS": "[1, 3, 9]",
            "SEATRIAL_CHECKPOINT_DIR": str(self.folder / "checkpoints"),
            "SEATRIAL_TERMINATION_PATH": str(self.folder / "message.json"),
            "SEATRIAL_OBSERVATIONS_PATH": str(self.folder / "observations.jsonl"),
            "SEATRIAL_STOP_PATH": str(self.folder / "stop"),
        }
        return clean | own | self.env

    def write(self, script: str) -> Path:
        path = self.folder / "script.py"
        path.write_text("import seatrial_harness as seatrial\n" + textwrap.dedent(script))
        return path

    def start(self, script: str) -> "subprocess.Popen[str]":
        path = self.write(script)
        return subprocess.Popen(
            [sys.executable, str(path)],
            env=dict(self.environment),
            cwd=self.folder,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, script: str) -> Ended:
        return self.end(self.start(script))

    def end(self, process: "subprocess.Popen[str]") -> Ended:
        out, err = process.communicate(timeout=120)
        return Ended(code=process.returncode, out=out, err=err, message=self.message, observations=self.observations)

    @property
    def message(self) -> dict[str, Any] | None:
        path = self.folder / "message.json"
        return json.loads(path.read_bytes()) if path.exists() else None

    @property
    def observations(self) -> list[dict[str, Any]]:
        path = self.folder / "observations.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
