"""Which versions are loaded and unloaded, with a loader that only reads a file: no TensorFlow takes part."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from htlnet_tf.errors import InputError
from htlnet_tf.serving.errors import StatusError
from htlnet_tf.serving.server.servable_store import ServableStore
from htlnet_tf.serving.server.version_policy import wanted_versions


class Servable:
    """What the fake loader gives: it knows its folder."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "good").exists():
            raise StatusError("NOT_FOUND", f"no file in\n{folder}")
        self.folder = folder


def publish(models: Path, *versions: int | str, name: str = "m", good: bool = True) -> None:
    for version in versions:
        (models / name / str(version)).mkdir(parents=True)
        if good:
            (models / name / str(version) / "good").touch()


def remove(models: Path, *versions: int | str) -> None:
    for version in versions:
        (models / "m" / str(version)).rename(models.parent / f"removed-{models.name}-{version}")


def config(text: str, *, policy: str = "", labels: str = "") -> ModelServerConfig:
    model = f'config {{ name: "m" base_path: "/models/m" model_platform: "tensorflow" {policy} {labels} }}'
    return text_format.Parse(f"model_config_list {{ {text or model} }}", ModelServerConfig())


def store_of(models: Path, configuration: ModelServerConfig | None = None, **options: Any) -> ServableStore:
    store = ServableStore(models, configuration, loader=Servable, **options)  # type: ignore[arg-type]
    store.load()
    return store


def states(store: ServableStore, name: str = "m") -> dict[int, str]:
    return {
        status.version: status.state if status.error_code == "OK" else status.error_code
        for status in store.status(name)
    }


@pytest.fixture
def models(tmp_path: Path) -> Path:
    path = tmp_path / "models"
    path.mkdir()
    return path


def policy(text: str) -> Any:
    return config("", policy=f"model_version_policy {{ {text} }}").model_config_list.config[0].model_version_policy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {9}),
        ("latest { num_versions: 2 }", {7, 9}),
        ("latest {}", {9}),
        ("latest { num_versions: 8 }", {1, 7, 9}),
        ("all {}", {1, 7, 9}),
        ("specific { versions: 1 versions: 9 versions: 4 }", {1, 9}),
    ],
)
def test_policies(text: str, expected: set[int]) -> None:
    assert wanted_versions(policy(text), [9, 1, 7]) == expected
    assert wanted_versions(policy(text), []) == set()


@given(present=st.sets(st.integers(0, 2**63 - 1)), number=st.integers(0, 2**32 - 1))
def test_the_latest_policy_takes_the_highest(present: set[int], number: int) -> None:
    chosen = wanted_versions(policy(f"latest {{ num_versions: {number} }}"), present)
    assert len(chosen) == min(len(present), max(number, 1))
    assert all(other < least for least in [min(chosen, default=0)] for other in present - chosen)


def test_a_new_version_replaces_the_old_one(models: Path) -> None:
    publish(models, 1)
    store = store_of(models)
    publish(models, "00000002", "abc", "tmp-3")
    assert store.latest("m") == 1
    store.refresh()
    assert states(store) == {2: "AVAILABLE", 1: "END"}
    assert store.resolve("m").version == 2
    with pytest.raises(StatusError, match=r"Servable not found for request: Specific\(m, 1\)"):
        store.resolve("m", version=1)


def test_the_old_version_answers_while_the_new_one_loads(models: Path) -> None:
    loading, go_on = threading.Event(), threading.Event()

    def load(folder: Path) -> Servable:
        if folder.name == "2":
            loading.set()
            assert go_on.wait(10)
        return Servable(folder)

    publish(models, 1)
    store = ServableStore(models, loader=load)  # type: ignore[arg-type]
    store.load()
    publish(models, 2)
    thread = threading.Thread(target=store.refresh)
    thread.start()
    assert loading.wait(10)
    assert states(store) == {2: "LOADING", 1: "AVAILABLE"}
    assert store.resolve("m").version == 1
    go_on.set()
    thread.join(10)
    assert states(store) == {2: "AVAILABLE", 1: "END"}


def test_a_version_in_use_ends_when_its_last_request_does(models: Path) -> None:
    publish(models, 1)
    store = store_of(models)
    held = store.resolve("m")
    publish(models, 2)
    store.refresh()
    assert states(store) == {2: "AVAILABLE", 1: "UNLOADING"}
    assert held.servable.folder.name == "1"  # type: ignore[attr-defined]
    del held
    assert states(store) == {2: "AVAILABLE", 1: "END"}


def test_a_cycle_of_references_does_not_keep_a_version_for_ever(models: Path) -> None:
    publish(models, 1)
    store = store_of(models)
    cycle: list[Any] = [store.resolve("m")]
    cycle.append(cycle)
    del cycle
    publish(models, 2)
    store.refresh()
    store.refresh()
    assert states(store)[1] == "END"


def test_as_in_version_dirs_txt(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The recorded scenario: versions come and go, bad ones among them, and a failed number is never tried again."""
    publish(models, 1)
    store = store_of(models)
    publish(models, 2)
    store.refresh()
    publish(models, 3, good=False)
    store.refresh()
    store.refresh()
    assert states(store) == {3: "NOT_FOUND", 2: "AVAILABLE", 1: "END"}
    assert len(caplog.records) == 1  # the failure is told once
    remove(models, 3)
    store.refresh()
    assert states(store) == {3: "NOT_FOUND", 2: "AVAILABLE", 1: "END"}
    publish(models, "00000007")
    store.refresh()
    assert states(store) == {7: "AVAILABLE", 3: "NOT_FOUND", 2: "END", 1: "END"}
    publish(models, 8, good=False)
    store.refresh()
    assert states(store)[8] == "NOT_FOUND" and store.latest("m") == 7
    remove(models, 8, "00000007")
    store.refresh()
    assert states(store) == {8: "NOT_FOUND", 7: "END", 3: "NOT_FOUND", 2: "AVAILABLE", 1: "END"}
    remove(models, 1, 2)
    store.refresh()
    assert set(states(store).values()) == {"END", "NOT_FOUND"}
    with pytest.raises(StatusError, match=r"Servable not found for request: Latest\(m\)"):
        store.resolve("m")


def test_a_failed_number_is_not_tried_again(models: Path) -> None:
    publish(models, 1)
    store = store_of(models)
    publish(models, 2, good=False)
    store.refresh()
    (models / "m" / "2" / "good").touch()
    store.refresh()
    assert states(store) == {2: "NOT_FOUND", 1: "AVAILABLE"}
    (models / "m" / "2").rename(models / "away")
    store.refresh()
    (models / "away").rename(models / "m" / "2")
    store.refresh()
    assert states(store) == {2: "NOT_FOUND", 1: "AVAILABLE"}


def test_a_folder_that_disappears_leaves_its_versions_serving(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    publish(models, 1)
    store = store_of(models)
    (models / "m").rename(models / "gone")
    with caplog.at_level(logging.WARNING):
        store.refresh()
        store.refresh()
    assert states(store) == {1: "AVAILABLE"}
    assert len(caplog.records) == 1
    (models / "gone").rename(models / "m")
    publish(models, 2)
    store.refresh()
    assert store.latest("m") == 2


@settings(max_examples=30)
@given(steps=st.lists(st.tuples(st.sampled_from(["add", "bad", "remove"]), st.integers(1, 6)), max_size=12))
def test_something_always_answers_once_a_good_version_is_there(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    models = tmp_path_factory.mktemp("steps") / "models"
    publish(models, 1000)  # the one that stays
    store = store_of(models, config("", policy="model_version_policy { latest { num_versions: 2 } }"))
    for action, number in steps:
        folder = models / "m" / str(1000 + number)
        if action == "remove" and folder.exists():
            folder.rename(models.parent / f"{len(list(models.parent.iterdir()))}")
        elif action != "remove" and not folder.exists():
            publish(models, 1000 + number, good=action == "add")
        store.refresh()
        assert states(store)[store.resolve("m").version] == "AVAILABLE"


LABELS = 'version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 }'
ALL = "model_version_policy { all {} }"


def test_labels(models: Path) -> None:
    publish(models, 1, 2)
    store = store_of(models, config("", policy=ALL, labels=LABELS))
    assert store.resolve("m", label="stable").version == 1
    assert store.resolve("m", label="canary").version == 2
    assert store.labels("m") == {"stable": 1, "canary": 2}
    for name, label in (("m", "other"), ("absent", "stable")):
        with pytest.raises(StatusError, match=f"INVALID_ARGUMENT: Unrecognized servable version label: {label}"):
            store.resolve(name, label=label)
    store.reload(config("", policy=ALL, labels='version_labels { key: "stable" value: 2 }'))
    assert store.resolve("m", label="stable").version == 2
    with pytest.raises(StatusError, match="Unrecognized"):
        store.resolve("m", label="canary")


def test_a_label_on_a_version_that_is_not_available_is_refused(models: Path) -> None:
    publish(models, 1, 2)
    store = store_of(models, config("", policy=ALL, labels=LABELS))
    message = "Request to assign label to version 77 of model m, which is not currently available for inference"
    with pytest.raises(StatusError) as caught:
        store.reload(config("", policy=ALL, labels='version_labels { key: "stable" value: 77 }'))
    assert (caught.value.code, caught.value.message) == ("FAILED_PRECONDITION", message)
    assert store.resolve("m", label="stable").version == 1  # nothing has changed
    # A version that is there, but that the configuration itself does not ask for, is refused as in TF Serving.
    publish(models, 3)
    specific = "model_version_policy { specific { versions: 1 versions: 2 } }"
    with pytest.raises(StatusError, match="version 3 of model m"):
        store.reload(config("", policy=specific, labels='version_labels { key: "new" value: 3 }'))
    assert states(store) == {2: "AVAILABLE", 1: "AVAILABLE"}
    with pytest.raises(InputError, match="version 9 of model m"):
        store_of(models, config("", policy=ALL, labels='version_labels { key: "stable" value: 9 }'))


def test_labels_for_unavailable_versions_can_be_allowed(models: Path) -> None:
    publish(models, 1)
    allowed = {"allow_version_labels_for_unavailable_models": True}
    store = store_of(models, config("", policy=ALL, labels=LABELS), **allowed)
    with pytest.raises(StatusError, match=r"Specific\(m, 2\)"):
        store.resolve("m", label="canary")
    publish(models, 2)
    store.refresh()
    assert store.resolve("m", label="canary").version == 2
    with pytest.raises(StatusError, match="FAILED_PRECONDITION"):  # a label that is in force cannot move there
        store.reload(config("", policy=ALL, labels='version_labels { key: "canary" value: 5 }'))


def specific(*versions: int, stable: int) -> ModelServerConfig:
    numbers = " ".join(f"versions: {version}" for version in versions)
    label = f'version_labels {{ key: "stable" value: {stable} }}'
    return config("", policy=f"model_version_policy {{ specific {{ {numbers} }} }}", labels=label)


@pytest.mark.parametrize("allowed", [False, True])
def test_a_reload_can_load_a_version_and_label_it(models: Path, allowed: bool) -> None:
    publish(models, 1, 2)
    store = store_of(models, specific(1, stable=1), allow_version_labels_for_unavailable_models=allowed)
    store.reload(specific(2, stable=2))
    assert store.resolve("m", label="stable").version == 2
    assert states(store) == {2: "AVAILABLE", 1: "END"}
    publish(models, 5, name="other")  # of a model that is new as well
    other = 'config { name: "other" base_path: "/models/other" model_platform: "tensorflow" '
    store.reload(config(other + 'version_labels { key: "stable" value: 5 } }'))
    assert store.resolve("other", label="stable").version == 5


def test_nothing_is_unloaded_before_the_label_has_moved(models: Path) -> None:
    store: ServableStore
    seen = []

    def load(folder: Path) -> Servable:
        if folder.name == "2":
            seen.append(store.resolve("m", label="stable").version)
        return Servable(folder)

    publish(models, 1, 2)
    store = ServableStore(models, specific(1, stable=1), loader=load)  # type: ignore[arg-type]
    store.load()
    store.reload(specific(2, stable=2))
    assert seen == [1]


def test_a_reload_whose_labelled_version_does_not_load_changes_nothing(models: Path) -> None:
    publish(models, 1, 4)
    publish(models, 2, good=False)
    publish(models, 1, name="other", good=False)
    loads = []

    def load(folder: Path) -> Servable:
        loads.append(f"{folder.parent.name}/{folder.name}")
        return Servable(folder)

    store = ServableStore(models, specific(1, stable=1), loader=load)  # type: ignore[arg-type]
    store.load()
    other = 'config { name: "other" base_path: "/models/other" model_platform: "tensorflow" '
    for _ in range(2):  # the second time it is known what does not load, and so nothing is loaded at all
        with pytest.raises(StatusError, match=r"FAILED_PRECONDITION: .* version 2 of model m"):
            store.reload(specific(2, 4, stable=2))
        with pytest.raises(StatusError, match=r"FAILED_PRECONDITION: .* version 1 of model other"):
            store.reload(config(other + 'version_labels { key: "stable" value: 1 } }'))
        assert states(store) == {4: "END", 2: "NOT_FOUND", 1: "AVAILABLE"}
        assert store.resolve("m", label="stable").version == 1
        assert store.names == ["m"]
    assert loads == ["m/1", "m/4", "m/2", "other/1"]


def test_whatever_the_loader_raises_ends_that_version_only(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    def load(folder: Path) -> Servable:
        if folder.parent.name == "m" and folder.name == "2":
            raise PermissionError(13, "Permission denied")
        return Servable(folder)

    publish(models, 1)
    publish(models, 1, name="other")
    store = ServableStore(models, loader=load)  # type: ignore[arg-type]
    store.load()
    publish(models, 2)
    publish(models, 2, name="other")
    store.refresh()
    store.refresh()
    assert states(store) == {2: "UNKNOWN", 1: "AVAILABLE"}
    assert states(store, "other") == {2: "AVAILABLE", 1: "END"}
    failed = store.status("m", 2)[0]
    assert (failed.state, failed.error_message) == ("END", "PermissionError: [Errno 13] Permission denied")
    assert caplog.text.count("Traceback") == 1


def test_reload_adds_and_removes_models(models: Path) -> None:
    publish(models, 1, 2)
    publish(models, 5, name="other")
    store = store_of(models, config(""))
    other = 'config { name: "other" base_path: "/models/other" model_platform: "tensorflow" }'
    store.reload(config(other))
    assert store.names == ["other"]
    assert store.resolve("other").version == 5
    assert states(store) == {2: "END"}  # it keeps its entries, as in TF Serving
    with pytest.raises(StatusError, match=r"Latest\(m\)"):
        store.resolve("m")
    store.reload(config("", policy="model_version_policy { specific { versions: 1 } }"))
    assert states(store) == {2: "END", 1: "AVAILABLE"}


def test_reload_of_a_missing_base_path_is_no_error(models: Path) -> None:
    publish(models, 1)
    store = store_of(models)
    store.reload(config('config { name: "x" base_path: "/nowhere/x" model_platform: "tensorflow" }'))
    with pytest.raises(StatusError, match="Could not find any versions of model x"):
        store.status("x")
    assert store.names == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'config { name: "m" base_path: "/m" model_platform: "tensorflow" } '
            'config { name: "m" base_path: "/n" model_platform: "tensorflow" }',
            "Illegal to list model m multiple times in config list",
        ),
        (
            'config { name: "nov" base_path: "models/ctr" model_platform: "tensorflow" }',
            r"Expected model nov to have an absolute path or URI; got base_path\(\)=models/ctr",
        ),
        (
            'config { name: "types2" base_path: "/m" model_platform: "torch" }',
            "Model types2 requests unsupported platform torch",
        ),
        ('config { name: "m" base_path: "/m" }', "Illegal setting neither"),
    ],
)
def test_configurations_that_are_refused(models: Path, text: str, message: str) -> None:
    publish(models, 1)
    store = store_of(models)
    with pytest.raises(StatusError, match=f"INVALID_ARGUMENT: {message}"):
        store.reload(config(text))
    with pytest.raises(StatusError, match="ServerModelConfig type not supported"):
        store.reload(ModelServerConfig())
    with pytest.raises(InputError, match=message):
        store_of(models, config(text))
    assert store.latest("m") == 1


def test_the_start_needs_a_version_of_every_model(models: Path) -> None:
    publish(models, 1)
    text = 'config { name: "x" base_path: "/models/x" model_platform: "tensorflow" }'
    with pytest.raises(InputError, match=r"model 'x' must have a version to serve, but .*/x cannot be read"):
        store_of(models, config(text))
    (models / "x").mkdir()
    with pytest.raises(InputError, match="/x holds no version folder"):
        store_of(models, config(text))
    with pytest.raises(InputError, match="its policy chooses none"):
        store_of(models, config("", policy="model_version_policy { specific { versions: 7 } }"))


def test_requests_during_many_changes_are_all_answered(models: Path) -> None:
    publish(models, 1)
    store = store_of(models)
    stopping = threading.Event()
    failures: list[Exception] = []

    def ask() -> None:
        while not stopping.is_set():
            try:
                store.resolve("m")
                store.status("m")
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    refresh: Callable[[], None] = store.refresh
    for version in range(2, 40):
        publish(models, version)
        refresh()
    stopping.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert store.latest("m") == 39
