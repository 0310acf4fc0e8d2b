"""Run by `helm test`: the operator is healthy, and the API server takes a sound Study and refuses a wrong one."""

import json
import os
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def main() -> None:
    """Ask the operator how it is, and the API server for its verdict on a right and a wrong study."""
    with urllib.request.urlopen(os.environ["HEALTH_URL"], timeout=10) as answer:  # noqa: S310 - the chart's own address
        print("operator:", answer.read().decode().strip())  # noqa: T201
    code, words = create(build_study(low=0.1, high=1.0))
    if code != 201:
        sys.exit(f"a sound study is refused: {words}")
    code, words = create(build_study(low=1.0, high=0.1))
    if code != 422:
        sys.exit(f"a study with min above max should be refused, but the API server said {code}: {words}")
    print("a sound study is accepted; a wrong one is refused:", words)  # noqa: T201


def build_study(*, low: float, high: float) -> dict[str, object]:
    """Return a small study of one parameter between *low* and *high*."""
    container = {"name": "trainer", "image": "none", "command": ["true"]}
    spec = {
        "objectives": [{"metric": "loss", "goal": "minimize"}],
        "parameters": [{"name": "lr", "type": "float", "min": low, "max": high}],
        "budget": {"maxTrials": 1},
        "trial": {"template": {"spec": {"containers": [container]}}},
    }
    return {"apiVersion": "seatrial.dev/v1alpha1", "kind": "Study", "metadata": {"name": "acceptance"}, "spec": spec}


def create(study: dict[str, object]) -> tuple[int, str]:
    """Ask the API server as kubectl would, but with dryRun: nothing is stored."""
    address = f"https://kubernetes.default.svc/apis/seatrial.dev/v1alpha1/namespaces/{os.environ['NAMESPACE']}/studies"
    request = urllib.request.Request(  # noqa: S310
        f"{address}?dryRun=All&fieldValidation=Strict",
        data=json.dumps(study).encode(),
        headers={"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}", "Content-Type": "application/json"},
    )
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:  # noqa: S310
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read()).get("message", "")


main()
