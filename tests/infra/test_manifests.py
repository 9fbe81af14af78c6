"""The manifests in infra/kubernetes, against the published schemas and against each other. None of them is run here."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import kubernetes_validate
import pytest
import yaml
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect_kubernetes.worker import KubernetesWorker, KubernetesWorkerJobConfiguration

from flows.cli import app

CHECKOUT = Path(__file__).parents[2]
HERE = CHECKOUT / "infra/kubernetes"
OLDEST, NEWEST = "1.30", "1.37"
NOT_APPLIED = {"kustomization.yaml", "prometheus-adapter.yaml"}
TEMPLATE = json.loads((HERE / "base-job-template.json").read_text())
KUSTOMIZATION = yaml.safe_load((HERE / "kustomization.yaml").read_text())

NOBODY = PrefectClient("http://127.0.0.1:9/api")

Manifest = dict[str, Any]


def manifests() -> dict[str, Manifest]:
    found = [one for name in KUSTOMIZATION["resources"] for one in yaml.safe_load_all((HERE / name).read_text())]
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in found}


ALL = manifests()


def of_kind(*kinds: str) -> dict[str, Manifest]:
    return {name: one for name, one in ALL.items() if one["kind"] in kinds}


WORKLOADS = of_kind("Deployment", "StatefulSet", "Job")


def pod(workload: Manifest) -> Manifest:
    spec: Manifest = workload["spec"]["template"]["spec"]
    return spec


def containers() -> Iterator[tuple[str, Manifest]]:
    for name, one in WORKLOADS.items():
        for container in pod(one)["containers"]:
            yield name, container


def selected(labels: dict[str, str]) -> list[Manifest]:
    return [
        one for one in WORKLOADS.values() if labels.items() <= one["spec"]["template"]["metadata"]["labels"].items()
    ]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("name", ALL)
def test_a_manifest_keeps_to_the_published_schema(name: str, version: str) -> None:
    kubernetes_validate.validate(ALL[name], version, strict=True)


def test_the_schema_would_refuse_a_slip() -> None:
    wrong = copy.deepcopy(ALL["Deployment/vllm"])
    pod(wrong)["containers"][0]["livenessProbe"]["pth"] = "/health"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, NEWEST, strict=True)


def test_the_kustomization_names_every_file_once() -> None:
    assert sorted(KUSTOMIZATION["resources"]) == sorted({file.name for file in HERE.glob("*.yaml")} - NOT_APPLIED)
    assert len(ALL) == sum(
        len(list(yaml.safe_load_all((HERE / name).read_text()))) for name in KUSTOMIZATION["resources"]
    )
    assert all((HERE / file).exists() for one in KUSTOMIZATION["configMapGenerator"] for file in one["files"])
    assert f"Namespace/{KUSTOMIZATION['namespace']}" in ALL


def test_selectors_find_the_pods_that_they_mean() -> None:
    for name, one in of_kind("Deployment", "StatefulSet").items():
        assert selected(one["spec"]["selector"]["matchLabels"]) == [one], name
    for name, service in of_kind("Service").items():
        (workload,) = selected(service["spec"]["selector"])
        ports = {port["name"]: port["containerPort"] for port in pod(workload)["containers"][0]["ports"]}
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"], name
    for name, budget in of_kind("PodDisruptionBudget").items():
        assert selected(budget["spec"]["selector"]["matchLabels"]) == [
            ALL[name.replace("PodDisruptionBudget", "Deployment")]
        ]
    (policy,) = of_kind("NetworkPolicy").values()
    (expression,) = policy["spec"]["podSelector"]["matchExpressions"]
    assert all(selected({expression["key"]: value}) for value in expression["values"])
    assert ALL["StatefulSet/postgres"]["spec"]["serviceName"] in {
        one["metadata"]["name"] for one in of_kind("Service").values()
    }


def test_probes_ask_ports_that_are_named() -> None:
    for name, container in containers():
        ports = {port["name"] for port in container.get("ports", [])}
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            if get := container.get(kind, {}).get("httpGet"):
                assert get["port"] in ports, name


def test_addresses_are_services() -> None:
    services = {
        one["metadata"]["name"]: {port["port"] for port in one["spec"]["ports"]} for one in of_kind("Service").values()
    }
    for _, container in containers():
        given = {entry["name"]: entry.get("value", "") for entry in container.get("env", [])}
        for host, port in re.findall(r"http://([\w-]+):(\d+)", " ".join(given.values())):
            assert int(port) in services[host]
        if host := given.get("PREFECT_SERVER_DATABASE_HOST"):
            assert int(given["PREFECT_SERVER_DATABASE_PORT"]) in services[host]


def test_secrets_are_named_and_never_written() -> None:
    assert not of_kind("Secret")
    for name, container in containers():
        for entry in container.get("env", []):
            if re.search("PASSWORD|KEY|TOKEN", entry["name"]):
                assert "secretKeyRef" in entry["valueFrom"], name


def test_what_pods_refer_to_is_there() -> None:
    accounts = {one["metadata"]["name"] for one in of_kind("ServiceAccount").values()}
    generated = {one["name"] for one in KUSTOMIZATION["configMapGenerator"]}
    for name, one in WORKLOADS.items():
        spec = pod(one)
        assert spec.get("serviceAccountName", "pacore-worker") in accounts, name
        volumes = {
            *(volume["name"] for volume in spec.get("volumes", [])),
            *(claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", [])),
        }
        assert {
            mount["name"] for container in spec["containers"] for mount in container.get("volumeMounts", [])
        } == volumes
        assert all(
            volume["configMap"]["name"] in generated for volume in spec.get("volumes", []) if "configMap" in volume
        )
    binding = ALL["RoleBinding/pacore-worker"]
    assert f"Role/{binding['roleRef']['name']}" in ALL
    assert {subject["name"] for subject in binding["subjects"]} <= accounts
    assert TEMPLATE["variables"]["properties"]["service_account_name"]["default"] in accounts


def test_no_pod_gets_the_addresses_of_services_as_variables() -> None:
    # a service `vllm` would set VLLM_PORT to an URL, `prefect-server` variables that begin with PREFECT_SERVER
    for spec in [*map(pod, WORKLOADS.values()), pod(TEMPLATE["job_configuration"]["job_manifest"])]:
        assert spec["enableServiceLinks"] is False


def test_our_commands_are_those_that_exist() -> None:
    ours = [container["command"] for _, container in containers() if container.get("command", [""])[0] == "pacore"]
    assert ours
    for command in ours:
        app.parse_args(command[1:], exit_on_error=False, print_error=False)


def test_vllm_may_start_slowly_and_ends_what_runs_before_it_stops() -> None:
    spec = pod(ALL["Deployment/vllm"])
    (vllm,) = spec["containers"]
    assert {vllm[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")} == {"/health"}
    assert vllm["startupProbe"]["periodSeconds"] * vllm["startupProbe"]["failureThreshold"] >= 1800
    (drain,) = [int(word.split("=")[1]) for word in vllm["command"] if word.startswith("--shutdown-timeout=")]
    assert spec["terminationGracePeriodSeconds"] > vllm["lifecycle"]["preStop"]["sleep"]["seconds"] + drain


def test_the_autoscaler_scales_by_the_queue_that_prometheus_adapter_serves() -> None:
    scaler = ALL["HorizontalPodAutoscaler/vllm"]["spec"]
    assert "{kind}/{name}".format(**scaler["scaleTargetRef"]) in ALL
    assert "replicas" not in ALL["Deployment/vllm"]["spec"]
    (rule,) = yaml.safe_load((HERE / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    assert [metric["pods"]["metric"]["name"] for metric in scaler["metrics"]] == [rule["name"]["as"]]
    assert '__name__="vllm:num_requests_waiting"' in rule["seriesQuery"]


async def test_the_job_template_makes_a_job_that_keeps_to_the_schema() -> None:
    deployments = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]
    for deployment in deployments:
        values = deployment["work_pool"]["job_variables"]
        configuration = await KubernetesWorkerJobConfiguration.from_template_and_values(TEMPLATE, values, client=NOBODY)
        configuration.prepare_for_flow_run(FlowRun(flow_id=uuid4(), name="low s03"))
        job = configuration.job_manifest
        for version in (OLDEST, NEWEST):
            kubernetes_validate.validate(job, version, strict=True)
        (container,) = pod(job)["containers"]
        assert values["env"].items() <= {entry["name"]: entry["value"] for entry in container["env"]}.items()
        assert container["envFrom"] == [{"secretRef": {"name": "pacore", "optional": True}}]
        (image,) = KUSTOMIZATION["images"]
        assert container["image"] == f"{image['newName']}:{image['newTag']}"
        assert job["metadata"]["namespace"] == KUSTOMIZATION["namespace"]


def test_the_job_template_has_the_variables_of_the_worker() -> None:
    own = KubernetesWorker.get_default_base_job_template()["variables"]["properties"]
    assert TEMPLATE["variables"]["properties"].keys() == own.keys()
