"""The chart's scrape job and PodMonitor, as Prometheus itself sees them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.metrics_cluster.real_prometheus import FILES, tool


def camel(key: str) -> str:
    return re.sub("_([a-z])", lambda match: match[1].upper(), key)


def scrape_job() -> dict[str, Any]:
    return yaml.safe_load((FILES / "scrape-config.yaml").read_text())[0]  # type: ignore[no-any-return]


def check_with_promtool(path: Path, job: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    path.write_text(yaml.safe_dump({"scrape_configs": [job]}))
    return subprocess.run([tool("promtool"), "check", "config", str(path)], capture_output=True, text=True)


@pytest.mark.prometheus
def test_prometheus_accepts_the_scrape_job(tmp_path: Path):
    job = scrape_job()
    if "kubernetes" not in known_discoveries():
        # Debian builds its Prometheus without discovery of Pods; the next test holds what is then not looked at.
        del job["kubernetes_sd_configs"]
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump({"scrape_configs": [job]}))

    ran = subprocess.run([tool("promtool"), "check", "config", str(path)], capture_output=True, text=True)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "SUCCESS" in ran.stdout


def test_the_job_finds_pods_by_the_label_that_every_trial_has():
    selector = {"role": "pod", "label": "seatrial.dev/trial"}
    assert scrape_job()["kubernetes_sd_configs"] == [{"role": "pod", "selectors": [selector]}]


def known_discoveries() -> set[str]:
    """The ways of finding targets that this promtool was built with, of those that the chart uses."""
    text = json.dumps({"scrape_configs": [{"job_name": "x", "kubernetes_sd_configs": []}]})
    asked = [tool("promtool"), "check", "config", "--syntax-only", "/dev/stdin"]
    ran = subprocess.run(asked, input=text, capture_output=True, text=True)
    return set() if "kubernetes_sd_configs not found" in ran.stderr + ran.stdout else {"kubernetes"}


def test_the_pod_monitor_relabels_as_the_scrape_job_does():
    monitor = yaml.safe_load((FILES / "pod-monitor.yaml").read_text())
    endpoint = monitor["podMetricsEndpoints"][0]
    job = scrape_job()

    ours = [{camel(key): value for key, value in rule.items()} for rule in job["relabel_configs"]]

    assert endpoint["relabelings"][: len(ours)] == ours
    assert endpoint["relabelings"][len(ours) :] == [{"regex": "container|endpoint", "action": "labeldrop"}]
    assert (monitor["sampleLimit"], monitor["bodySizeLimit"]) == (job["sample_limit"], job["body_size_limit"])
    assert (endpoint["interval"], endpoint["scrapeTimeout"]) == (job["scrape_interval"], job["scrape_timeout"])
    assert (endpoint["honorLabels"], endpoint["honorTimestamps"]) == (job["honor_labels"], job["honor_timestamps"])
