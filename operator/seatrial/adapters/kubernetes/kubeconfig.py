"""The user's own way to a cluster: their kubeconfig, as kubectl reads it, and nothing else.

Certificates, tokens, exec plugins, OIDC, proxies and several files in ``KUBECONFIG`` are read by the kubernetes package; what it
would only log, or see otherwise than kubectl, is put right here.
"""

import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config.kube_config import KubeConfigLoader, KubeConfigMerger

from seatrial.api.wording import list_words, nearest
from seatrial.errors import UsageError

__all__ = ["Login", "read_login"]

_LOGGER = "kubernetes.aio.config.kube_config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How a user reaches a cluster.

    Attributes:
        configuration: For clients; renews a token that runs out.
        context: Name of the context in use.
        namespace: The context's own, ``default`` when it names none.
        server: Address of the API server.
    """

    configuration: Configuration
    context: str
    namespace: str
    server: str


async def read_login(kubeconfig: str | None = None, context: str | None = None) -> Login:
    """Return the way to the cluster of a context.

    Args:
        kubeconfig: A file; None for ``KUBECONFIG`` or ``~/.kube/config``.
        context: Its name; None for the current one.

    Raises:
        UsageError: If there is no kubeconfig, it cannot be read, the context is unknown, or no credentials can be got.
    """
    found = _existing(kubeconfig)
    current = context or _current_context(found)
    with _said() as said:
        try:
            merged = KubeConfigMerger(os.pathsep.join(map(str, found)))  # type: ignore[no-untyped-call]
            _check_context(merged, current, found)
            loader = KubeConfigLoader(  # type: ignore[no-untyped-call]
                config_dict=merged.config, active_context=current, config_base_path=None
            )
            configuration = Configuration()
            await loader.load_and_set(configuration)  # type: ignore[no-untyped-call]
        except UsageError:
            raise
        except Exception as error:  # a wrong file shows itself there by any exception
            words = f"{type(error).__name__}: {error}"
            raise UsageError(
                f"context {current} of {found[0]} cannot be used: {words}; see kubectl config view"
            ) from error
    if said:
        raise UsageError(
            f"context {current} of {found[0]} gives no credentials: {said[0]}; log in again, kubectl get pods tells more"
        )
    _check(configuration, current)
    configuration.refresh_api_key_hook = _renewal(loader)  # type: ignore[assignment]
    held: dict[str, Any] = loader.current_context.get("context") or {}
    namespace = str(held.get("namespace") or "default")
    return Login(configuration=configuration, context=current, namespace=namespace, server=str(configuration.host))


def _existing(kubeconfig: str | None) -> list[Path]:
    """Return the files that are there."""
    given = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    paths = [Path(part).expanduser() for part in given.split(os.pathsep) if part]
    found = [path for path in paths if path.is_file()]
    if not found:
        places = " and ".join(map(str, paths)) or "KUBECONFIG"
        raise UsageError(
            f"there is no kubeconfig at {places}; name one by --kubeconfig or KUBECONFIG, "
            "or run a study on this machine: seatrial run STUDY.yaml"
        )
    return found


def _current_context(paths: list[Path]) -> str:
    """Return the current context: of several files the first that names one, as with kubectl."""
    for path in paths:
        try:
            held = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UsageError(f"the kubeconfig {path} cannot be read: {error}") from error
        if held is not None and not isinstance(held, dict):
            raise UsageError(f"{path} is no kubeconfig; name one by --kubeconfig or KUBECONFIG")
        if held and held.get("current-context"):
            return str(held["current-context"])
    raise UsageError(
        f"{paths[0]} names no current context; choose one: kubectl config use-context NAME, or --context NAME"
    )


def _check_context(merged: KubeConfigMerger, wanted: str, paths: list[Path]) -> None:
    contexts = merged.config.value.get("contexts") if merged.config else None
    names = [str(one["name"]) for one in contexts or ()]
    if wanted not in names:
        near = nearest(wanted, names)
        hint = f"did you mean {near}? " if near else ""
        known = f"known there: {list_words(names)}" if names else "it names none"
        raise UsageError(f"there is no context {wanted!r} in {paths[0]}; {hint}{known}")


def _check(configuration: Configuration, context: str) -> None:
    if not configuration.host:
        raise UsageError(f"context {context} names no server; see kubectl config view")
    scheme = urlsplit(configuration.proxy).scheme if configuration.proxy else ""
    if scheme not in {"", "http", "https"}:
        raise UsageError(
            f"context {context} goes through a {scheme} proxy, which is not supported here; open a tunnel of your own "
            "and name it as server, or use an http proxy"
        )


def _renewal(loader: KubeConfigLoader) -> Callable[[Configuration], Awaitable[None]]:
    """Return what is called before each request: it asks for a new token when the old one runs out."""

    async def renew(configuration: Configuration) -> None:
        # Only what says when it ends is asked for again: a plugin may take a second or open a browser.
        if not hasattr(loader, "exec_plugin_expiry") and loader.provider not in {"oidc", "gcp"}:
            return
        await loader._load_authentication()  # type: ignore[no-untyped-call]  # noqa: SLF001 - it has no other name
        if "token" in loader.__dict__:
            configuration.api_key["BearerToken"] = loader.token

    return renew


@contextmanager
def _said() -> Iterator[list[str]]:
    """Collect the errors that the loader logs instead of raising them."""
    said: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR:
                said.append(record.getMessage())

    logger, collector = logging.getLogger(_LOGGER), Collector()
    spread, logger.propagate = logger.propagate, False
    logger.addHandler(collector)
    try:
        yield said
    finally:
        logger.removeHandler(collector)
        logger.propagate = spread
