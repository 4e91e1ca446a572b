"""The Kubernetes manifests: against the API's schemas, and against each other. No cluster is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from htlnet_tf.serving import EmbeddedServer
from tests.serving.stack import FLAGS, SERVING, flags
from tests.serving.test_compose import service

SCHEMA = json.loads((Path(__file__).parent / "schemas" / "kubernetes-1.34.json").read_text(encoding="utf-8"))
BASE = SERVING / "kubernetes" / "base"
CANARY = SERVING / "kubernetes" / "canary"

Manifest = dict[str, Any]


def kustomization(folder: Path) -> Manifest:
    return dict(yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8")))


def manifests() -> list[Manifest]:
    paths = [BASE / name for name in kustomization(BASE)["resources"]]
    return [manifest for path in paths for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def of_kind(kind: str) -> Manifest:
    return next(manifest for manifest in manifests() if manifest["kind"] == kind)


def pod() -> Manifest:
    return dict(of_kind("Deployment")["spec"]["template"])


def container() -> Manifest:
    (only,) = pod()["spec"]["containers"]
    return dict(only)


def model(folder: Path) -> ModelConfig:
    text = (folder / "models.config").read_text(encoding="utf-8")
    (only,) = text_format.Parse(text, ModelServerConfig()).model_config_list.config
    return only


def validate(manifest: Manifest) -> None:
    kind = SCHEMA["kinds"][f"{manifest['apiVersion']}/{manifest['kind']}"]
    jsonschema.Draft202012Validator({**kind, "$defs": SCHEMA["$defs"]}).validate(manifest)


@pytest.mark.parametrize("manifest", manifests(), ids=lambda m: f"{m['kind']}-{m['metadata']['name']}")
def test_the_api_takes_the_manifest(manifest: Manifest) -> None:
    validate(manifest)


def test_the_api_refuses_a_misspelt_field() -> None:
    broken = of_kind("Deployment")
    broken["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(jsonschema.ValidationError, match="readinesProbe"):
        validate(broken)


def test_every_file_is_in_a_kustomization() -> None:
    for folder in (BASE, CANARY):
        listed = kustomization(folder)
        (generator,) = listed["configMapGenerator"]
        named = {"kustomization.yaml", *generator["files"], *(r for r in listed["resources"] if "/" not in r)}
        assert named == {path.name for path in folder.iterdir()}
        # In place, so that the servers see a new models.config without a new pod.
        assert generator["options"]["disableNameSuffixHash"] is True
    assert [(CANARY / resource).resolve() for resource in kustomization(CANARY)["resources"]] == [BASE]
    assert (
        kustomization(CANARY)["configMapGenerator"][0]["name"] == kustomization(BASE)["configMapGenerator"][0]["name"]
    )


def test_everything_is_about_the_same_pods() -> None:
    labels = pod()["metadata"]["labels"]
    assert labels
    for manifest in manifests():
        selector = manifest["spec"].get("selector", labels)
        selector = selector.get("matchLabels", selector)
        assert selector.items() <= labels.items(), manifest["metadata"]["name"]
    target = of_kind("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    deployment = of_kind("Deployment")
    assert (target["apiVersion"], target["kind"]) == (deployment["apiVersion"], deployment["kind"])
    assert target["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"]  # it would set back what the autoscaler did


def test_flags_are_known_and_the_ports_are_theirs() -> None:
    found = flags(container()["args"])
    assert found.keys() <= FLAGS
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert ports == {"rest": int(found["rest_api_port"]), "grpc": int(found["port"])}
    for manifest in manifests():
        if manifest["kind"] == "Service":
            assert {(p["targetPort"], p["port"]) for p in manifest["spec"]["ports"]} <= ports.items()
    assert pod()["metadata"]["annotations"]["prometheus.io/port"] == found["rest_api_port"]


def test_it_is_the_composed_server_with_threads_for_its_share_of_the_node() -> None:
    composed, found = flags(service()["command"]), flags(container()["args"])
    assert container()["image"] == service()["image"]
    assert composed.items() <= found.items()
    assert found.keys() - composed.keys() == {
        *("rest_api_num_threads", "tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism"),
    }
    assert container()["command"] == service()["entrypoint"]
    assert container()["env"] == [{"name": "MODELS_CONFIG", "value": "/config/models.config"}]
    assert found["tensorflow_intra_op_parallelism"] == container()["resources"]["requests"]["cpu"]


def test_what_is_mounted_is_there() -> None:
    mounts = {mount["name"]: mount for mount in container()["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod()["spec"]["volumes"]}
    assert mounts.keys() == volumes.keys() == {"models", "config", "tmp"}
    assert mounts["models"]["readOnly"] and mounts["config"]["readOnly"]
    assert (
        volumes["models"]["persistentVolumeClaim"]["claimName"] == of_kind("PersistentVolumeClaim")["metadata"]["name"]
    )
    (generator,) = kustomization(BASE)["configMapGenerator"]
    assert volumes["config"]["configMap"]["name"] == generator["name"]
    named = [*flags(container()["args"]).values(), container()["command"][-1], container()["env"][0]["value"]]
    for value in named:
        if value.startswith("/"):
            assert Path(value).parent == Path(mounts["config"]["mountPath"]) and Path(value).name in generator["files"]
    for folder in (BASE, CANARY):
        assert Path(model(folder).base_path).parent == Path(mounts["models"]["mountPath"])


def test_labels_name_versions_that_are_loaded() -> None:
    assert dict(model(BASE).version_labels) == {"stable": 1}
    assert dict(model(CANARY).version_labels) == {"stable": 1, "canary": 2}
    for folder in (BASE, CANARY):
        assert set(model(folder).version_labels.values()) == set(model(folder).model_version_policy.specific.versions)
        assert model(folder).name == model(BASE).name
    # The start-up configuration has labels, and without this the server exits on them (api.md, section 12).
    assert flags(container()["args"])["allow_version_labels_for_unavailable_models"] == "true"


def test_monitoring_and_the_start_are_those_of_the_compose_file() -> None:
    # A kustomization takes no files from other folders.
    for name in ("monitoring.pbtxt", "start.sh"):
        assert (BASE / name).read_bytes() == (SERVING / "config" / name).read_bytes()
    path = pod()["metadata"]["annotations"]["prometheus.io/path"]
    assert f'path: "{path}"' in (BASE / "monitoring.pbtxt").read_text(encoding="utf-8")


def test_probes_tell_a_served_model_from_an_absent_one(server: EmbeddedServer) -> None:
    for probe in ("startupProbe", "readinessProbe"):
        check = container()[probe]["httpGet"]
        assert check["port"] == "rest" and f"/{model(BASE).name}" in check["path"]
        path = check["path"].replace(model(BASE).name, "{}")
        assert httpx.get(server.url + path.format("tiny")).status_code == 200
        assert httpx.get(server.url + path.format("absent")).status_code in {400, 404}
    # Ready for those who ask for the label: a start may have left out its version, and the status knows no labels.
    ready = container()["readinessProbe"]["httpGet"]["path"]
    assert "/labels/stable/" in ready and "stable" in model(BASE).version_labels
    unlabelled = ready.replace(model(BASE).name, "tiny").replace("stable", "unset")
    assert httpx.get(server.url + unlabelled).status_code >= 400
    assert container()["livenessProbe"]["grpc"]["port"] == int(flags(container()["args"])["port"])
    assert flags(container()["args"])["enable_grpc_healthcheck_service"] == "true"
    start = container()["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] >= 300


def test_the_pod_is_confined() -> None:
    spec = pod()["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True and spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container()["resources"]["limits"]["memory"] and container()["resources"]["requests"]["memory"]
    assert of_kind("Service")["spec"]["type"] == "ClusterIP"


def test_a_stop_leaves_time_to_drain() -> None:
    (command, seconds) = container()["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep" and 0 < int(seconds) < pod()["spec"]["terminationGracePeriodSeconds"]
    assert pod()["spec"]["shareProcessNamespace"] is True
