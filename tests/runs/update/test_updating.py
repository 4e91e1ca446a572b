"""`htl.update`: what a run folder has after a further day, and what the training of a day is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.data.synthetic import generate_funnel
from htlnet_tf.encoding.encoded import encode_rows
from htlnet_tf.encoding.history import leave_own_out
from htlnet_tf.page.lineage import Lineage
from htlnet_tf.runs.config import RunConfig
from htlnet_tf.runs.drift import drift
from htlnet_tf.runs.exporting import export_run
from htlnet_tf.runs.folder import Run, load_config, load_model
from htlnet_tf.runs.gate import gate
from htlnet_tf.runs.lineage import load_lineage, parent_of
from htlnet_tf.runs.reference import Reference
from htlnet_tf.runs.training import load_test_rows, train
from htlnet_tf.runs.update.updating import Update, update

pytestmark = pytest.mark.usefixtures("undrawn")

SMALL = """
data: {loader: generated, num_rows: 4000}
model: {name: htlnet, arguments: {tower_units: [16, 8]}}
training: {epochs: 1, batch_size: 256}
calibration: {}
"""
DAY_MS = 86_400_000


def day_after(rows: int = 4000, days: int = 40, seed: int = 1, users: str = "") -> pd.DataFrame:
    """Rows of a later time, of which some users are new."""
    frame = generate_funnel(rows, seed=seed).frame
    frame["time_ms"] += days * DAY_MS
    if users:
        frame["user_id"] = frame.user_id.where(frame.index % 4 > 0, users)
    return frame


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    folder = tmp_path_factory.mktemp("days")
    (folder / "config.yaml").write_text(SMALL)
    config = RunConfig.from_yaml(folder / "config.yaml")
    statistics = dataclasses.replace(generate_funnel(1000).schema, statistics=htl.HistoryStatistics(of=("user_id",)))
    run = train(dataclasses.replace(config, schema=statistics), folder / "first", importance_rows=0, write=_silent)
    return run, folder / "first"


@pytest.fixture(scope="module")
def updated(trained: tuple[Run, Path]) -> tuple[Update, Path, list[str]]:
    """The first run with a further day, whose rows are in a file."""
    _, first = trained
    day, lines = first.parent / "day.parquet", list[str]()
    day_after(users="u_new").to_parquet(day)
    settings = htl.UpdateConfig(evict_after=1, half_life=3.0)
    done = update(first, day, first.parent / "second", settings=settings, write=lines.append)
    return done, first.parent / "second", lines


def _silent(line: str) -> None:
    del line


def test_the_folder_of_a_further_day_is_a_run_folder(
    trained: tuple[Run, Path], updated: tuple[Update, Path, list[str]]
) -> None:
    first, (done, folder, lines) = trained[1], updated
    files = {p.name for p in first.iterdir()} - {"learning_curves.png"}  # of one pass there would be one point
    assert {p.name for p in folder.iterdir()} == files | {"lineage.json", "progressive.json", "reference_met.parquet"}
    config, model = load_model(folder)
    assert config.update.half_life == 3.0
    assert (config.data.loader, config.data.path) == ("generic", str(first.parent / "day.parquet"))
    later = day_after(300, days=80, seed=2)
    pd.testing.assert_frame_equal(htl.predict(model, later), htl.predict(done.run.model, later))
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["num_rows"] == 400
    assert done.run.report.to_dict() == metrics
    page = (folder / "report.html").read_text()
    assert "Days" in page and "first training" in page and parent_of(first).digest in page
    assert any("embedding rows: user_id +1" in line for line in lines)
    assert "new user" in lines[0]


def test_the_lineage_tells_days_parents_and_values(
    trained: tuple[Run, Path], updated: tuple[Update, Path, list[str]]
) -> None:
    first, (done, folder, _) = trained[1], updated
    lineage = load_lineage(folder)
    assert lineage == done.lineage
    assert load_lineage(first) is None
    base, day = lineage.days if lineage else ()
    assert (base.kind, base.rows, base.parent) == ("train", 3200, None)
    assert (day.kind, day.rows, day.kept_moments) == ("update", 4000, True)
    rows = pd.read_parquet(first.parent / "day.parquet")
    assert (day.first, day.last) == (rows.time_ms.min(), rows.time_ms.max())
    assert day.parent is not None
    assert day.parent == parent_of(first)
    assert day.parent.path == str(first.resolve())
    _, before = load_model(first)
    _, after = load_model(folder)
    for name in ("user_id", "item_id"):
        old, new = (set(model.encoder.kinds[name].learned.values) for model in (before, after))
        assert (day.added[name], day.dropped[name]) == (len(new - old), len(old - new))
        assert new - old <= set(rows[name])
        assert old - new == old - set(rows[name])
    assert "u_new" in after.encoder.kinds["user_id"].learned.values
    assert day.embedding_rows == after.encoder.num_rows
    assert day.metrics["click"]["auc"] == done.progressive.reports["all"].value("click", "auc")


def test_a_day_is_predicted_before_it_is_learned_new_users_and_items_apart(
    trained: tuple[Run, Path], updated: tuple[Update, Path, list[str]]
) -> None:
    first, (done, folder, _) = trained[1], updated
    rows = pd.read_parquet(first.parent / "day.parquet")
    _, before = load_model(first)
    assert done.progressive.identities == {"user": "user_id", "item": "item_id"}
    assert done.progressive.reports["all"].to_dict() == htl.evaluate(before, rows).to_dict()
    known = set(before.encoder.kinds["user_id"].learned.values)
    new = rows[~rows.user_id.isin(known)]
    report = done.progressive.reports["new_user"]
    assert report.num_rows == len(new) >= 1000
    assert report.value("click", "auc") == pytest.approx(htl.evaluate(before, new).value("click", "auc"))
    document = json.loads((folder / "progressive.json").read_text())
    assert document["reports"].keys() == done.progressive.reports.keys()
    assert document["reports"]["new_user"]["num_rows"] == len(new)


def test_an_updated_run_has_no_test_rows_but_those_of_other_days(
    updated: tuple[Update, Path, list[str]], tmp_path: Path
) -> None:
    folder = updated[1]
    with pytest.raises(htl.InputError, match="has learned all rows"):
        load_test_rows(folder)
    day_after(300, days=80, seed=2).to_parquet(tmp_path / "later.parquet")
    assert sum(map(len, load_test_rows(folder, tmp_path / "later.parquet"))) == 300


def test_a_gate_on_rows_that_a_run_has_learned_says_so(
    updated: tuple[Update, Path, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    second = updated[1]
    few = ["gate.resamples=20"]
    gate(second, second.parent / "first", second.parent / "day.parquet", changes=few)
    (said,) = [record.getMessage() for record in caplog.records if "knows already" in record.getMessage()]
    assert "4,000 of the 4,000 rows" in said and f"'{second}'" in said and "judged on what it has learned" in said
    caplog.clear()
    gate(second, second.parent / "first", day_after(500, days=80, seed=4), changes=few)
    assert "knows already" not in caplog.text
    written = day_after(500, seed=4).assign(time_ms="2024-03-01")
    gate(second, second.parent / "first", written, changes=few)
    assert "cannot be told" in caplog.text


def test_days_follow_one_another(
    updated: tuple[Update, Path, list[str]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, before = updated[1], updated[0]
    again = day_after(days=40, seed=3, users="u_later")  # of the day that is known already
    done = update(folder, again, tmp_path / "third", write=_silent)
    assert [day.kind for day in done.lineage.days] == ["train", "update", "update"]
    assert done.lineage.days[:2] == before.lineage.days
    assert done.lineage.days[2].parent == parent_of(folder)
    assert done.lineage.days[2].data is None
    # All of its rows, for a further day is learned to its end.
    assert "4,000 of the 4,000 rows are from a time that the run" in caplog.text
    encoder = load_model(tmp_path / "third")[1].encoder
    assert (encoder.statistics.days, encoder.statistics.num_rows) == (3, 3200 + 4000 + 4000)
    assert "u_later" in encoder.kinds["user_id"].learned.values
    assert "u_new" not in encoder.kinds["user_id"].learned.values  # evict_after of the run: 1


def test_where_nothing_grows_a_day_is_a_fit_that_goes_on(trained: tuple[Run, Path], tmp_path: Path) -> None:
    run, first = trained
    rows = day_after()
    rows["user_id"], rows["item_id"] = (run.model.encoder.kinds[n].learned.values[0] for n in ("user_id", "item_id"))
    settings = htl.UpdateConfig(learn_all=False, epochs=2, learning_rate=3e-3)
    done = update(first, rows, tmp_path / "second", settings=settings, write=_silent)
    assert not any(done.lineage.days[1].added.values())
    model, encoder = run.trained[0].model, run.model.encoder
    weights = [variable.numpy() for variable in [*model.weights, *model.optimizer.variables]]
    tf.keras.utils.set_random_seed(1000)
    ordered = rows.sort_values("time_ms", kind="stable")
    sizes = [done.run.split.parts(rows).tolist().count(part) for part in range(3)]
    parts = [encode_rows(ordered[: sizes[0]], encoder), encode_rows(ordered[sizes[0] : sum(sizes[:2])], encoder)]
    model.optimizer.learning_rate.assign(3e-3)
    model.level_rows = htl.data.make_dataset(parts[1], model.schema, encoder, batch_size=8192)
    batches = htl.data.make_dataset(
        parts[0], model.schema, encoder, batch_size=256, shuffle=True, seed=1000, training=False
    )
    model.fit(batches, epochs=2, verbose=0)
    try:
        fresh = load_model(tmp_path / "second")[1]
        assert len(model.weights) == len(fresh.weights)
        for a, b in zip(model.weights, fresh.weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6, err_msg=a.name)
        assert int(done.run.trained[0].model.optimizer.iterations) == int(model.optimizer.iterations)
    finally:
        for variable, value in zip([*model.weights, *model.optimizer.variables], weights, strict=True):
            variable.assign(value)


def test_what_cannot_be_updated(trained: tuple[Run, Path], tmp_path: Path) -> None:
    first = trained[1]
    rows = day_after(1000)
    refused: list[tuple[Path, object, Path, str]] = [
        (tmp_path / "none", rows, tmp_path / "out", "no run folder"),
        (first, rows.drop(columns="country"), tmp_path / "out", "country"),
        (first, rows.drop(columns="spend"), tmp_path / "out", "spend"),
        (first, rows.iloc[:0], tmp_path / "out", "no rows"),
        (first, rows.iloc[:5], tmp_path / "out", "needs at least|needs some"),
        (first, tmp_path / "nothing.parquet", tmp_path / "out", "nothing.parquet"),
        (first, rows.assign(click=2), tmp_path / "out", "click"),
        (first, rows, first, "own"),
        (first, rows, first.parent / "config.yaml", "file"),
    ]
    for run, day, output, message in refused:
        with pytest.raises(htl.InputError, match=message):
            update(run, day, output, write=_silent)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
    with pytest.raises(htl.InputError, match="negative"):
        update(first, rows, tmp_path / "out", importance_rows=-1)


@pytest.mark.slow
def test_a_servable_tells_its_days(updated: tuple[Update, Path, list[str]], tmp_path: Path) -> None:
    folder = updated[1]
    exported = export_run(folder, tmp_path / "models" / "htlnet")
    summary = json.loads((exported.path / "assets.extra" / "training_summary.json").read_text())
    assert [day["kind"] for day in summary["lineage"]["days"]] == ["train", "update"]
    assert exported.verified_rows >= 400


@pytest.mark.slow
def test_members_and_runs_without_an_optimizer_s_state(
    trained: tuple[Run, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = trained[0].trained[0].model
    htl.save_run(htl.Ensemble([model, load_model(trained[1])[1]]), tmp_path / "two")
    done = update(tmp_path / "two", day_after(users="u_new"), tmp_path / "third", write=_silent)
    assert "moments begin at 0" in caplog.text
    assert done.lineage.days[1].kept_moments is False
    assert len(done.run.trained) == 2
    assert load_config(tmp_path / "third").training.ensemble == 2
    again = update(tmp_path / "third", day_after(seed=5, days=60), tmp_path / "fourth", write=_silent)
    assert again.lineage.days[2].kept_moments
    later = day_after(300, days=80, seed=2)
    loaded = load_model(tmp_path / "fourth")[1]
    pd.testing.assert_frame_equal(htl.predict(loaded, later), htl.predict(again.run.model, later))


@pytest.mark.slow
def test_days_of_files_that_are_streamed(tmp_path: Path) -> None:
    schema = generate_funnel(1000).schema
    for name, frame in {"first": generate_funnel(4000).frame, "second": day_after(users="u_new")}.items():
        (tmp_path / name).mkdir()
        for part in range(2):
            frame.iloc[part::2].to_parquet(tmp_path / name / f"{part}.parquet")
    (tmp_path / "config.yaml").write_text(
        SMALL.replace("loader: generated, num_rows: 4000", f"loader: generic, streaming: true, path: {tmp_path}/first")
    )
    config = dataclasses.replace(RunConfig.from_yaml(tmp_path / "config.yaml"), schema=schema)
    train(config, tmp_path / "run", importance_rows=0, write=_silent)
    done = update(tmp_path / "run", tmp_path / "second", tmp_path / "run2", write=_silent)
    assert done.lineage.days[1].rows == 4000
    assert done.lineage.days[1].added["user_id"] >= 1
    assert load_config(tmp_path / "run2").data.streaming


def test_a_lineage_reads_what_it_wrote(updated: tuple[Update, Path, list[str]], tmp_path: Path) -> None:
    lineage = updated[0].lineage
    (tmp_path / "lineage.json").write_text(lineage.to_json())
    assert Lineage.load(tmp_path / "lineage.json") == lineage
    (tmp_path / "lineage.json").write_text('{"days": 3}')
    with pytest.raises(htl.InputError, match="days"):
        load_lineage(tmp_path)


def test_the_day_after_is_compared_with_a_day_as_it_was_met(updated: tuple[Update, Path, list[str]]) -> None:
    """A quarter of each day's rows are of a new user: that is no news, though this day's new user is known by now."""
    _, second, _ = updated
    before, after = (load_model(second.parent / name)[1].encoder for name in ("first", "second"))
    reference = Reference.load(second)
    assert reference.met is not None
    share = before.encode(reference.valid)["ids"][:, before.slots_of("user_id")] == before.blocks["user_id"].unknown
    assert share.mean() > 0.2
    report = drift(second, day_after(days=80, seed=2, users="u_newer"))
    user = report.features["user_id"]
    assert user.unknown_before == pytest.approx(share.mean())
    assert not any(one.of == "user_id" for one in report.beyond), report.to_text()
    # In the statistics no row sees itself.
    encoded = after.encode(reference.valid)
    own = encoded["numeric"].copy()
    leave_own_out(after, reference.valid, encoded)
    users = after.kinds["user_id"]
    column = after.value_columns["user_id.click"].start
    kind = after.kinds["user_id.click"]
    block = after.blocks["user_id"]
    sums, weights = kind.learned.sums.astype(float), kind.learned.weights.astype(float)
    for row, user in enumerate(reference.valid["user_id"].head(50)):
        at = block.first - block.start + users.learned.values.index(user)
        click = reference.valid["click"].iloc[row]
        expected = kind.standardised(weights[[at]] - 1, sums[[at]][np.newaxis] - click)[0, 0]
        assert encoded["numeric"][row, column] == pytest.approx(expected, abs=1e-5)
    assert not np.array_equal(encoded["numeric"], own)
