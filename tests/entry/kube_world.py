"""Studies on an API server, put there by hand, and the user's kubeconfig: all that ``kubectl seatrial`` needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from seatrial.api.study import Study
from seatrial.api.trial import Trial

__all__ = ["CHECKPOINTS", "kubeconfig", "plugin", "put_trials", "study_body", "trial_body"]

CHECKPOINTS = {
    "volumes": [{"name": "checkpoints", "persistentVolumeClaim": {"claimName": "ckpt"}}],
    "containers": [
        {
            "name": "main",
            "image": "example.org/train:1",
            "command": ["train"],
            "env": [{"name": "SECRET", "value": "s"}],
            "resources": {"limits": {"nvidia.com/gpu": 1}},
            "volumeMounts": [{"name": "checkpoints", "mountPath": "/checkpoints"}],
        }
    ],
}

Create = Callable[[str, dict[str, Any]], dict[str, Any]]
"""Stores an object (plural, body) with its status and returns it as stored."""


def study_body(study: Study, name: str = "digits") -> dict[str, Any]:
    """Return a study as ``kubectl apply`` sends it, with a volume for checkpoints."""
    spec = study.spec.to_wire()
    spec["trial"] |= {"template": {"spec": CHECKPOINTS}}
    return {
        "apiVersion": "seatrial.dev/v1alpha1",
        "kind": "Study",
        "metadata": {"name": name},
        "spec": spec,
    } | ({"status": study.status.to_wire()} if study.status else {})


def trial_body(trial: Trial, study: dict[str, Any], **status: Any) -> dict[str, Any]:
    """Return a trial as an operator stores it."""
    name = study["metadata"]["name"]
    owner = {"apiVersion": "seatrial.dev/v1alpha1", "kind": "Study", "name": name, "uid": study["metadata"]["uid"]}
    return {
        "apiVersion": "seatrial.dev/v1alpha1",
        "kind": "Trial",
        "metadata": {
            "name": trial.metadata.name,
            "labels": {"seatrial.dev/study": name},
            "ownerReferences": [owner | {"controller": True}],
        },
        "spec": trial.spec.to_wire(),
        "status": trial.status.to_wire() | status,
    }


def put_trials(create: Create, study: dict[str, Any], trials: Sequence[Trial]) -> None:
    """Store the trials of a stored study; the best one has a checkpoint."""
    for trial in trials:
        best = trial.metadata.name == "digits-6"
        saved = {"step": 9, "digest": "sha256:" + "0" * 64, "path": "0/step-9"}
        create("trials", trial_body(trial, study, **({"checkpoint": saved} if best else {})))


def kubeconfig(path: Path, server: str, *, namespace: str = "lab", user: dict[str, Any] | None = None) -> Path:
    """Write a kubeconfig of one context."""
    context = {"cluster": "c", "user": "u", "namespace": namespace}
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "users": [{"name": "u", "user": user or {}}],
                "contexts": [{"name": "test", "context": context}],
            }
        )
    )
    return path


def plugin(*arguments: str, kubeconfig: Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``kubectl seatrial`` as kubectl does."""
    return subprocess.run(
        [sys.executable, "-m", "seatrial.entry.cli.kubectl", *arguments],
        env={**os.environ, "KUBECONFIG": str(kubeconfig), "COLUMNS": "120", "NO_COLOR": "1"},
        cwd=folder or kubeconfig.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def as_json(text: str) -> Any:
    return json.loads(text)
