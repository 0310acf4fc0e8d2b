"""The chart's scrape job and PodMonitor, as Prometheus itself sees them."""

from __future__ import annotations

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
    discovery = job.pop("kubernetes_sd_configs")

    # Debian builds Prometheus without Kubernetes discovery: everything else of the job is checked by the real program.
    ran = check_with_promtool(tmp_path / "prometheus.yml", {**job, "static_configs": []})

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "SUCCESS" in ran.stdout
    assert discovery == [{"role": "pod", "selectors": [{"role": "pod", "label": "seatrial.dev/trial"}]}]
    assert check_with_promtool(tmp_path / "wrong.yml", {**job, "relabel_config": []}).returncode != 0


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
