"""A server with the demo's kind of model, which the pages' requests are sent to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from htlnet_tf.export import promote
from htlnet_tf.serving import EmbeddedServer


@pytest.fixture(scope="session")
def url(command_export: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server that has what `make demo` leaves: version 1 with the label `stable`."""
    models = tmp_path_factory.mktemp("served") / "models"
    shutil.copytree(command_export[0], models)
    promote(models, "htlnet", 1)
    with EmbeddedServer(models, port=0, enable_model_warmup=False) as server:
        yield server.url
