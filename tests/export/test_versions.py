"""Versions are listed; labels move forward and back, in the file and on a server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent import futures
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import get_model_status_pb2, model_management_pb2, model_service_pb2_grpc
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

import htlnet_tf as htl
from htlnet_tf.errors import InputError
from htlnet_tf.export.models_config import CONFIG_FILE, read_config
from htlnet_tf.export.versions import list_versions, promote, rollback, to_text
from htlnet_tf.serving import EmbeddedServer
from htlnet_tf.serving.clients.model_service_client import ModelServiceClient, ServedVersion
from htlnet_tf.serving.errors import ServingError, TimedOutError

STATES = get_model_status_pb2.ModelVersionStatus


class FakeServer(model_service_pb2_grpc.ModelServiceServicer):
    """Knows states of versions, and notes the configurations that it is given; refuses them on demand."""

    def __init__(self) -> None:
        self.states = {1: STATES.AVAILABLE, 2: STATES.AVAILABLE, 3: STATES.END}
        self.configs: list[Any] = []
        self.refuse: str | None = None
        self.address = ""

    def GetModelStatus(self, request: Any, context: Any) -> Any:
        version = request.model_spec.version.value
        if request.model_spec.name != "m" or (version and version not in self.states):
            context.abort(grpc.StatusCode.NOT_FOUND, f"Could not find version {version} of model m")
        response = get_model_status_pb2.GetModelStatusResponse()
        for number, state in self.states.items():
            if number == version or not version:
                entry = response.model_version_status.add(version=number, state=state)
                if state == STATES.END:
                    entry.status.error_message = "no saved_model.pb"
        return response

    def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:
        if self.refuse:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, self.refuse)
        self.configs.append(request.config)
        return model_management_pb2.ReloadConfigResponse()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    real = grpc.server(futures.ThreadPoolExecutor(2))
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(fake, real)
    fake.address = f"127.0.0.1:{real.add_insecure_port('127.0.0.1:0')}"
    real.start()
    yield fake
    real.stop(None).wait()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Versions 1 to 3 of the model `m`."""
    now = datetime.now(timezone.utc)
    for version in (1, 2, 3):
        extra = tmp_path / "m" / str(version) / "assets.extra"
        extra.mkdir(parents=True)
        (extra.parent / "saved_model.pb").write_bytes(bytes(1000))
        summary = {
            "exported_at": (now - timedelta(hours=10 * (4 - version))).isoformat(),
            "training_rows": 1000 * version,
            "test_metrics": {"metrics": {"click": {"auc": 0.7 + version / 100}, "spend": {"nrmse": None}}},
        }
        (extra / "training_summary.json").write_text(json.dumps(summary))
    return tmp_path


def parsed(models: Path) -> Any:
    return text_format.Parse((models / CONFIG_FILE).read_text(), ModelServerConfig())


def test_promote_writes_what_a_server_takes(models: Path) -> None:
    moved = promote(models, "m", 2)
    assert (moved.version, moved.previous, moved.server) == (2, None, None)
    assert parsed(models) == text_format.Parse(
        'model_config_list { config { name: "m" base_path: "/models/m" model_platform: "tensorflow" '
        'model_version_policy { all {} } version_labels { key: "stable" value: 2 } } }',
        ModelServerConfig(),
    )
    moved = promote(models, "m", 3, "canary", base_path_prefix="/elsewhere")
    (config,) = parsed(models).model_config_list.config
    assert dict(config.version_labels) == {"stable": 2, "canary": 3}
    assert config.base_path == "/models/m"  # a model that is listed stays where it is
    assert not [p for p in models.iterdir() if p.name.endswith(".partial")]


def test_other_models_and_settings_are_kept(models: Path) -> None:
    (models / CONFIG_FILE).write_text(
        'model_config_list { config { name: "other" base_path: "/a/other" model_platform: "tensorflow" '
        "model_version_policy { latest { num_versions: 2 } } } "
        'config { name: "m" base_path: "/a/m" model_platform: "tensorflow" '
        "model_version_policy { specific { versions: 1 } } } }"
    )
    promote(models, "m", 2)
    promote(models, "m", 2)
    other, own = parsed(models).model_config_list.config
    assert other.model_version_policy.latest.num_versions == 2
    assert list(own.model_version_policy.specific.versions) == [1, 2]
    assert own.base_path == "/a/m"


def test_the_latest_policy_becomes_all(models: Path) -> None:
    (models / CONFIG_FILE).write_text(
        'model_config_list { config { name: "m" base_path: "/models/m" model_platform: "tensorflow" '
        "model_version_policy { latest { num_versions: 2 } } } }"
    )
    promote(models, "m", 1)
    (config,) = parsed(models).model_config_list.config
    assert config.model_version_policy.WhichOneof("policy_choice") == "all"


def test_rollback_goes_back_step_by_step(models: Path) -> None:
    for version in (1, 2, 2, 3):
        promote(models, "m", version)
    promote(models, "m", 3, "canary")
    assert read_config(models).history == {"m": {"stable": [1, 2]}}
    back = rollback(models, "m")
    assert (back.version, back.previous) == (2, 3)
    assert rollback(models, "m").version == 1
    assert read_config(models).labels("m") == {"stable": 1, "canary": 3}
    with pytest.raises(InputError, match="'stable' of model 'm' named no version before 1"):
        rollback(models, "m")
    with pytest.raises(InputError, match="'canary' of model 'm' named no version before 3"):
        rollback(models, "m", "canary")
    with pytest.raises(InputError, match=r"model 'm' has no label 'beta' .*there are \['canary', 'stable'\]"):
        rollback(models, "m", "beta")


def test_rollback_to_a_version_that_is_gone(models: Path) -> None:
    promote(models, "m", 1)
    promote(models, "m", 3)
    (models / "m" / "1").rename(models / "m" / ".1")
    before = (models / CONFIG_FILE).read_text()
    with pytest.raises(InputError, match="'stable' of model 'm' named before are no longer there"):
        rollback(models, "m")
    assert (models / CONFIG_FILE).read_text() == before


def test_rollback_passes_over_what_is_gone(models: Path) -> None:
    for version in (1, 2, 3):
        promote(models, "m", version)
    (models / "m" / "2").rename(models / "m" / ".2")
    assert rollback(models, "m").version == 1
    assert read_config(models).history.get("m", {}).get("stable", []) == []


def test_what_a_label_names_or_goes_back_to_is_in_use(models: Path) -> None:
    for version in (1, 2, 3):
        promote(models, "m", version)
    assert read_config(models).in_use("m") == {3, 2}


def test_a_new_file_lists_every_model(models: Path) -> None:
    shutil.copytree(models / "m" / "1", models / "other" / "7")
    (models / "empty").mkdir()
    promote(models, "m", 2)
    configs = {c.name: c for c in parsed(models).model_config_list.config}
    assert sorted(configs) == ["m", "other"]
    assert configs["other"].base_path == "/models/other"
    assert not configs["other"].version_labels


def test_a_model_that_is_listed_for_a_while_leaves_nothing(models: Path) -> None:
    promote(models, "m", 1)
    promote(models, "m", 2)
    before = (models / CONFIG_FILE).read_text()
    config = read_config(models)
    config.add_models({"m": "/elsewhere", "guest": "/models/guest"}, all_versions=True)
    listed = {model.name: model for model in config.message.model_config_list.config}
    assert listed["m"].base_path == "/models/m"  # it was there
    assert listed["guest"].model_version_policy.WhichOneof("policy_choice") == "all"
    config.set_label("guest", "stable", 7, base_path="")
    config.history["guest"] = {"stable": [5]}
    config.write()
    assert read_config(models).labels("guest") == {"stable": 7}
    config.remove_model("guest")
    assert config.to_text() == before


def test_a_server_that_does_not_answer_in_time_may_have_taken_it(
    models: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(*_: Any) -> None:
        raise TimedOutError("the server did not answer within 30 s", code="DEADLINE_EXCEEDED")

    monkeypatch.setattr(ModelServiceClient, "reload", too_late)
    with pytest.raises(TimedOutError):
        promote(models, "m", 2, server=server.address)
    assert read_config(models).labels("m") == {"stable": 2}


@pytest.mark.parametrize(("written", "message"), [(5, "ISO 8601 time, received 5"), ("soon", "received 'soon'")])
def test_a_summary_that_was_edited(models: Path, written: Any, message: str) -> None:
    summary = models / "m" / "1" / "assets.extra" / "training_summary.json"
    summary.write_text(json.dumps({"exported_at": written, "test_metrics": None}))
    with pytest.raises(InputError, match=message):
        list_versions(models)
    summary.write_text(json.dumps({"exported_at": "2024-03-01T12:00:00", "test_metrics": None}))
    first = list_versions(models)[-1]
    assert first.exported_at is not None
    assert first.exported_at.tzinfo is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("m", 9), "model 'm' has no version 9 .* there are \\[1, 2, 3\\]"),
        (("none", 1), "has no model 'none'; there are \\['m'\\]"),
        (("m", 1, "a/b"), "a label is letters"),
        (("m", 1, ""), "a label is letters"),
    ],
)
def test_what_cannot_be_promoted(models: Path, arguments: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        promote(models, *arguments)
    assert not (models / CONFIG_FILE).exists()


@pytest.mark.parametrize(
    "text", ["model_config_list {", "nonsense: 1", '# label history, oldest first: {"m": 3}\nmodel_config_list {}']
)
def test_a_damaged_file_is_told_and_kept(models: Path, text: str) -> None:
    (models / CONFIG_FILE).write_text(text)
    with pytest.raises(InputError, match=r"models.config"):
        promote(models, "m", 1)
    assert (models / CONFIG_FILE).read_text() == text


def test_a_running_server_takes_it(models: Path, server: FakeServer) -> None:
    moved = promote(models, "m", 2, server=server.address)
    assert server.configs == [parsed(models)]
    assert server.address in moved.to_text()
    promote(models, "m", 1, server=server.address)
    assert rollback(models, "m", server=server.address).version == 2
    assert [dict(c.model_config_list.config[0].version_labels)["stable"] for c in server.configs] == [2, 1, 2]


def test_the_embedded_server_takes_it(tmp_path: Path) -> None:
    module = tf.Module()
    module.same = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    tf.saved_model.save(module, str(tmp_path / "m" / "1"), signatures=module.same)
    shutil.copytree(tmp_path / "m" / "1", tmp_path / "m" / "2")
    with EmbeddedServer(tmp_path, port=0, grpc_port=0) as embedded:
        metadata = f"{embedded.url}/v1/models/m/labels/stable/metadata"
        assert httpx.get(metadata).status_code != 200
        promote(tmp_path, "m", 2, server=embedded.grpc_target)
        assert httpx.get(metadata).json()["model_spec"]["version"] == "2"


def test_a_version_that_is_not_available_gets_no_label(models: Path, server: FakeServer) -> None:
    promote(models, "m", 1)
    before = (models / CONFIG_FILE).read_text()
    with pytest.raises(ServingError, match=r"version 3 of model 'm' must be AVAILABLE .* it is END, no saved_model.pb"):
        promote(models, "m", 3, server=server.address)
    del server.states[2]
    with pytest.raises(ServingError, match=r"it is not loaded \(AVAILABLE: 1\)\. A server that follows no models"):
        promote(models, "m", 2, server=server.address)
    assert (models / CONFIG_FILE).read_text() == before
    assert server.configs == []


@pytest.mark.parametrize("existed", [True, False])
def test_a_refused_configuration_is_put_back(models: Path, server: FakeServer, existed: bool) -> None:
    if existed:
        promote(models, "m", 1)
    before = (models / CONFIG_FILE).read_bytes() if existed else None
    server.refuse = "Model x requests unsupported platform torch"
    with pytest.raises(ServingError, match="Model x requests unsupported platform torch"):
        promote(models, "m", 2, server=server.address)
    assert ((models / CONFIG_FILE).read_bytes() if (models / CONFIG_FILE).exists() else None) == before


def test_a_server_that_is_not_there(models: Path) -> None:
    with pytest.raises(ServingError, match="no server answers at 127"):
        promote(models, "m", 2, server="127.0.0.1:1")
    assert not (models / CONFIG_FILE).exists()


@pytest.mark.parametrize("server", ["http://localhost:8500", ""])
def test_a_server_is_host_and_port(server: str) -> None:
    with pytest.raises(InputError, match="localhost:8500"):
        ModelServiceClient(server)


def test_the_status_of_versions(server: FakeServer) -> None:
    with ModelServiceClient(server.address) as client:
        assert client.status("m") == [
            ServedVersion(3, "END", "no saved_model.pb"),
            ServedVersion(2, "AVAILABLE", ""),
            ServedVersion(1, "AVAILABLE", ""),
        ]
        assert client.status("m", 1) == [ServedVersion(1, "AVAILABLE", "")]


def test_versions_are_listed_with_what_is_known(models: Path) -> None:
    promote(models, "m", 1)
    promote(models, "m", 1, "fallback")
    (models / "foreign" / "4").mkdir(parents=True)
    (models / "foreign" / "4" / "saved_model.pb").write_bytes(b"xx")
    found = list_versions(models)
    assert [(v.model, v.version, v.labels) for v in found] == [
        ("foreign", 4, ()),
        ("m", 3, ()),
        ("m", 2, ()),
        ("m", 1, ("fallback", "stable")),
    ]
    assert (found[0].exported_at, found[0].training_rows, found[0].size_bytes) == (None, None, 2)
    assert found[1].training_rows == 3000
    assert found[1].age is not None
    assert timedelta(hours=10) <= found[1].age < timedelta(hours=11)
    assert found[3].metrics == {"click": {"auc": 0.71}, "spend": {"nrmse": None}}
    summary = models / "m" / "1" / "assets.extra" / "training_summary.json"
    assert found[3].size_bytes == 1000 + summary.stat().st_size
    text = to_text(found).splitlines()
    assert text[0].split("  ")[0].strip() == "model"
    assert "10 h" in text[2]
    assert "click AUC 0.7100" in text[4]
    assert "fallback, stable" in text[4]
    assert json.loads(json.dumps([v.to_dict() for v in found]))[3]["labels"] == ["fallback", "stable"]
    assert to_text([]) == "no versions"


def test_what_is_no_folder_of_models(tmp_path: Path) -> None:
    for ask in (
        lambda: list_versions(tmp_path / "x"),
        lambda: promote(tmp_path / "x", "m", 1),
        lambda: rollback(tmp_path / "x", "m"),
    ):
        with pytest.raises(InputError, match="MODELS must be a folder"):
            ask()
    assert list_versions(tmp_path) == []


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_summary_is_told(models: Path, text: str) -> None:
    path = models / "m" / "1" / "assets.extra" / "training_summary.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"training_summary.json"):
        list_versions(models)


def test_public_names() -> None:
    assert htl.export.promote is promote
    assert htl.export.list_versions is list_versions
    assert CONFIG_FILE == "models.config"
