"""`htlnet update`: what it prints, and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from htlnet_tf.data.synthetic import generate_funnel
from tests.conftest import htlnet


@pytest.fixture
def day(tmp_path: Path) -> str:
    frame = generate_funnel(2000, seed=1).frame
    frame["time_ms"] += 40 * 86_400_000
    frame.to_parquet(tmp_path / "day.parquet")
    return str(tmp_path / "day.parquet")


def test_wrong_input_ends_with_2(
    command_run: tuple[str, str], day: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = command_run[0], str(tmp_path / "out")
    for words, message in [
        ((run, "--data", "nowhere.parquet", "--output", out), "nowhere.parquet"),
        ((run, "--data", day, "--output", out, "--set", "half_life=-1"), "update.half_life"),
        ((run, "--data", day, "--output", out, "--set", "halflife=1"), "there is no such field"),
        ((run, "--data", day, "--output", run), "another run folder"),
        ((str(tmp_path), "--data", day, "--output", out), "no run folder"),
    ]:
        assert htlnet("update", *words) == 2
        assert message in capsys.readouterr().err
    assert not Path(out).exists()


@pytest.mark.slow
def test_a_day_from_the_command_line(
    command_run: tuple[str, str], day: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second, third = str(tmp_path / "second"), str(tmp_path / "third")
    assert htlnet("update", command_run[0], "--data", day, "--output", second, "--set", "half_life=7") == 0
    printed = capsys.readouterr().out
    assert "as predicted before it is learned" in printed
    assert f"written to {second}" in printed
    assert htlnet("evaluate", second) == 2
    assert "has learned all rows" in capsys.readouterr().err
    assert htlnet("update", second, "--data", day, "--output", third, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [d["kind"] for d in document["lineage"]["days"]] == ["train", "update", "update"]
    assert document["progressive"]["reports"]["all"]["num_rows"] == 2000
    assert set(document["seconds"]) == {"load", "predict", "grow", "carry", "learn", "save", "page"}
    assert htlnet("report", third, "--output", str(tmp_path / "page.html")) == 0
    assert "The runs before" in (tmp_path / "page.html").read_text()
