"""Small generated rows and the models that tests share; importing the package first makes tf.keras Keras 2."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import io
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if "htlnet_tf" not in sys.modules:  # a script of the tests may have imported it before this file
    os.environ.pop("TF_USE_LEGACY_KERAS", None)  # the package sets it; test_imports.py looks at that

import hypothesis
import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf import locks

REPO = Path(__file__).resolve().parents[1]
DAILY_SECONDS = 20
# How long an example takes is the machine's affair.
hypothesis.settings.register_profile("htlnet", deadline=None)
hypothesis.settings.load_profile("htlnet")
KUAIRAND = REPO.parent / "shared" / "data" / "kuairand_pure_10days"


def pytest_collection_finish() -> None:
    """What is imported is there to stay: no collection of garbage need walk its half a million objects again."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Notes what a test of every day takes of the processor. It fails none: that is the machine's affair."""
    before = time.process_time()
    yield
    used = time.process_time() - before
    if used > DAILY_SECONDS and not any(item.get_closest_marker(mark) for mark in ("slow", "docker")):
        item.user_properties.append(("long", used))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Names the tests that should be made smaller, or be marked slow."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    for report in reports:
        for name, used in getattr(report, "user_properties", ()):
            if name == "long" and report.when == "call":
                terminalreporter.write_line(f"{report.nodeid} took {used:.0f} s of the processor: smaller, or slow")


def small_frame(num_rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """Rows with every kind of column: strings, whole numbers, lists, numbers, gaps."""
    random = np.random.default_rng(seed)
    user = random.integers(0, 20, num_rows)
    frame = pd.DataFrame(
        {
            "user_id": [f"u{u}" for u in user],
            "item_id": random.integers(-5, 30, num_rows),
            "tag": random.choice(["a", "a,b", "b, c,a", "", "d"], num_rows),
            "age": random.normal(40.0, 10.0, num_rows),
            "price": random.exponential(20.0, num_rows),
            "tab": random.integers(0, 3, num_rows),
            "time_ms": np.arange(num_rows) * 1000,
        }
    )
    frame.loc[::17, "age"] = np.nan
    frame.loc[5::29, "user_id"] = None
    click = random.random(num_rows) < 0.2 + 0.02 * user
    buy = click & (random.random(num_rows) < 0.5)
    frame["click"] = click.astype(int)
    frame["buy"] = buy.astype(int)
    frame["spend"] = np.where(buy, frame["price"] * random.lognormal(0, 0.3, num_rows), 0.0)
    return frame


BuildOnce = Callable[[str, Callable[[Path], Any]], Path]


@pytest.fixture(scope="session")
def build_once(tmp_path_factory: pytest.TempPathFactory) -> BuildOnce:
    """Gives a folder that is built once for all workers: `build_once(name, build)`, where `build` fills a new folder.

    Whoever asks first builds it, the others wait. Nobody may change what lies there: take a copy for that.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # of the session, where each worker has a folder

    def get(name: str, build: Callable[[Path], Any]) -> Path:
        folder = root / "built_once" / name
        folder.parent.mkdir(exist_ok=True)
        with locks.exclusive(folder.with_suffix(".lock")):
            if not folder.exists():
                partial = folder.with_suffix(".partial")
                shutil.rmtree(partial, ignore_errors=True)  # of a build that failed
                partial.mkdir()
                build(partial)
                partial.rename(folder)
        return folder

    return get


# What `htlnet train` is given where a test wants a run folder, whatever is in it.
SMALL_CONFIG = """
data: {loader: generated, num_rows: 4000}
model: {name: htlnet, arguments: {tower_units: [16, 8]}}
training: {epochs: 1, batch_size: 256}
"""


def htlnet(*arguments: str) -> int:
    """Runs a command as the command line does and gives its exit code."""
    from htlnet_tf import cli

    return cli._main(cli._parse(["htlnet", *arguments]))


def _kept(path: Path, *arguments: str) -> None:
    """Keeps what a command prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert htlnet(*arguments) == 0
    path.write_text(printed.getvalue())


@pytest.fixture(scope="session")
def command_run(build_once: BuildOnce) -> tuple[str, str]:
    """The folder of a run of generated rows, and what `htlnet train` printed."""

    def build(folder: Path) -> None:
        (folder / "small.yaml").write_text(SMALL_CONFIG)
        _kept(folder / "printed", "train", str(folder / "small.yaml"), "--output", str(folder / "run"))

    folder = build_once("trained_by_the_command", build)
    return str(folder / "run"), (folder / "printed").read_text()


@pytest.fixture(scope="session")
def command_export(command_run: tuple[str, str], build_once: BuildOnce) -> tuple[Path, str]:
    """MODELS with version 1 of that run, and what `htlnet export` printed."""

    def build(folder: Path) -> None:
        _kept(folder / "printed", "export", command_run[0], "--to", str(folder / "models"))

    folder = build_once("exported_by_the_command", build)
    return folder / "models", (folder / "printed").read_text()


@pytest.fixture(scope="session")
def command_onnx(command_run: tuple[str, str], build_once: BuildOnce) -> tuple[Path, str]:
    """As `command_export`, for ONNX Runtime."""

    def build(folder: Path) -> None:
        models = str(folder / "models")
        _kept(folder / "printed", "export", command_run[0], "--to", models, "--format", "onnx", "--once")

    folder = build_once("exported_for_onnx", build)
    return folder / "models", (folder / "printed").read_text()


@pytest.fixture(scope="session")
def schema() -> htl.Schema:
    """The schema of `small_frame`."""
    return htl.Schema(
        features=[
            htl.Categorical("user_id", group="user"),
            htl.Categorical("item_id"),
            htl.Categorical("tag", separator=","),
            htl.Numeric("age", group="user"),
            htl.Numeric("price", log1p=True),
            htl.Categorical("tab", group="context", min_count=1),
        ],
        targets=[htl.Binary("click"), htl.Binary("buy"), htl.Continuous("spend", unit="EUR")],
        timestamp="time_ms",
    )


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    """400 rows."""
    return small_frame()


@pytest.fixture(scope="session")
def encoder(schema: htl.Schema, frame: pd.DataFrame) -> Any:
    """Fitted on `frame`."""
    return htl.FeatureEncoder.fit(schema, frame)


@pytest.fixture
def make_model(schema: htl.Schema, encoder: Any) -> Callable[..., Any]:
    """Builds a small compiled HTLNet with the given arguments, and objective of the core, from a fixed seed."""

    def build(model: Any = None, *, objective: Any = None, **arguments: Any) -> Any:
        import tensorflow as tf

        tf.keras.utils.set_random_seed(0)
        core = dataclasses.replace(schema.core, objective=objective)
        declared = schema.with_targets((*schema.targets[:-1], core))
        built = (model or htl.HTLNet)(declared, encoder, **({"tower_units": (16, 8)} | arguments))
        built.compile(optimizer=htl.LazyAdam(1e-2))
        return built

    return build


@pytest.fixture(scope="session")
def _models_made() -> dict[str, Any]:
    """The models of `reused_model`, each with its variables' first values."""
    return {}


@pytest.fixture
def reused_model(make_model: Callable[..., Any], _models_made: dict[str, Any]) -> Callable[..., Any]:
    """As `make_model`, but arguments that were given before give the same model back, with its first values.

    A fresh model's `fit` traces for seconds, this one's only once. Two calls with equal arguments in a test give one
    model, not two. Not for a test that compiles it again, or puts something else in place of a part of it.
    """

    def get(model: Any = None, **arguments: Any) -> Any:
        import tensorflow as tf

        tf.keras.utils.set_random_seed(0)
        key = repr((model, sorted(arguments.items())))
        assert " at 0x" not in key, "an argument that is named by its address alone is none that others have"
        if key not in _models_made:
            built = make_model(model, **arguments)
            built.make_train_function()  # with the optimizer's slots
            variables = [*built.variables, *built.optimizer.variables]
            _models_made[key] = built, [(variable, variable.numpy()) for variable in variables]
        built, first = _models_made[key]
        built.calibration = None
        for variable, value in first:
            variable.assign(value)
        return built

    return get


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are composed but not rendered, which takes most of a second each: their files are there, and empty."""
    from matplotlib.figure import Figure

    monkeypatch.setattr(Figure, "savefig", lambda _, path, **__: Path(path).touch())


@pytest.fixture
def batch(schema: htl.Schema, frame: pd.DataFrame, encoder: Any) -> Any:
    """One encoded batch of 64 rows: (features, targets)."""
    return next(iter(htl.data.make_dataset(frame, schema, encoder, batch_size=64)))


@pytest.fixture(scope="session")
def ranked_model(schema: htl.Schema, encoder: Any) -> Any:
    """A small model whose schema declares a ranking, with weights that are far from their start."""
    import tensorflow as tf

    ranking = htl.Ranking({"click": 0.5, "spend": 1.0}, floor={"spend": 0.5})
    model = htl.SharedBottom(dataclasses.replace(schema, ranking=ranking), encoder, embedding_dim=4, tower_units=(8,))
    random = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(tf.constant(random.normal(0.0, 0.2, weight.shape), tf.float32))
    return model


@pytest.fixture(scope="session")
def ranked_models(ranked_model: Any, frame: pd.DataFrame, build_once: BuildOnce) -> Path:
    """MODELS with one model `m`, the verified export of `ranked_model`."""
    return build_once(
        "ranked_models", lambda folder: htl.export.export_model(ranked_model, folder / "m", rows=frame[:30])
    )
