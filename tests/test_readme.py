"""The README's Python snippet runs as it stands (with the port of a server that is there)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.data.raw_features import raw_features
from htlnet_tf.data.synthetic import generate_funnel
from htlnet_tf.serving import EmbeddedServer
from tests.conftest import REPO, small_frame


def snippets() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (REPO / "README.md").read_text(encoding="utf-8"), re.S)


@pytest.mark.slow
def test_the_python_snippet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = small_frame(2000).rename(columns={"age": "register_days", "buy": "long_view", "spend": "watch_time"})
    rows.to_csv("impressions.csv", index=False)
    (whole,) = snippets()
    training, scoring = whole.split("# Under `htlnet serve models`")
    names: dict[str, object] = {}
    exec(training, names)
    with EmbeddedServer("models", port=0) as server:
        exec(scoring.split("\n", 1)[1].replace("http://localhost:8501", server.url), names)
    scores = names["scores"]
    assert isinstance(scores, pd.DataFrame)
    assert {"click", "long_view", "watch_time"} <= set(scores.columns)
    assert "watch_time" in str(names["report"])


def test_every_command_in_the_readme_exists() -> None:
    from htlnet_tf import cli

    text = (REPO / "README.md").read_text(encoding="utf-8")
    known = (
        *("demo", "inspect", "datasets", "train", "compare", "evaluate", "export", "versions", "promote", "rollback"),
        *("serve", "score", "parity", "bench"),
    )
    commands = set(re.findall(rf"htlnet ({'|'.join(known)})\b", text))
    assert commands == set(known)
    for command in commands:
        with pytest.raises(SystemExit) as exit_:
            cli._parse(["htlnet", command, "--help"])
        assert exit_.value.code == 0


def test_the_request_by_curl_fits_the_demos_model() -> None:
    text = (REPO / "README.md").read_text(encoding="utf-8")
    request = re.search(r"-d '(\{.*?\})'\n```", text, re.S)
    assert request is not None
    (row,) = json.loads(request.group(1))["instances"]
    shop = generate_funnel(1000)
    assert list(row) == [f.name for f in shop.schema.features]
    encoder = htl.FeatureEncoder.fit(shop.schema, shop.frame)
    assert raw_features(pd.DataFrame([row]), encoder.schema)
