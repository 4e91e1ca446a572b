"""The command line: the main job end to end on few rows, exit codes, and clear messages."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from htlnet_tf import __version__
from htlnet_tf.data.synthetic import generate_funnel
from htlnet_tf.demo import run_demo
from htlnet_tf.errors import InputError, VerificationError
from htlnet_tf.runs.config import RunConfig
from htlnet_tf.schema import Schema
from htlnet_tf.serving import EmbeddedServer
from tests.conftest import SMALL_CONFIG, htlnet
from tests.page.pages import read


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL_CONFIG)
    return path


@pytest.fixture(scope="module")
def trained(command_run: tuple[str, str]) -> tuple[str, str]:
    """The folder of a run, and what `htlnet train` printed."""
    return command_run


@pytest.fixture(scope="module")
def exported(command_export: tuple[Path, str]) -> tuple[Path, str]:
    """MODELS with version 1 of that run, and what `htlnet export` printed."""
    return command_export


def test_train_evaluate_export_serve_score(
    config: Path,
    trained: tuple[str, str],
    exported: tuple[Path, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, printed_by_train = trained
    none, scores = (str(tmp_path / name) for name in ("models", "scores.csv"))
    assert htlnet("evaluate", run) == 0
    evaluated = capsys.readouterr().out.strip()
    assert evaluated in printed_by_train
    assert htlnet("evaluate", run, "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads((Path(run) / "metrics.json").read_text())
    for name in ("../x", "", "12"):
        assert htlnet("export", run, "--to", none, "--name", name) == 2
    assert "a model's name is letters" in capsys.readouterr().err
    assert not Path(none).exists()
    models, printed_by_export = exported
    assert "htlnet/1: " in printed_by_export
    rows = generate_funnel(4000).frame.head(25)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    with EmbeddedServer(models, port=0) as server:
        url = ("--url", server.url)
        assert htlnet("score", *url, "--input", str(tmp_path / "rows.csv"), "--output", scores) == 0
        assert htlnet("score", *url, "--input", str(tmp_path / "rows.csv")) == 0
        printed = capsys.readouterr().out
        assert htlnet("score", *url, "--input", str(tmp_path / "none.csv")) == 2
        assert htlnet("score", *url, "--input", str(config)) == 2
        rows.drop(columns="price").to_csv(tmp_path / "short.csv", index=False)
        assert htlnet("score", *url, "--input", str(tmp_path / "short.csv")) == 2
        assert "'price'" in capsys.readouterr().err
        assert htlnet("score", *url, "--name", "other", "--input", str(tmp_path / "rows.csv")) == 1
        # As another table writes the same rows: by its schema the scores are the same.
        schema = Schema.from_dict(RunConfig.from_yaml(Path(run) / "config.yaml").schema.to_dict() | {"delimiter": ";"})
        schema = schema.with_features(
            dataclasses.replace(f, column="the price", decimal=",") if f.name == "price" else f for f in schema.features
        )
        schema.to_yaml(tmp_path / "other.yaml")
        other = ("--input", str(tmp_path / "other.csv"))
        rows.rename(columns={"price": "the price"}).to_csv(tmp_path / "other.csv", index=False, sep=";", decimal=",")
        assert htlnet("score", *url, *other, "--schema", str(tmp_path / "other.yaml")) == 0
        assert capsys.readouterr().out == printed
        assert htlnet("score", *url, *other) == 2
        assert "--schema" in capsys.readouterr().err
        assert htlnet("score", *url, "--input", str(tmp_path / "rows.csv"), "--schema", run) == 0
        assert capsys.readouterr().out == printed
    assert len(pd.read_csv(scores)) == 25
    assert printed == Path(scores).read_text()
    assert htlnet("score", *url, "--input", str(tmp_path / "rows.csv")) == 1
    assert "error: " in capsys.readouterr().err


def test_the_page_is_written_again(
    trained: tuple[str, str], exported: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, output = trained[0], tmp_path / "page.html"
    assert htlnet("report", run, "--output", str(output)) == 0
    assert f"written to {output}" in capsys.readouterr().out
    page = output.read_text(encoding="utf-8")
    # Training knew the folder by the name that the fixture built it under; nothing else differs.
    built = (Path(run) / "report.html").read_text(encoding="utf-8")
    assert page == built.replace(f"{Path(run).parent}.partial", str(Path(run).parent))
    written = read(page)
    metrics = json.loads((Path(run) / "metrics.json").read_text())["metrics"]
    shown = {row[0]: row[1] for row in written.tables["click (binary)"]}
    assert float(shown["AUC ↑"]) == round(metrics["click"]["auc"], 4)
    assert {"quality", "calibration", "gains", "importance", "learning", "data", "serving"} <= set(written.ids)
    version = exported[0] / "htlnet" / "1"
    again = ("report", run, "--output", str(output), "--servable", str(version))
    assert htlnet(*again, "--importance", "0") == 0
    written = read(output.read_text(encoding="utf-8"))
    assert "htlnet, version 1" in written.text
    assert "importance" not in written.ids
    assert htlnet("report", run, "--output", str(output), "--importance", "100") == 0
    written = read(output.read_text(encoding="utf-8"))
    assert "on 100 test rows" in written.text
    assert {row[0]: row[1] for row in written.tables["click (binary)"]} == shown
    assert htlnet("report", run, "--servable", str(tmp_path)) == 2
    assert "no version's folder" in capsys.readouterr().err
    assert htlnet("report", run, "--importance", "-1") == 2
    assert htlnet("report", str(tmp_path / "none")) == 2


@pytest.mark.slow
def test_the_demo_goes_on_from_what_an_earlier_one_left(
    config: Path, trained: tuple[str, str], exported: tuple[Path, str], tmp_path: Path
) -> None:
    output, models = tmp_path / "runs" / "demo", tmp_path / "models"
    shutil.copytree(trained[0], output)  # what a first demo leaves: a run folder, and version 1
    shutil.copytree(exported[0], models)
    lines: list[str] = []
    version = run_demo(config=RunConfig.from_yaml(config), output=output, models=models, write=lines.append)
    assert version.version == 2
    text = "\n".join(lines)
    assert "Shared-Bottom" in text
    assert len(re.findall(r"^  user_id ", text, re.M)) == 3
    assert {"learning_curves.png", "gradients.png"} < {p.name for p in output.iterdir()}
    commands = re.findall(r"^  (htlnet serve|htlnet evaluate|MODELS=\S+ docker compose) ", text, re.M)
    assert len(commands) == 3
    assert sorted(p.name for p in (models / "htlnet").iterdir() if p.is_dir()) == ["1", "2"]
    # The candidates of a user are ranked, the best first.
    block = next(line for line in lines if line.startswith("  user_id"))
    for user in block.split("  user_id ")[1:]:
        amounts = [float(row.split()[-1].replace(",", "")) for row in user.splitlines()[2:]]
        assert amounts == sorted(amounts, reverse=True)


STREAMED = ["generated", "--set", "data.loader=generic", "--set", "data.streaming=true"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nothing", "--output", "r"], "no configuration 'nothing'"),
        (["train", "kuairand_pure", "--output", "r"], "needs a path"),
        (["train", "kuairand_pure", "--data", "none", "--output", "r"], "none"),
        (["train", "generated", "--data", "none", "--output", "r"], "reads no data"),
        (["compare", "generated", "--models", "a", "--output", "r"], "'a' is not known"),
        (["compare", "generated", "--methods", "adam", "--output", "r"], "method 'adam' is not known"),
        (["compare", "generated", "--seeds", "0", "--output", "r"], "at least one seed"),
        (["compare", "kuairand_pure", "--data", "none", "--output", "r"], "none"),
        (["compare", "generated", "--set", "data.rows=3", "--output", "r"], "data.rows"),
        (["compare", *STREAMED, "--references", "--output", "r"], "'glm' is fitted on encoded rows in memory"),
        (["train", "generated", "--set", "training.epochs=none", "--output", "r"], "training.epochs"),
        (["evaluate", "none"], "no run folder"),
        (["export", "none", "--to", "m"], "no run folder"),
        (["serve", "none"], "none"),
        (["train", "kuairand_pure.schema", "--output", "r"], "no configuration"),
    ],
)
def test_wrong_input_ends_with_2_and_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert htlnet(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_failed_verification_ends_with_1(
    trained: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = trained
    (tmp_path / "file").write_text("x")
    assert htlnet("export", run, "--to", str(tmp_path / "file")) == 2
    capsys.readouterr()

    def differs(*_: object, **__: object) -> None:
        raise VerificationError("'spend' differs at row 0")

    # What differs, and how that is told, is for tests/export/test_verify.py: with the work it takes to find it.
    monkeypatch.setattr("htlnet_tf.export.publish.verify", differs)
    assert htlnet("export", run, "--to", str(tmp_path / "models")) == 1
    *stages, last = capsys.readouterr().err.splitlines()
    assert last == "error: 'spend' differs at row 0"
    assert stages[-1].startswith("write: ")  # what was done until then was told
    assert [p for p in (tmp_path / "models" / "htlnet").iterdir() if p.is_dir()] == []


def test_the_demo_replaces_run_folders_only(config: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_text("x")
    with pytest.raises(InputError, match="not a run folder"):
        run_demo(config=RunConfig.from_yaml(config), output=tmp_path / "mine", models=tmp_path / "m")
    assert (tmp_path / "mine" / "precious").exists()


@pytest.mark.parametrize("arguments", [[], ["fly"], ["train", "generated"], ["compare", "generated", "--seeds", "x"]])
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        htlnet(*arguments)
    assert exit_.value.code == 2


def test_a_stop_by_sigterm_leaves_checkpoints_alone(tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("htlnet"), "train", "generated", "--output", str(tmp_path / "run")]
    # Without an end of its own, so that it is under way when the signal comes.
    command += [
        "--set",
        "data.num_rows=20000",
        "--set",
        "training.epochs=10000",
        "--set",
        "training.early_stopping=false",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the rows are there, training begins
        assert list(tmp_path.glob(".run.*.partial"))
        process.stdout.readline()  # the first validation is done
        process.terminate()
        assert process.wait(120) == 143
    assert [path.name for path in tmp_path.iterdir()] == [".run.checkpoints"]
    assert not list(tmp_path.rglob("*.partial"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert "training goes on in epoch" in process.stdout.readline()
        process.terminate()
        assert process.wait(120) == 143


def test_the_installed_command() -> None:
    command = Path(sys.executable).with_name("htlnet")
    help_ = subprocess.run([command, "--help"], check=True, capture_output=True, text=True)
    assert "demo" in help_.stdout
    for start in ([command], [sys.executable, "-m", "htlnet_tf"]):
        version = subprocess.run([*start, "--version"], check=True, capture_output=True, text=True)
        assert version.stdout == f"htlnet {__version__}\n"
    failed = subprocess.run([command, "evaluate", "/none"], check=False, capture_output=True, text=True)
    assert failed.returncode == 2
    assert "Traceback" not in failed.stderr


def test_what_is_found_is_printed_even_if_no_schema_can_be_drafted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate_funnel(1000).frame.drop(columns="spend").to_csv(tmp_path / "t.csv", index=False)
    draft = ("--write_schema", str(tmp_path / "s.yaml"))
    assert htlnet("inspect", str(tmp_path / "t.csv"), *draft) == 2
    printed = capsys.readouterr()
    assert "Funnel: none found" in printed.out
    assert "--targets click,buy,spend" in printed.err
    assert htlnet("inspect", str(tmp_path / "t.csv"), "--write_config", str(tmp_path / "c.yaml")) == 2
    assert "--write_schema" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv"]


@pytest.mark.slow
def test_a_table_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files -> inspect -> schema -> train -> evaluate on other files: no code in between."""
    frame = generate_funnel(3000).frame
    frame.loc[17, "spend"] = -3.0
    (tmp_path / "logs").mkdir()
    for i in range(3):
        frame.iloc[1000 * i : 1000 * (i + 1)].to_parquet(tmp_path / "logs" / f"part-{i}.parquet", index=False)
    schema, logs = tmp_path / "my.schema.yaml", str(tmp_path / "logs")
    funnel = ("--targets", "click,purchase,spend", "--timestamp", "time_ms")
    assert htlnet("inspect", logs, *funnel, "--write_schema", str(schema)) == 0
    assert "non_negative: false" in schema.read_text()  # as the rows have it; the owner knows better
    schema.write_text(schema.read_text().replace(", non_negative: false", ""))
    assert "Rows per day" in capsys.readouterr().out
    assert htlnet("inspect", logs, *funnel, "--write_schema", str(schema)) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert htlnet("inspect", logs, "--schema", str(schema), "--json") == 1  # the table is not so as the schema says
    inspected = json.loads(capsys.readouterr().out)
    assert inspected["rows"] == 3000
    assert [(b["column"], b["row"]) for b in inspected["broken_rules"]] == [("spend", 17)]

    config, run = tmp_path / "my.yaml", tmp_path / "run"
    document = f"""
data: {{loader: generic, path: "{logs}/*.parquet", streaming: true, on_bad_rows: skip}}
schema: my.schema.yaml
split: {{by: hash, column: user_id, fractions: [0.6, 0.2, 0.2]}}
model: {{name: htlnet, arguments: {{tower_units: [16, 8]}}}}
training: {{epochs: 1, batch_size: 256}}
"""
    config.write_text(document.replace("on_bad_rows: skip", "on_bad_rows: error"))
    assert htlnet("train", str(config), "--output", str(run)) == 2
    assert re.search(r"part-0\.parquet, column 'spend', row 17: .*negative.*-3", capsys.readouterr().err)
    assert not run.exists()
    config.write_text(document)
    assert htlnet("train", str(config), "--output", str(run)) == 0
    trained = capsys.readouterr().out
    assert "1 bad rows were skipped" in trained
    assert "out of vocabulary (from 1% of the values): user_id 100.0%" in trained
    assert pd.read_csv(run / "bad_rows.csv")["row"].tolist() == [17]
    assert (run / "split.yaml").is_file()
    assert htlnet("evaluate", str(run)) == 0
    assert capsys.readouterr().out.strip() in trained
    # Rows of the same users in another format fall to the same part by the saved rule.
    frame.drop(index=17).to_csv(tmp_path / "all.csv", index=False)
    assert htlnet("evaluate", str(run), "--data", str(tmp_path / "all.csv")) == 0
    assert capsys.readouterr().out.strip() in trained
    assert htlnet("export", str(run), "--to", str(tmp_path / "models")) == 0


def test_data_sets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert htlnet("datasets") == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("kuairand_pure", "valued_shoppers", "hillstrom", "complete_journey"))
