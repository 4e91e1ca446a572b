"""tensorflow_model_server as far as its start goes, for the tests of serving/config/start.sh.

The recorded server (api.md, sections 11 and 12) exits with these lines when a version that its configuration names
cannot be loaded while it starts, opens the REST port when all are loaded, and polls the file. Here a version that holds
a file `damaged` cannot be loaded. What it is called with and loads goes to the file $LOG, a line of JSON each.
With $WORDS it fails with the text of that file.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig


def aspired(model: ModelConfig) -> list[int]:
    """The versions that the policy names, of those on disk."""
    found = sorted(int(child.name) for child in Path(model.base_path).iterdir() if child.name.isdigit())
    policy = model.model_version_policy
    if policy.HasField("all"):
        return found
    if policy.HasField("specific"):
        return [version for version in found if version in policy.specific.versions]
    return found[-(policy.latest.num_versions or 1) :]


def main() -> None:
    """Starts as the flags say, and stays until it is killed."""
    given = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[1:])

    def read() -> ModelServerConfig:
        config = ModelServerConfig()
        if "model_config_file" in given:
            return text_format.Parse(Path(given["model_config_file"]).read_text(encoding="utf-8"), config)
        config.model_config_list.config.add(name=given["model_name"], base_path=given["model_base_path"])
        return config

    def log(**values: object) -> None:
        with Path(os.environ["LOG"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    models = list(read().model_config_list.config)
    wanted = {model.name: aspired(model) for model in models}
    log(flags=sys.argv[1:], start=wanted)
    damaged = [
        f"{{name: {model.name} version: {version}}}"
        for model in models
        for version in wanted[model.name]
        if (Path(model.base_path) / str(version) / "damaged").exists()
    ]
    if damaged and "WORDS" in os.environ:
        sys.exit(Path(os.environ["WORDS"]).read_text(encoding="utf-8"))
    if damaged:
        error = "NOT_FOUND: Specified file path does not appear to contain a SavedModel bundle\nSpecified file path: x"
        for servable in damaged:
            print(f"E0000 00:00:1 9 manager.cc:420] Servable {servable} cannot be loaded: {error}", file=sys.stderr)
        listed = ", ".join(f"{{{servable} due to error: {error}}}" for servable in damaged)
        reason = f"UNKNOWN: {len(damaged)} servable(s) did not become available: {{{listed}, }}"
        print(f"Failed to start server. Error: {reason}")
        sys.exit(255)
    with socket.create_server(("127.0.0.1", int(given["rest_api_port"]))):
        while True:
            now = {model.name: aspired(model) for model in read().model_config_list.config}
            if now != wanted:
                log(polled=now)
                wanted = now
            time.sleep(0.1)


if __name__ == "__main__":
    main()
