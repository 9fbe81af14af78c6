"""infra/compose, against the compose specification, itself, and the metrics that there are. It is not run here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from flows.serve.metrics import Metrics

HERE = Path(__file__).parents[2] / "infra/compose"
COMPOSE = yaml.safe_load((HERE / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DASHBOARD = json.loads((HERE / "grafana/campaigns.json").read_text())
TARGETS = [target for panel in DASHBOARD["panels"] for target in panel["targets"]]


def asked_of(prefix: str) -> set[str]:
    """The metrics with a prefix that the dashboard asks for."""
    return {name for target in TARGETS for name in re.findall(rf"\b{prefix}\w+", target["expr"])}


def complaints(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_keeps_to_the_specification() -> None:
    done = complaints(HERE / "compose.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_specification_would_refuse_a_slip(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text((HERE / "compose.yaml").read_text().replace("stop_grace_period:", "stop_grace:"))
    assert complaints(wrong).returncode == 1


def test_services_wait_for_what_is_there_and_says_when_it_is_ready() -> None:
    for name, service in SERVICES.items():
        waits = service.get("depends_on", {})
        assert set(waits) <= SERVICES.keys(), name
        for other, how in waits.items() if isinstance(waits, dict) else ():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other], name
            else:
                assert SERVICES[other]["restart"] == "no", name


def test_hosts_are_services() -> None:
    beside = {"127.0.0.1", "host.docker.internal"}
    for name, service in SERVICES.items():
        given = service.get("environment", {})
        hosts = set(re.findall(r"http://([\w.-]+)", " ".join(given.values())))
        hosts |= {value for key, value in given.items() if key.endswith("_HOST")}
        assert hosts <= SERVICES.keys() | beside, name
    (source,) = yaml.safe_load((HERE / "grafana/datasource.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"


def test_files_and_volumes_that_are_mounted_are_there() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (HERE / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"], name
    build = COMPOSE["x-pacore"]["build"]
    assert (HERE / build["context"] / build["dockerfile"]).is_file()


def test_no_password_is_written_and_none_may_be_empty() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET", key):
                assert re.fullmatch(r"\$\{\w+:\?.+\}", value), (name, key)


def test_ports_are_open_to_this_machine_only_and_images_are_pinned() -> None:
    for name, service in SERVICES.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert re.search(r":\D*\d", service["image"]), name


def test_the_image_is_that_of_the_manifests() -> None:
    (image,) = yaml.safe_load((HERE / "../kubernetes/kustomization.yaml").read_text())["images"]
    assert COMPOSE["x-pacore"]["image"] == f"{image['newName']}:{image['newTag']}"


def test_grafana_finds_the_dashboard_and_its_source() -> None:
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"])
    (provider,) = yaml.safe_load((HERE / "grafana/dashboards.yaml").read_text())["providers"]
    place = mounts["./grafana/campaigns.json"]
    assert Path(place).parent == Path(provider["options"]["path"])
    assert SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == place
    (source,) = yaml.safe_load((HERE / "grafana/datasource.yaml").read_text())["datasources"]
    assert {target["datasource"]["uid"] for target in TARGETS} == {source["uid"]}


def test_prometheus_asks_the_jobs_that_the_dashboard_names() -> None:
    jobs = {job["job_name"] for job in yaml.safe_load((HERE / "prometheus.yaml").read_text())["scrape_configs"]}
    assert set(re.findall(r'job="([\w-]+)"', str([target["expr"] for target in TARGETS]))) <= jobs


def test_panels_do_not_overlap() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in DASHBOARD["panels"]})


def test_what_the_dashboard_asks_of_pacore_serve_is_exported() -> None:
    metrics = Metrics()
    metrics.requests.labels(200).inc()
    metrics.heard({"round": 1, "prompt_tokens": 1, "cached_tokens": 1, "completion_tokens": 1})
    assert asked_of("pacore_")
    assert asked_of("pacore_") <= set(re.findall(r"^\w+", metrics.text().decode(), re.MULTILINE))
