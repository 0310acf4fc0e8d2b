"""The user's kubeconfig, as kubectl reads it, and what is told when it is of no use."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from seatrial.adapters.kubernetes.kubeconfig import Login, read_login
from seatrial.errors import UsageError


def write(path: Path, *, user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None, **top: Any) -> Path:
    """Write a kubeconfig with the contexts ``one`` (namespace lab) and ``two``."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:7"} | (cluster or {})}],
        "users": [{"name": "u", "user": user or {}}],
        "contexts": [
            {"name": "one", "context": {"cluster": "c", "user": "u", "namespace": "lab"}},
            {"name": "two", "context": {"cluster": "c", "user": "u"}},
        ],
    } | top
    path.write_text(yaml.safe_dump(document))
    return path


def read(path: Path | None = None, context: str | None = None) -> Login:
    return asyncio.run(read_login(str(path) if path else None, context))


def bearer(login: Login) -> str | None:
    """Return what requests are authorised by."""
    return asyncio.run(login.configuration.get_api_key_with_prefix("BearerToken"))


def plugin(folder: Path, body: str) -> dict[str, Any]:
    """Return a user whose credentials come from a program."""
    script = folder / "credentials.py"
    script.write_text(body)
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": [str(script)],
            "env": [{"name": "ROLE", "value": "reader"}],
            "interactiveMode": "Never",
        }
    }


_PROGRAM = """
import json, os, pathlib
count = pathlib.Path(__file__).with_suffix(".count")
number = len(count.read_text()) if count.exists() else 0
count.write_text("x" * (number + 1))
status = {"token": os.environ["ROLE"] + "-" + str(number)}
status |= {"expirationTimestamp": EXPIRES} if EXPIRES else {}
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}))
"""


def test_the_context_gives_server_and_namespace(tmp_path: Path) -> None:
    login = read(write(tmp_path / "config"))

    assert (login.context, login.namespace, login.server) == ("one", "lab", "http://127.0.0.1:7")


def test_another_context_may_be_named_and_need_not_name_a_namespace(tmp_path: Path) -> None:
    login = read(write(tmp_path / "config"), "two")

    assert (login.context, login.namespace) == ("two", "default")


def test_of_several_files_the_first_current_context_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = write(tmp_path / "first"), write(tmp_path / "second", **{"current-context": "two"})
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([str(tmp_path / "gone"), str(first), str(second)]))

    assert read().context == "one"


def test_a_token_is_sent(tmp_path: Path) -> None:
    assert bearer(read(write(tmp_path / "config", user={"token": "secret"}))) == "Bearer secret"


def test_a_token_file_is_found_beside_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file")

    assert bearer(read(write(tmp_path / "config", user={"tokenFile": "token"}))) == "Bearer from-file"


def test_a_program_may_give_the_credentials(tmp_path: Path) -> None:
    user = plugin(tmp_path, _PROGRAM.replace("EXPIRES", "None"))
    login = read(write(tmp_path / "config", user=user))

    assert [bearer(login), bearer(login)] == ["Bearer reader-0", "Bearer reader-0"]


def test_credentials_that_run_out_are_asked_for_again(tmp_path: Path) -> None:
    user = plugin(tmp_path, _PROGRAM.replace("EXPIRES", "'2020-01-01T00:00:00Z'"))
    login = read(write(tmp_path / "config", user=user))

    assert [bearer(login), bearer(login)] == ["Bearer reader-1", "Bearer reader-2"]


def test_credentials_that_last_are_not_asked_for_again(tmp_path: Path) -> None:
    user = plugin(tmp_path, _PROGRAM.replace("EXPIRES", "'2999-01-01T00:00:00Z'"))
    login = read(write(tmp_path / "config", user=user))

    assert [bearer(login), bearer(login)] == ["Bearer reader-0", "Bearer reader-0"]


def test_proxy_and_server_name_are_taken_over(tmp_path: Path) -> None:
    cluster = {"proxy-url": "http://proxy:3128", "tls-server-name": "api.internal", "insecure-skip-tls-verify": True}
    configuration = read(write(tmp_path / "config", cluster=cluster)).configuration

    assert (configuration.proxy, configuration.tls_server_name) == ("http://proxy:3128", "api.internal")
    assert configuration.verify_ssl is False


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"current-context": "tow"}, "there is no context 'tow' in .*; did you mean two", id="a context that is not there"),
        pytest.param({"current-context": ""}, "names no current context; choose one: kubectl config use-context", id="none"),
        pytest.param({"clusters": []}, "context one of .* cannot be used", id="a context without its cluster"),
        pytest.param({"contexts": []}, "it names none", id="no contexts"),
        pytest.param({"cluster": {"proxy-url": "socks5://p:1"}}, "a socks5 proxy, which is not supported here", id="socks"),
        pytest.param({"cluster": {"server": ""}}, "names no server", id="no server"),
        pytest.param({"user": {"exec": {"apiVersion": "v1", "command": "/no/such/login"}}}, "gives no credentials: .*no/such/login", id="no plugin"),
        pytest.param({"cluster": {"server": "https://x", "certificate-authority": "gone.crt"}}, "gone.crt", id="no authority"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_told_with_its_place(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read(write(tmp_path / "config", **change))


def test_a_program_that_fails_is_told_with_its_words(tmp_path: Path) -> None:
    user = plugin(tmp_path, "import sys; sys.exit('please log in')")

    with pytest.raises(UsageError, match=r"gives no credentials: .*please log in"):
        read(write(tmp_path / "config", user=user))


@pytest.mark.parametrize("text", ["- a list", "a: [", "just text", ""])
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)

    with pytest.raises(UsageError, match=str(tmp_path / "config")):
        read(tmp_path / "config")


def test_without_any_kubeconfig_the_laptop_is_named_also_in_a_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    # A Pod has a service account: that is not the user.
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")

    with pytest.raises(UsageError, match=r"no kubeconfig at .*/\.kube/config; .* seatrial run STUDY.yaml"):
        read()


def test_what_a_document_holds_is_json_too(tmp_path: Path) -> None:
    path = write(tmp_path / "config")
    path.write_text(json.dumps(yaml.safe_load(path.read_text())))

    assert read(path).namespace == "lab"
