"""The schema: its YAML form, its rules, and that every error names the field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from htlnet_tf.errors import InputError
from htlnet_tf.schema import (
    Binary,
    Categorical,
    Continuous,
    CountEncoding,
    Cross,
    Multiclass,
    Numeric,
    Schema,
    Sequence,
    TargetEncoding,
    Timestamp,
    require_same_schema,
)

_TARGETS = (Binary("click"), Continuous("spend", unit="EUR"))


def _document(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "features": [{"kind": "categorical", "name": "user_id", "group": "user"}, {"kind": "numeric", "name": "age"}],
        "targets": [{"kind": "binary", "name": "click"}, {"kind": "continuous", "name": "spend"}],
        "timestamp": "time_ms",
    }
    return {**document, **changes}


# ---- round trip

_NAMES = st.from_regex(r"[A-Za-z0-9.][A-Za-z0-9_.\-]{0,8}", fullmatch=True)
_GROUPS = st.sampled_from(["user", "item", "context"])
_CHARACTERS = st.characters(codec="utf-8")
_FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def _schemas(draw: st.DrawFn) -> Schema:
    names = iter(
        draw(st.lists(_NAMES, min_size=8, max_size=8, unique_by=lambda name: re.sub(r"[^a-z0-9]", "_", name.lower())))
    )

    def categorical() -> Categorical:
        separator = draw(st.none() | st.text(_CHARACTERS, min_size=1, max_size=2))
        dtypes = ["string", None] if separator is not None else ["string", "int64", None]
        dtype = draw(st.sampled_from(dtypes))
        codes = st.integers(-999, 999)
        missing = draw(st.lists(codes if dtype == "int64" else codes | st.text(_CHARACTERS, max_size=3), max_size=2))
        return Categorical(
            next(names),
            group=draw(_GROUPS),
            dtype=dtype,
            separator=separator,
            max_length=draw(st.integers(1, 1024)),
            min_count=draw(st.integers(1, 50)),
            missing_values=tuple(missing),
        )

    def numeric() -> Numeric:
        missing = tuple(draw(st.lists(_FLOATS, max_size=2)))
        return Numeric(next(names), group=draw(_GROUPS), log1p=draw(st.booleans()), missing_values=missing)

    features = [
        categorical(),
        *(draw(st.sampled_from([categorical, numeric]))() for _ in range(draw(st.integers(0, 2)))),
    ]
    preceding: list[Binary | Multiclass] = []
    for _ in range(draw(st.integers(1, 2))):
        name = next(names)
        preceding.append(Binary(name) if draw(st.booleans()) else Multiclass(name, num_classes=draw(st.integers(2, 9))))
    core = Continuous(
        next(names),
        unit=draw(st.none() | st.text(_CHARACTERS, max_size=3)),
        standardise=draw(st.booleans()),
        non_negative=draw(st.booleans()),
    )
    timestamp = next(names) if draw(st.booleans()) else None
    single = [f.name for f in features if isinstance(f, Categorical) and f.separator is None]
    user = draw(st.sampled_from([None, "who", *single]))
    return Schema(features=tuple(features), targets=(*preceding, core), timestamp=timestamp, user=user)


@given(_schemas())
def test_a_schema_survives_yaml_and_dict(schema: Schema) -> None:
    assert Schema.from_dict(schema.to_dict()) == schema
    assert Schema.from_dict(yaml.safe_load(schema.to_yaml())) == schema


def test_next_line_character_survives_yaml() -> None:
    schema = Schema(features=(Categorical("tag", separator="\x85"),), targets=_TARGETS)
    assert Schema.from_dict(yaml.safe_load(schema.to_yaml())) == schema


def test_to_yaml_writes_what_from_yaml_reads(tmp_path: Path) -> None:
    schema = Schema(features=(Categorical("tag", separator=",", group="item"),), targets=_TARGETS, timestamp="time_ms")
    text = schema.to_yaml(tmp_path / "schema.yaml")
    assert (tmp_path / "schema.yaml").read_text(encoding="utf-8") == text
    assert Schema.from_yaml(tmp_path / "schema.yaml") == schema


def test_defaults_are_left_out_and_kind_and_name_come_first() -> None:
    schema = Schema(features=(Categorical("a", min_count=2), Numeric("b", log1p=True)), targets=_TARGETS)
    assert schema.to_dict() == {
        "features": [{"kind": "categorical", "name": "a"}, {"kind": "numeric", "name": "b", "log1p": True}],
        "targets": [{"kind": "binary", "name": "click"}, {"kind": "continuous", "name": "spend", "unit": "EUR"}],
    }
    assert list(schema.to_dict()["features"][1]) == ["kind", "name", "log1p"]


# ---- construction


def test_names_are_positional_and_the_rest_is_not() -> None:
    assert Categorical("a").name == Numeric("a").name == Binary("a").name == Continuous("a").name == "a"
    assert Multiclass("a", num_classes=3).num_classes == 3
    with pytest.raises((TypeError, pydantic.ValidationError)):
        Categorical("a", "user")  # type: ignore[misc]


def test_lists_are_accepted_and_the_parts_are_found_by_kind() -> None:
    schema = Schema(
        features=[Numeric("age"), Categorical("user_id")],  # type: ignore[arg-type]
        targets=[Binary("click"), Multiclass("stars", num_classes=5), Continuous("spend")],  # type: ignore[arg-type]
    )
    assert [f.name for f in schema.categoricals] == ["user_id"]
    assert [f.name for f in schema.inputs] == ["age", "user_id"]
    assert [t.name for t in schema.steps] == ["click", "stars"]
    assert [t.name for t in schema.amounts] == ["spend"]
    assert schema.core.name == "spend"


def test_with_features_keeps_the_rest_and_checks_again() -> None:
    schema = Schema(features=(Categorical("a"), Numeric("b")), targets=_TARGETS, timestamp="t")
    assert schema.with_features([Categorical("c")]) == Schema(
        features=(Categorical("c"),), targets=_TARGETS, timestamp="t"
    )
    with pytest.raises(pydantic.ValidationError, match="'click' is also a target"):
        schema.with_features([Categorical("click")])


# ---- rules: the document, and what the message must contain

_CAT = {"kind": "categorical", "name": "user_id"}
_CLICK = {"kind": "binary", "name": "click"}
_SPEND = {"kind": "continuous", "name": "spend"}


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"features": [{**_CAT, "name": "user id"}]}, ["features[0]", "name", "'user id'"]),
        ({"features": [{**_CAT, "group": "shop"}]}, ["features[0]", "group", "'shop'"]),
        ({"features": [{**_CAT, "dtype": "float"}]}, ["features[0]", "dtype", "'float'"]),
        ({"features": [{**_CAT, "max_length": 0}]}, ["features[0]", "max_length", "0"]),
        ({"features": [{**_CAT, "min_count": 0}]}, ["features[0]", "min_count", "0"]),
        ({"features": [{**_CAT, "colour": 1}]}, ["features[0]", "colour"]),
        ({"features": [{"kind": "categorical"}]}, ["features[0]", "name", "required"]),
        ({"features": [{"kind": "text", "name": "a"}]}, ["features[0]", "'text'"]),
        ({"features": [{**_CAT, "separator": ""}]}, ["features[0]", "separator", "user_id"]),
        ({"features": [{**_CAT, "separator": ",", "dtype": "int64"}]}, ["features[0]", "separator", "user_id"]),
        ({"features": [_CAT, _CAT]}, ["features", "unique", "user_id"]),
        ({"features": []}, ["features", "at least one Categorical"]),
        ({"features": [{"kind": "numeric", "name": "age"}]}, ["features", "at least one Categorical"]),
        ({"features": [_CAT, {"kind": "numeric", "name": "age", "log1p": "often"}]}, ["features[1]", "log1p", "often"]),
        ({"features": [{**_CAT, "name": "click"}]}, ["features", "'click'", "also a target"]),
        ({"features": [{**_CAT, "name": "time_ms"}]}, ["features", "'time_ms'", "kind timestamp"]),
        ({"targets": [_SPEND]}, ["targets", "at least one Binary"]),
        ({"targets": [_SPEND, _CLICK]}, ["targets", "last one", "'click'"]),
        (
            {"targets": [_SPEND, {**_SPEND, "name": "total"}]},
            ["targets", "at least one Binary or Multiclass", "before the core"],
        ),
        ({"targets": [_CLICK, _CLICK, _SPEND]}, ["targets", "unique", "click"]),
        ({"targets": [{"kind": "multiclass", "name": "m", "num_classes": 1}, _SPEND]}, ["targets[0]", "num_classes"]),
        ({"targets": [{"kind": "multiclass", "name": "m"}, _SPEND]}, ["targets[0]", "num_classes", "required"]),
        ({"timestamp": "spend"}, ["timestamp", "'spend'", "also a target"]),
        ({"timestamp": 5}, ["timestamp", "5"]),
        ({"time": "t"}, ["time"]),
        ({"user": "click"}, ["user", "'click'", "also a target"]),
        ({"user": "spend"}, ["user", "'spend'", "also a target"]),
        ({"user": "time_ms"}, ["user", "'time_ms'", "the timestamp"]),
        ({"user": "w", "sample_weight": "w"}, ["user", "'w'", "a sample weight"]),
        ({"user": "age"}, ["user", "'age'", "single-valued categorical"]),
        ({"user": 5}, ["user", "5"]),
    ],
)
def test_every_rule_names_the_field(changes: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        Schema.from_dict(_document(**changes), source="my.yaml")
    message = str(caught.value)
    assert message.startswith("my.yaml: ")
    for part in parts:
        assert part in message, f"{part!r} is not in: {message}"


def test_all_faults_are_reported_at_once() -> None:
    with pytest.raises(InputError, match=r"group.*max_length|max_length.*group"):
        Schema.from_dict(_document(features=[{**_CAT, "group": "shop", "max_length": 0}]))


@pytest.mark.parametrize("text", ["features: [", "just a word", "", "- 1\n- 2\n"])
def test_a_file_without_a_schema_is_an_input_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"broken\.yaml"):
        Schema.from_yaml(path)


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*nowhere\.yaml"):
        Schema.from_yaml(tmp_path / "nowhere.yaml")


def test_yaml_with_python_objects_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "unsafe.yaml"
    path.write_text("!!python/object/apply:os.getcwd []", encoding="utf-8")
    with pytest.raises(InputError, match=r"unsafe\.yaml"):
        Schema.from_yaml(path)


@pytest.mark.parametrize(("one", "two"), [("user.id", "user_id"), ("a-b", "a_b"), ("User", "user")])
def test_names_that_an_export_could_not_tell_apart(one: str, two: str) -> None:
    with pytest.raises(ValueError, match="same name in the exported model"):
        Schema(features=(Categorical(one), Categorical(two)), targets=_TARGETS)


def test_scores_that_would_be_called_alike() -> None:
    targets = (Binary("stars_0"), Multiclass("stars", num_classes=3), Continuous("spend"))
    with pytest.raises(ValueError, match=r"would be called \['stars_0'\]"):
        Schema(features=(Categorical("c"),), targets=targets)


@pytest.mark.parametrize("code", ["none", 2**70])
def test_missing_values_fit_the_dtype(code: object) -> None:
    with pytest.raises(ValueError, match="missing value"):
        Categorical("c", dtype="int64", missing_values=(code,))  # type: ignore[arg-type]


def test_a_name_that_an_export_cannot_have() -> None:
    with pytest.raises(ValueError, match="b64"):
        Schema(features=(Categorical("b64"),), targets=_TARGETS)
    Schema(features=(Categorical("b64"), Categorical("c")), targets=_TARGETS)


def test_the_parts_of_a_timestamp_are_names_too() -> None:
    with pytest.raises(ValueError, match=r"'ts\.hour' is a part of "):
        Schema(features=(Timestamp("ts"), Categorical("ts.hour")), targets=_TARGETS)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([Categorical("a"), Cross("c", of=("a", "b"))], "'b' must be a single-valued categorical"),
        ([Categorical("a"), Categorical("b", separator=","), Cross("c", of=("a", "b"))], "'b' must be a single-valued"),
        ([Categorical("a"), Cross("c", of=("a", "a"))], "with itself"),
        ([Categorical("a"), Sequence("b", shares="c")], "shares 'c', which must be another"),
        ([Categorical("a"), Sequence("b", shares="a"), Categorical("c", shares="b")], "shares 'b', which must be"),
    ],
)
def test_references_find_what_they_name(features: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schema(features=features, targets=_TARGETS)


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: Categorical("c", num_buckets=8), "encoding must be 'hash'"),
        (lambda: Categorical("c", shares="d", min_count=7), "are declared there"),
        (lambda: Sequence("c", separator=None), "needs a separator"),
        (lambda: Numeric("c", log1p=True, quantile_buckets=4), "drop one"),
        (lambda: Numeric("c", embedding_dim=4), "needs quantile_buckets"),
        (lambda: Numeric("c", keep_number=True), "a number beside quantile_buckets"),
        (lambda: TargetEncoding(of="c", target="t", embedding_dim=4), "'c.t' has an embedding_dim"),
        (lambda: CountEncoding(of="c", embedding_dim=4), "'c.count' has an embedding_dim"),
        (lambda: Timestamp("c", parts=("hour", "hour")), "names a part twice"),
    ],
)
def test_options_that_do_not_go_together(declare: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        declare()


def test_masks_and_weights_name_what_they_need() -> None:
    with pytest.raises(ValueError, match="must name an earlier binary target; received 'spend'"):
        Schema(features=(Categorical("c"),), targets=(Binary("click", observed_if="spend"), Continuous("spend")))
    with pytest.raises(ValueError, match="'c' is also a sample weight"):
        Schema(features=(Categorical("c"),), targets=_TARGETS, sample_weight="c")
    with pytest.raises(ValueError, match="'click' is also a target"):
        Schema(features=(Categorical("c"),), targets=_TARGETS, sample_weight="click")


def test_the_user_is_a_feature_or_a_column_of_its_own() -> None:
    feature = Categorical("user_id", dtype="int64")
    schema = Schema(features=(feature,), targets=_TARGETS, timestamp="t", user="user_id")
    assert schema.columns == ("user_id", "click", "spend", "t")
    assert schema.user_column == feature
    other = Schema(features=(feature,), targets=_TARGETS, timestamp="t", user="customer id")
    assert other.columns == ("user_id", "click", "spend", "t", "customer id")
    assert other.user_column is not None
    assert (other.user_column.dtype, other.inputs) == (None, (feature,))
    assert other.to_dict()["user"] == "customer id"
    require_same_schema(schema, other)
    assert Schema(features=(feature,), targets=_TARGETS).user_column is None
    for many in (Categorical("u", separator=","), Timestamp("u"), Cross("u", of=("user_id", "b"))):
        with pytest.raises(ValueError, match="'u' must be a single-valued categorical feature"):
            Schema(features=(feature, Categorical("b"), many), targets=_TARGETS, user="u")


def test_every_kind_survives_yaml() -> None:
    schema = Schema(
        features=(
            Categorical("tag", separator=",", pooling="max", embedding_dim=4),
            Sequence("history", shares="tag", max_length=3),
            Categorical("v", encoding="hash", num_buckets=8),
            Categorical("u"),
            Timestamp("t", utc_offset_hours=8, parts=("hour",)),
            Numeric("x", quantile_buckets=4, keep_number=True),
            CountEncoding(of="u_v", quantile_buckets=4, embedding_dim=2),
            Cross("u_v", of=("u", "v")),
        ),
        targets=(Binary("c", sample_weight="w"), Continuous("s", observed_if="c")),
        timestamp="t",
        sample_weight="w2",
    )
    assert Schema.from_dict(yaml.safe_load(schema.to_yaml())) == schema
    assert schema.columns == ("tag", "history", "v", "u", "t", "x", "c", "s", "w2", "w")
