"""The whole stack on a Docker engine: a fresh checkout, `docker compose up --wait`, requests, restarts, the end.

It trains the demo's model in a container and takes minutes: `make test-stack`. The project has another name and address
than a stack that a user has running, so both can be up; the images have the names that the compose file gives them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import REPO

PROJECT = f"htlnet-test-{os.getpid()}"
ADDRESS = "127.0.0.2"  # another loopback address than the default: Linux has them all
TARGETS = {"click", "purchase", "spend"}
DEVELOPMENT = {"pytest", "hypothesis", "mypy", "ruff", "optuna", "pandas-stubs", "jsonschema"}


def _why_not() -> str:
    """Why the stack cannot be run here; empty if it can."""
    for command in (["docker", "info"], ["docker", "compose", "version"], ["git", "--version"]):
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"'{' '.join(command)}' cannot be run: {error}"
        if ran.returncode:
            return f"'{' '.join(command)}' fails: {' '.join((ran.stderr or ran.stdout).split())[:200]}"
    return ""


@pytest.fixture(scope="module", autouse=True)
def engine() -> None:
    reason = _why_not()
    if reason:
        pytest.skip(reason)


pytestmark = pytest.mark.docker


class Stack:
    """A checkout of what is tracked here, and the compose project that is made of it."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True, check=True).stdout
        for name in filter(None, listed.split("\0")):
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPO / name, checkout / name)

    def run(self, *command: str, good: bool = True, **environment: str) -> str:
        """Runs a command in the checkout and returns what it printed, both streams."""
        ran = subprocess.run(
            command,
            cwd=self.checkout,
            env=os.environ | {"COMPOSE_PROJECT_NAME": PROJECT, "BIND": ADDRESS, "MODELS": ""} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=3000,
            check=False,
        )
        assert (ran.returncode == 0) == good, f"{command} ended with {ran.returncode}:\n{ran.stdout[-4000:]}"
        return ran.stdout

    def compose(self, *command: str, good: bool = True, **environment: str) -> str:
        return self.run("docker", "compose", *command, good=good, **environment)

    def volume(self, script: str) -> str:
        """Runs a shell script where the models' volume is mounted, as the server's user."""
        mount = f"{PROJECT}_trained:/models"
        return self.run("docker", "run", "--rm", "-v", mount, "--entrypoint", "sh", "htlnet-trainer", "-c", script)


@pytest.fixture(scope="module")
def stack(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("checkout"))
    stack.compose("build", "trainer")
    try:
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "10")


@pytest.fixture(scope="module")
def served(stack: Stack) -> Iterator[Stack]:
    """Trained and served, from nothing."""
    try:
        stack.compose("up", "--wait")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{stack.compose('logs', 'trainer', 'serving')[-4000:]}") from error
    yield stack


def _documented_request(stack: Stack) -> str:
    text = (stack.checkout / "docs" / "serving.md").read_text(encoding="utf-8")
    (request,) = re.findall(r"^curl http://localhost:8501/v1/models/htlnet:predict -d '\{.*?\}'$", text, re.S | re.M)
    return str(request)


def _curl(stack: Stack) -> dict[str, float]:
    """The request of docs/serving.md, as it stands there but for the address."""
    request = _documented_request(stack).replace("localhost", ADDRESS)
    answer = stack.run("bash", "-c", f"{request} --silent --show-error --fail --max-time 30")
    (scores,) = json.loads(answer)["predictions"]
    return dict(scores)


@pytest.mark.parametrize("user", ["10001:10001", "1234:1234"])
def test_a_new_volume_takes_the_trainers_files_for_any_user(stack: Stack, user: str) -> None:
    # `up` makes the containers of all services before it starts the first one.
    stack.compose("up", "--no-start", SERVING_USER=user)
    script = "mkdir /models/htlnet && touch /models/htlnet/x && mv /models/htlnet /models/y && id -u && id -g"
    written = stack.compose(
        "run", "--rm", "--no-deps", "--entrypoint", "sh", "trainer", "-c", script, SERVING_USER=user
    )
    assert written.split()[-2:] == user.split(":")
    stack.compose("down", "--volumes")


def test_a_volume_that_cannot_be_written_to_ends_before_the_training(stack: Stack) -> None:
    stack.compose("up", "--no-start")
    lock = ["run", "--rm", "--no-deps", "--user", "0", "--entrypoint", "sh", "trainer", "-c", "chmod 755 /models"]
    stack.compose(*lock)
    stack.compose("up", "--wait", good=False)
    logs = stack.compose("logs", "trainer")
    assert "error: user 10001:10001 cannot write to /models, which is owned by 0:0 with mode 755" in logs
    stack.compose("down", "--volumes")


def test_the_documented_request_is_answered(served: Stack) -> None:
    scores = _curl(served)
    assert scores.keys() == TARGETS and 0 < scores["click"] < 1 and scores["spend"] >= 0
    stable = httpx.get(f"http://{ADDRESS}:8501/v1/models/htlnet/labels/stable/metadata", timeout=30)
    assert stable.json()["model_spec"]["version"] == "1"


def test_every_file_is_the_same_project(served: Stack) -> None:
    for files in (["compose.yaml"], ["serving/docker-compose.yml"]):
        arguments = [argument for file in files for argument in ("-f", file)]
        environment = {"COMPOSE_PROJECT_NAME": ""}
        config = json.loads(served.compose(*arguments, "config", "--format", "json", **environment))
        assert config["name"] == "htlnet-serving"
    before = served.compose("ps", "--quiet")
    served.compose("-f", "serving/docker-compose.yml", "up", "--wait")
    assert served.compose("ps", "--quiet") == before


def test_the_trainer_holds_no_tools_of_the_tests(served: Stack) -> None:
    command = ["docker", "run", "--rm", "--entrypoint", "python", "htlnet-trainer", "-m", "pip", "list"]
    listed = served.run(*command, "--format", "freeze", "--disable-pip-version-check")
    installed = set(re.findall(r"^([\w.-]+)==", listed.lower(), re.M))
    assert {"htlnet-tf", "tensorflow"} <= installed and not DEVELOPMENT & installed


def test_a_damaged_version_does_not_stop_a_restart(served: Stack) -> None:
    before = _curl(served)
    served.volume(
        "mkdir /models/htlnet/2 /models/htlnet/3 && echo damaged > /models/htlnet/2/saved_model.pb"
        " && cp -r /models/htlnet/1/. /models/htlnet/3 && truncate -s 99 /models/htlnet/3/variables/variables.data-*"
    )
    served.compose("restart", "serving")
    served.compose("up", "--wait")
    logs = served.compose("logs", "serving")
    for version in (2, 3):
        assert f"start.sh: version {version} of htlnet cannot be loaded" in logs
    assert _curl(served) == before
    served.volume("rm -r /models/htlnet/2 /models/htlnet/3")


def test_an_export_is_served_without_training_and_a_relative_path_refused(served: Stack, tmp_path: Path) -> None:
    scores = _curl(served)
    served.compose("cp", "serving:/models/.", str(tmp_path / "models"))
    served.run("chmod", "-R", "a+rX", str(tmp_path / "models"))
    served.compose("up", "--wait", MODELS=str(tmp_path / "models"))
    logs = served.compose("logs", "trainer", MODELS=str(tmp_path / "models"))
    assert "has htlnet, version 1: nothing to train" in logs and _curl(served) == scores

    served.compose("up", "--wait", good=False, MODELS="./models")
    assert "must be an absolute path" in served.compose("logs", "trainer", MODELS="./models")
    assert "undefined volume" in served.compose("up", "--wait", good=False, MODELS="models")


def test_down_takes_all_of_it_away(served: Stack) -> None:
    served.compose("down", "--volumes")
    for kind in ("container", "volume", "network"):
        options = ["--all"] if kind == "container" else []
        label = f"label=com.docker.compose.project={PROJECT}"
        assert not served.run("docker", kind, "ls", *options, "--quiet", "--filter", label).strip()
