"""The compose files for the genuine image, their scripts and settings. No Docker engine is needed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from htlnet_tf.serving import EmbeddedServer
from tests.conftest import REPO
from tests.serving.server.recordings import RECORDINGS
from tests.serving.stack import FLAGS, SERVING, fields, flags, interpolated, written_flags

SCHEMA = json.loads((Path(__file__).parent / "schemas" / "compose-spec.json").read_text(encoding="utf-8"))
MAIN = SERVING / "docker-compose.yml"
BATCHING = SERVING / "docker-compose.batching.yml"
TOP = REPO / "compose.yaml"

# What a scrape of the genuine server has, histograms with _bucket, _sum and _count; for where the recording is absent.
METRICS = {
    ":tensorflow:cc:saved_model:load_attempt_count",
    ":tensorflow:serving:batching_session:queuing_latency",
    ":tensorflow:serving:request_count",
    ":tensorflow:serving:request_latency",
    ":tensorflow:serving:runtime_latency",
}


def document(path: Path = MAIN, **environment: str) -> dict[str, Any]:
    return dict(interpolated(yaml.safe_load(path.read_text(encoding="utf-8")), environment))


def service(name: str = "serving", **environment: str) -> dict[str, Any]:
    return dict(document(**environment)["services"][name])


@pytest.mark.parametrize("path", [MAIN, BATCHING, TOP], ids=lambda path: path.name)
@pytest.mark.parametrize("environment", [{}, {"MODELS": "/exports", "BIND": "0.0.0.0"}], ids=["default", "models"])
def test_the_specification_takes_the_file(path: Path, environment: dict[str, str]) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(document(path, **environment))


def test_the_specification_refuses_a_misspelt_key() -> None:
    broken = document()
    broken["services"]["serving"]["readonly"] = True
    with pytest.raises(jsonschema.ValidationError, match="readonly"):
        jsonschema.Draft202012Validator(SCHEMA).validate(broken)


def test_a_plain_up_at_the_top_of_a_checkout_finds_the_stack() -> None:
    (included,) = document(TOP)["include"]
    assert REPO / included == MAIN


def test_every_file_that_can_be_named_is_the_same_project() -> None:
    # An included file's name is ignored, and the overrides' would win: two names are two volumes and one port.
    assert {path: document(path).get("name") for path in (MAIN, TOP, BATCHING)} == {
        MAIN: "htlnet-serving",
        TOP: "htlnet-serving",
        BATCHING: None,
    }


def test_every_variable_is_explained_at_the_top_of_the_file() -> None:
    text = MAIN.read_text(encoding="utf-8")
    header = text.split("\nname:", 1)[0]
    used = set(re.findall(r"\$\{(\w+)", text.removeprefix(header)))
    assert used and all(re.search(rf"^# .*\b{name}\b", header, re.M) for name in used)


def test_the_frozen_list_of_flags_is_the_written_one() -> None:
    written = written_flags()
    if written is None:
        pytest.skip(f"no api.md in {RECORDINGS}")
    assert written >= FLAGS


@pytest.mark.parametrize("path", [MAIN, BATCHING], ids=lambda path: path.name)
def test_flags_are_known(path: Path) -> None:
    found = flags(document(path)["services"]["serving"]["command"])
    assert found.keys() <= FLAGS
    assert (found["port"], found["rest_api_port"]) == ("8500", "8501")
    assert found["allow_version_labels_for_unavailable_models"] == "true"


def test_batching_adds_to_the_command_and_leaves_out_the_warm_up() -> None:
    plain = flags(service()["command"])
    batching = flags(document(BATCHING)["services"]["serving"]["command"])
    assert plain["enable_model_warmup"] == "true" and "enable_batching" not in plain
    assert batching == plain | {
        "enable_model_warmup": "false",
        "enable_batching": "true",
        "batching_parameters_file": "/config/batching.pbtxt",
    }


def test_mounted_paths_and_named_files_are_there() -> None:
    for name, settings in document()["services"].items():
        mounts = [volume.split(":") for volume in settings.get("volumes", [])]
        for source, target, *mode in mounts:
            if source.startswith("."):
                assert (SERVING / source).is_dir() and mode == ["ro"], f"{name}: {source}"
                assert target.startswith("/")
            else:
                assert source in document()["volumes"], f"{name}: {source}"
    for path in (MAIN, BATCHING):
        for value in flags(document(path)["services"]["serving"]["command"]).values():
            if value.startswith("/"):
                assert (SERVING / Path(value).relative_to("/")).is_file(), value


def test_the_trainer_runs_first_and_models_turns_it_off() -> None:
    assert service()["depends_on"] == {"trainer": {"condition": "service_completed_successfully"}}
    trainer = service("trainer")
    assert trainer["build"]["target"] == trainer["image"].removeprefix("htlnet-") == "trainer"
    assert trainer["volumes"] == ["trained:/models"] and service()["volumes"][0] == "trained:/models:ro"
    assert trainer["environment"]["MODELS"] == ""

    off = service("trainer", MODELS="/exports")
    assert off["build"]["target"] == off["image"].removeprefix("htlnet-") == "trainer-off"
    assert off["volumes"] == ["/exports:/models:ro"] == service(MODELS="/exports")["volumes"][:1]
    assert off["environment"]["MODELS"] == "/exports"
    assert off["pull_policy"] == "build"
    # A relative MODELS is taken for a volume's name, and must not be by chance the name of one.
    assert not document()["volumes"].keys() & {"models", "model", "htlnet", "export", "exports"}


def test_the_build_finds_what_it_copies() -> None:
    build = service("trainer")["build"]
    assert (MAIN.parent / build["context"]).resolve() == REPO
    text = (REPO / build["dockerfile"]).read_text(encoding="utf-8")
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", text, re.M)
    assert {name for _, name in stages} == {"trainer", "trainer-off"}
    assert all(re.fullmatch(r"[\w./-]+:\d[\w.-]*", image) for image, _ in stages)
    assert service()["image"] in {image for image, _ in stages}
    rules = (REPO / ".dockerignore").read_text(encoding="utf-8").split("\n")
    sent = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert "*" in rules
    copied = [s for line in re.findall(r"^COPY (?:--\S+ )*(.+) \S+$", text, re.M) for s in line.split()]
    assert len(copied) > 6
    for source in copied:
        assert (REPO / source).exists() and source.split("/")[0] in sent, source
    assert text.count("USER 10001:10001") == len(stages)
    # What a new volume gets: writable for any SERVING_USER, and not empty, or the server's image would have its say.
    assert "install -d -m 1777 /models && touch /models/" in text


def test_only_this_machine_reaches_the_ports() -> None:
    for name, settings in document()["services"].items():
        for port in settings.get("ports", []):
            assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port), f"{name}: {port}"
    assert service()["ports"] == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]
    assert service(BIND="0.0.0.0")["ports"] == ["0.0.0.0:8500:8500", "0.0.0.0:8501:8501"]


def test_every_service_is_confined() -> None:
    for name, settings in document()["services"].items():
        assert settings["read_only"] is True and settings["cap_drop"] == ["ALL"], name
        assert settings["security_opt"] == ["no-new-privileges:true"], name
        assert settings["init"] is True and settings["mem_limit"] and settings["pids_limit"], name
        assert int(settings["user"].split(":")[0]) > 0, name
        assert re.fullmatch(r"htlnet-trainer|[\w./-]+:v?\d+\.\d+\.\d+", settings["image"]), name
        assert ("healthcheck" in settings) == (name != "trainer"), name
    assert service(SERVING_USER="1000:1000")["user"] == "1000:1000"


def test_model_name_is_the_same_everywhere() -> None:
    settings = service(MODEL_NAME="other")
    assert settings["environment"] == {"MODEL_NAME": "other"}
    assert service("trainer", MODEL_NAME="other")["environment"]["MODEL_NAME"] == "other"
    assert "other" in settings["healthcheck"]["test"][-1] and "htlnet" not in settings["healthcheck"]["test"][-1]


def _stub(folder: Path, name: str, script: str) -> dict[str, str]:
    """An environment in which the program `name` is a script."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def test_the_server_is_started_by_the_script_that_is_mounted() -> None:
    assert service()["entrypoint"] == ["bash", "/config/start.sh"]
    assert "./config:/config:ro" in service()["volumes"] and (SERVING / "config" / "start.sh").is_file()


def test_grpc_calls_are_bounded_by_callers_and_not_by_cores() -> None:
    for path in (MAIN, BATCHING):
        command = document(path)["services"]["serving"]["command"]
        assert flags(command)["grpc_max_threads"] == "128"
        command = document(path, GRPC_MAX_THREADS="40")["services"]["serving"]["command"]
        assert flags(command)["grpc_max_threads"] == "40"
    # Threads are processes to the limit, and those of REST and TensorFlow come to it: 6 per core.
    assert service()["pids_limit"] >= 128 + 6 * 64


# Does to a folder of models what the real commands would, and writes down how it was called.
HTLNET = """
echo "$@" >> "$LOG"
case "$1" in
  export) mkdir -p "$MODELS_DIR/htlnet/$NEXT" && touch "$MODELS_DIR/htlnet/$NEXT/saved_model.pb" ;;
  promote) touch "$MODELS_DIR/models.config" ;;
esac
"""


def _train(
    tmp_path: Path, *versions: str, locked: str | None = None, **environment: str
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Runs train.sh; with `locked`, a folder that nobody may write to, and without root's capabilities."""
    models, log = tmp_path / "models", tmp_path / "log"
    for version in versions:
        (models / "htlnet" / version).mkdir(parents=True)
        (models / "htlnet" / version / "saved_model.pb").touch()
    models.mkdir(exist_ok=True)
    log.write_text("", encoding="utf-8")
    command = ["sh", str(SERVING / "train.sh")]
    if locked is not None:
        (tmp_path / locked).chmod(0o555)
        if os.geteuid() == 0:
            command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]
    ran = subprocess.run(
        command,
        env=_stub(tmp_path / "bin", "htlnet", HTLNET)
        | {"MODELS_DIR": str(models), "LOG": str(log), "NEXT": "1", "TMPDIR": str(tmp_path)}
        | environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return ran, log.read_text(encoding="utf-8").splitlines()


def test_an_empty_volume_is_trained_into_once(tmp_path: Path) -> None:
    ran, calls = _train(tmp_path)
    assert ran.returncode == 0, ran.stderr
    models = tmp_path / "models"
    (run,) = re.findall(r"--output (\S+)", calls[0])
    assert calls == [
        f"train generated --output {run}",
        f"export {run} --to {models} --name htlnet",
        f"promote {models} htlnet 1 --label stable",
    ]
    again, calls = _train(tmp_path)
    assert again.returncode == 0 and not calls and "nothing to train" in again.stdout


def test_the_commands_that_it_calls_are_there(tmp_path: Path) -> None:
    from htlnet_tf import cli

    for call in _train(tmp_path)[1]:
        cli._parse(["htlnet", *call.split()])


def test_a_stop_between_export_and_promote_is_made_good(tmp_path: Path) -> None:
    ran, calls = _train(tmp_path, "9", "10")
    assert ran.returncode == 0 and calls == [f"promote {tmp_path / 'models'} htlnet 10 --label stable"]


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may write anywhere")
@pytest.mark.parametrize("locked", ["models", "models/htlnet"])
def test_it_says_that_it_cannot_write_before_it_trains(tmp_path: Path, locked: str) -> None:
    (tmp_path / "models" / "htlnet").mkdir(parents=True)
    ran, calls = _train(tmp_path, locked=locked)
    assert ran.returncode == 1 and not calls
    user = f"{os.geteuid()}:{os.getegid()}"
    assert f"user {user} cannot write to {tmp_path / locked}, which is owned by {user} with mode 555" in ran.stderr


@pytest.mark.parametrize("relative", ["./models", "models", "../models"])
def test_a_relative_models_is_refused(tmp_path: Path, relative: str) -> None:
    ran, calls = _train(tmp_path, "1", MODELS=relative)
    assert ran.returncode == 1 and not calls
    assert f"absolute path, such as $PWD/models; received MODELS={relative}\n" in ran.stderr


def test_models_is_only_looked_at(tmp_path: Path) -> None:
    ran, calls = _train(tmp_path, "9", "10", MODELS="/exports")
    assert ran.returncode == 0 and not calls and "version 10" in ran.stdout
    other, calls = _train(tmp_path, MODELS="/exports", MODEL_NAME="absent")
    assert other.returncode == 1 and not calls and "MODELS=/exports" in other.stderr


@pytest.mark.skipif(shutil.which("bash") is None or shutil.which("timeout") is None, reason="needs bash and timeout")
def test_health_check_tells_a_served_model_from_an_absent_one(server: EmbeddedServer) -> None:
    port = server.url.rsplit(":", 1)[1]

    def exit_code(model: str, at: str) -> int:
        kind, *command = service(MODEL_NAME=model)["healthcheck"]["test"]
        assert kind == "CMD"
        command[-1] = command[-1].replace("/127.0.0.1/8501", f"/127.0.0.1/{at}")
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode

    assert exit_code("tiny", port) == 0
    assert exit_code("absent", port) != 0
    assert exit_code("tiny", "1") != 0


def test_batching_parameters_take_every_request_that_ranking_sends() -> None:
    found = fields((SERVING / "config" / "batching.pbtxt").read_text(encoding="utf-8"))
    # The fields of BatchingParameters (session_bundle_config.proto); an unknown one stops the server.
    known = {
        *("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads", "thread_pool_name"),
        *("pad_variable_length_inputs", "enable_large_batch_splitting", "max_execution_batch_size"),
    }
    assert found.keys() <= known
    assert int(found["max_batch_size"]) >= 1000 and int(found["max_execution_batch_size"]) >= 500
    assert found["enable_large_batch_splitting"] == "true" and int(found["batch_timeout_micros"]) <= 1000


def test_prometheus_scrapes_what_the_server_offers() -> None:
    (job,) = yaml.safe_load((SERVING / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    text = (SERVING / "config" / "monitoring.pbtxt").read_text(encoding="utf-8")
    assert re.findall(r'path: "(\S+)"', text) == [job["metrics_path"]] and "enable: true" in text
    assert job["static_configs"] == [{"targets": [f"serving:{flags(service()['command'])['rest_api_port']}"]}]
    assert flags(service()["command"])["monitoring_config_file"] == "/config/monitoring.pbtxt"


def test_only_the_profile_starts_prometheus_and_grafana() -> None:
    profiles = {name: settings.get("profiles") for name, settings in document()["services"].items()}
    assert profiles == {"trainer": None, "serving": None, "prometheus": ["monitoring"], "grafana": ["monitoring"]}


def test_grafana_finds_its_data_source_and_dashboards() -> None:
    grafana = SERVING / "grafana"
    (source,) = yaml.safe_load((grafana / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090" and source["type"] == "prometheus"
    (provider,) = yaml.safe_load((grafana / "provisioning/dashboards/serving.yaml").read_text())["providers"]
    settings = service("grafana")
    targets = {volume.split(":")[1]: SERVING / volume.split(":")[0] for volume in settings["volumes"]}
    assert targets[provider["options"]["path"]] == grafana / "dashboards"
    home = Path(settings["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (targets[str(home.parent)] / home.name).is_file()
    board = json.loads((grafana / "dashboards" / "serving.json").read_text(encoding="utf-8"))
    used = re.findall(r'"uid": "(\w+)"', json.dumps([board["panels"], board["templating"]]))
    assert set(used) == {source["uid"]}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_the_dashboard_asks_for_metrics_that_are_there() -> None:
    board = json.loads((SERVING / "grafana" / "dashboards" / "serving.json").read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    found = {name for text in expressions for name in re.findall(r":tensorflow:[a-z_:]+", text)}
    assert {re.sub("_(bucket|count)$", "", name) if "latency" in name else name for name in found} == METRICS
    for text in expressions:
        assert all(text.count(a) == text.count(b) for a, b in ("()", "{}", "[]")), text
        assert "histogram_quantile" not in text or "_bucket" in text
    # 0 where there is no failed request yet, so that the panel does not say "No data".
    (share,) = (panel for panel in board["panels"] if panel["title"] == "Share of requests with an error")
    assert all(target["expr"].endswith(' or 0 * sum(up{job="serving"} == 1)') for target in share["targets"])
    labels = {name for text in expressions for name in re.findall(r'(\w+)(?:=~|!~|!=|=)"', text)}
    assert labels == {"model_name", "status", "API", "model_path", "job"}
    recorded = RECORDINGS / "prometheus_metrics.txt"
    if recorded.exists():
        types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", recorded.read_text(encoding="utf-8"), re.M))
        for name in METRICS - {":tensorflow:cc:saved_model:load_attempt_count"}:  # the recording is an excerpt
            assert types[name] == ("histogram" if "latency" in name else "counter"), name


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool, which comes with Prometheus")
def test_the_share_of_errors_as_prometheus_works_it_out(tmp_path: Path) -> None:
    board = json.loads((SERVING / "grafana" / "dashboards" / "serving.json").read_text(encoding="utf-8"))
    (share,) = (panel for panel in board["panels"] if panel["title"] == "Share of requests with an error")
    expressions = [t["expr"].replace("$model", "htlnet").replace("$__rate_interval", "1m") for t in share["targets"]]

    def case(up: int, expected: list[float | None], **counts: str) -> dict[str, Any]:
        series = [{"series": 'up{job="serving"}', "values": f"{up}+0x20"}]
        for status, values in counts.items():
            name = f':tensorflow:serving:request_count{{model_name="htlnet",status="{status}"}}'
            series.append({"series": name, "values": values})
        samples = [[] if value is None else [{"labels": "{}", "value": value}] for value in expected]
        return {
            "interval": "15s",
            "input_series": series,
            "promql_expr_test": [
                {"expr": expression, "eval_time": "4m", "exp_samples": sample}
                for expression, sample in zip(expressions, samples, strict=True)
            ],
        }

    tests = tmp_path / "tests.yml"
    cases = [
        case(1, [0, 0]),  # just started
        case(1, [0, 0], OK="5+0x20"),  # no traffic
        case(1, [0, 0], OK="0+30x20"),  # nothing failed
        case(1, [0.25, 0], OK="0+30x20", INVALID_ARGUMENT="0+10x20"),
        case(1, [0.5, 0.25], OK="0+20x20", NOT_FOUND="0+10x20", INTERNAL="0+10x20"),
        case(0, [None, None]),  # down
    ]
    tests.write_text(yaml.safe_dump({"rule_files": [], "tests": cases}), encoding="utf-8")
    ran = subprocess.run(["promtool", "test", "rules", str(tests)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
