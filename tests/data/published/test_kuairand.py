"""load_kuairand_pure on a hand-made excerpt in the published layout, and on the real rows where they are."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from htlnet_tf.data.published.kuairand import KUAIRAND_OUTCOMES, load_kuairand_pure
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Binary, Categorical, Continuous, Numeric, Schema

_REPOSITORY = Path(__file__).resolve().parents[3]
_REAL = _REPOSITORY.parent / "shared" / "data" / "kuairand_pure_10days"

_LOG_1 = "log_standard_4_08_to_4_21_pure.csv"
_LOG_2 = "log_standard_4_22_to_5_08_pure.csv"
_USERS = "user_features_pure.csv"
_VIDEOS = "video_features_basic_pure.csv"

_LOG_HEADER = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab"
)
# 1650812741436 is 2022-04-24 23:05:41 in Shanghai, a Sunday, though the row is filed under the 25th.
_DAY_BEFORE = "0,10,20220425,0,1650812741436,1,0,0,0,0,0,1,61802,49866,0,0,0,0,1"
_NO_CLICK = "1,11,20220425,900,1650848400000,0,0,0,0,0,0,0,1184,0,0,0,0,0,4"  # 2022-04-25 09:00:00, a Monday
_UNKNOWN = "7,99,20220425,1000,1650852000000,0,0,0,0,0,0,0,0,11933,0,0,0,0,1"  # neither the user nor the video is known
_EARLY = "1,10,20220408,0,1649350800000,1,1,0,0,0,0,0,3000,49866,7,8,1,0,0"  # 2022-04-08 01:00:00, a Friday

_USER_HEADER = (
    "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,follow_user_num,"
    "follow_user_num_range,fans_user_num,fans_user_num_range,friend_user_num,friend_user_num_range,register_days,"
    "register_days_range," + ",".join(f"onehot_feat{i}" for i in range(18))
)
_USER_0 = (
    '0,full_active,0,-124,1,514,500+,150,"[100,1k)",34,"[30,60)",799,730+,'
    "1,1,29,949,1.0,0,0,14,135,6,3,0,0.0,1.0,0.0,0.0,0.0,0.0"
)
_USER_1 = '1,full_active,0,1,1,457,"(250,500]",20,"[10,100)",3,"[1,5)",1474,730+,1,3,2,1160,,0,0,31,283,6,2,2,,,,,,'

_VIDEO_HEADER = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,server_height,"
    "music_id,music_type,tag"
)
_VIDEO_10 = '10,7349781,NORMAL,2022-04-10,LongImport,0.0,49866.0,720.0,1280.0,9155697141,9.0,"67,11"'
_VIDEO_11 = "11,2103883,AD,2022-04-10,PictureSet,0.0,,720.0,1280.0,0,,"


def _write(folder: Path, name: str, *lines: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _write(tmp_path, _LOG_2, _LOG_HEADER, _DAY_BEFORE, _NO_CLICK, _DAY_BEFORE, _UNKNOWN)
    _write(tmp_path, _USERS, _USER_HEADER, _USER_0, _USER_1)
    _write(tmp_path, _VIDEOS, _VIDEO_HEADER, _VIDEO_10, _VIDEO_11)
    return tmp_path


def _schema(*features: Categorical | Numeric) -> Schema:
    return Schema(
        features=(Categorical("user_id"), *features),
        targets=(Binary("like"), Continuous("total")),
        timestamp="time_ms",
    )


def test_targets_are_renamed_and_other_outcomes_are_gone(folder: Path) -> None:
    frame = load_kuairand_pure(folder)
    assert list(frame)[-3:] == ["click", "long_view", "watch_time"]
    assert frame[["click", "long_view", "watch_time"]].to_numpy().tolist() == [[1, 1, 61802], [0, 0, 1184], [0, 0, 0]]
    assert (set(KUAIRAND_OUTCOMES) - {"long_view"}).isdisjoint(frame)
    assert "is_rand" not in frame


def test_exact_duplicates_are_dropped_and_counted(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="absl"):
        frame = load_kuairand_pure(folder)
    assert frame["user_id"].tolist() == [0, 1, 7]
    assert frame.index.tolist() == [0, 1, 2]
    assert "dropped 1 exact duplicates of 4 rows (25.00 %)" in caplog.text


def test_hour_and_weekday_are_those_of_shanghai(folder: Path) -> None:
    frame = load_kuairand_pure(folder)
    assert frame["hour"].tolist() == [23, 9, 10]
    assert frame["weekday"].tolist() == [6, 0, 0]


def test_missing_values_and_missing_matches(folder: Path) -> None:
    frame = load_kuairand_pure(folder)
    assert frame["is_live_streamer"].tolist()[:2] == [-124, 1]  # the code is left for the schema's missing_values
    assert frame["onehot_feat4"].dtype == "Int64"
    assert frame["onehot_feat4"].isna().tolist() == [False, True, True]
    assert frame["tag"].isna().tolist() == [False, True, True] and frame["tag"][0] == "67,11"
    assert frame["video_duration"].isna().tolist() == [False, True, True]
    # Nothing is known of user 7 and video 99 but their ids and the row itself.
    joined = [c for c in (_USER_HEADER + "," + _VIDEO_HEADER).split(",") if c not in ("user_id", "video_id")]
    assert frame.loc[2, joined].isna().all()
    assert frame.loc[2, ["user_id", "video_id", "tab"]].tolist() == [7, 99, 1]


def test_types_do_not_depend_on_whether_all_rows_match(folder: Path) -> None:
    before = load_kuairand_pure(folder).dtypes
    _write(folder, _LOG_2, _LOG_HEADER, _DAY_BEFORE)
    assert load_kuairand_pure(folder).dtypes.equals(before)


def test_both_logs_are_read_in_the_order_of_their_dates(folder: Path) -> None:
    _write(folder, _LOG_1, _LOG_HEADER, _EARLY)
    frame = load_kuairand_pure(folder)
    assert frame["user_id"].tolist() == [1, 0, 1, 7]
    assert frame["weekday"][0] == 4 and frame["hour"][0] == 1


def test_the_random_log_and_the_video_statistics_are_never_read(folder: Path) -> None:
    _write(folder, "log_random_4_22_to_5_08_pure.csv", "not", "a,table")
    _write(folder, "video_features_statistic_pure.csv", "video_id,show_cnt", "10,5")
    frame = load_kuairand_pure(folder)
    assert len(frame) == 3 and "show_cnt" not in frame


def test_the_parent_of_data_will_do(folder: Path) -> None:
    parent = folder / "KuaiRand-Pure"
    for name in (_LOG_2, _USERS, _VIDEOS):
        _write(parent / "data", name, (folder / name).read_text(encoding="utf-8").rstrip("\n"))
    pd.testing.assert_frame_equal(load_kuairand_pure(parent), load_kuairand_pure(str(folder)))


def test_further_columns_and_blank_lines_at_the_end_do_no_harm(folder: Path) -> None:
    _write(folder, _VIDEOS, _VIDEO_HEADER + ",extra", _VIDEO_10 + ",1", _VIDEO_11 + ",2", "", "")
    assert "extra" not in load_kuairand_pure(folder)


# ---- errors


@pytest.mark.parametrize("name", [_LOG_2, _USERS, _VIDEOS])
def test_a_missing_file_is_named_with_the_layout(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match="published layout") as caught:
        load_kuairand_pure(folder)
    assert f"{name} in" in str(caught.value)


def test_a_folder_without_any_of_the_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none of the files .*published layout"):
        load_kuairand_pure(tmp_path)
    with pytest.raises(InputError, match="is not there; the published layout"):
        load_kuairand_pure(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is not a folder"):
        load_kuairand_pure(tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "column"), [(_LOG_2, "play_time_ms"), (_USERS, "onehot_feat7"), (_VIDEOS, "tag"), (_LOG_2, "user_id")]
)
def test_a_missing_column_is_named_with_its_file(folder: Path, name: str, column: str) -> None:
    lines = (folder / name).read_text(encoding="utf-8").splitlines()
    _write(folder, name, lines[0].replace(column, "renamed"), *lines[1:])
    with pytest.raises(InputError) as caught:
        load_kuairand_pure(folder)
    assert str(caught.value).startswith(f"{name}: column '{column}' must be there once, but is there 0 times")


def _swap(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("name", "garble", "parts"),
    [
        (_LOG_2, _swap(",1184,", ",11x84,"), ["column 'play_time_ms'", "integer", "line 3", "'11x84'"]),
        (_LOG_2, _swap(",1184,", ",,"), ["column 'play_time_ms'", "line 3", "nothing"]),
        (_LOG_2, _swap(",1184,", ",-5,"), ["column 'play_time_ms'", "[0, inf]", "line 3", "-5"]),
        (_LOG_2, _swap(",1184,", ",1.5,"), ["column 'play_time_ms'", "integer", "line 3", "1.5"]),
        (_LOG_2, _swap(",1184,", ",99999999999999999999,"), ["column 'play_time_ms'", "line 3", "9999999"]),
        (_LOG_2, _swap("1650848400000,0,", "1650848400000,2,"), ["column 'is_click'", "[0, 1]", "line 3", "2"]),
        (_LOG_2, _swap("1650848400000", "1650848400"), ["column 'time_ms'", "line 3", "1650848400"]),
        (_LOG_2, _swap(",0,0,0,0,0,4", ",0,0,0"), ["line 3", "19 fields", "has 16"]),  # truncated
        (_LOG_2, _swap(",0,0,0,0,0,4", ",0,0,0,0,0,4,5"), ["line 3", "19 fields", "has 20"]),
        (_LOG_2, _swap("1,11,", "\n1,11,"), ["line 3", "19 fields", "has 0"]),
        (_LOG_2, lambda text: text.splitlines()[0], ["at least one row"]),
        (_LOG_2, lambda _: "", ["column 'user_id'", "0 times"]),
        (_USERS, _swap("1474", "many"), ["column 'register_days'", "finite number", "line 3", "'many'"]),
        (_USERS, _swap("1474", "inf"), ["column 'register_days'", "finite number", "line 3"]),
        (_USERS, _swap("949,1.0", "949,1.5"), ["column 'onehot_feat4'", "integer", "line 2", "1.5"]),
        (_USERS, _swap("\n1,", "\n0,"), ["column 'user_id'", "unique", "line 3", "0"]),
        (_USERS, _swap('"[10,100)"', '"[10,100)'), ["line 3"]),  # the quote is never closed
        (_VIDEOS, _swap("\n11,", "\n10,"), ["column 'video_id'", "unique", "line 3", "10"]),
        (_VIDEOS, _swap("\n11,", "\n,"), ["column 'video_id'", "integer", "line 3", "nothing"]),
    ],
)
def test_a_garbled_value_is_named_with_file_column_and_line(
    folder: Path, name: str, garble: Callable[[str], str], parts: list[str]
) -> None:
    text = (folder / name).read_text(encoding="utf-8")
    garbled = garble(text)
    assert garbled != text
    (folder / name).write_text(garbled, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_kuairand_pure(folder)
    for part in [name, *parts]:
        assert part in str(caught.value), f"{part!r} is not in: {caught.value}"


def test_bytes_that_are_no_text(folder: Path) -> None:
    (folder / _USERS).write_bytes(b"\x1f\x8b\x08\x00\xff\xfe")
    with pytest.raises(InputError, match=f"{_USERS} cannot be read as CSV in UTF-8"):
        load_kuairand_pure(folder)


@pytest.mark.parametrize("name", [*KUAIRAND_OUTCOMES, "click", "watch_time"])
def test_an_outcome_is_not_a_feature(folder: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' is an outcome"):
        load_kuairand_pure(folder, _schema(Numeric(name)))
    assert len(load_kuairand_pure(folder, _schema(Categorical("tab")))) == 3


# ---- the configuration and the real rows


def test_the_shipped_schema_fits_the_loader(folder: Path) -> None:
    schema = Schema.from_yaml(_REPOSITORY / "configs" / "kuairand_pure.schema.yaml")
    frame = load_kuairand_pure(folder, schema)
    assert (
        len(schema.inputs) == 43 and len(schema.history) == 20
    )  # of four ids: a count, two steps, an amount on two scales
    assert {f.name for f in schema.inputs} <= set(frame)
    assert [t.name for t in schema.targets] == ["click", "long_view", "watch_time"]
    user_columns = set(_USER_HEADER.split(","))
    video_columns = {*_VIDEO_HEADER.split(","), "duration_ms"}
    for feature in schema.inputs:
        expected = "user" if feature.name in user_columns else "item" if feature.name in video_columns else "context"
        assert feature.group == expected, feature.name


@pytest.mark.skipif(not _REAL.is_dir(), reason=f"the real rows are not at {_REAL}")
def test_the_real_rows() -> None:
    schema = Schema.from_yaml(_REPOSITORY / "configs" / "kuairand_pure.schema.yaml")
    frame = load_kuairand_pure(_REAL, schema)
    # 171,671 rows, of which `sort | uniq` keeps all but 4,390.
    assert len(frame) == 171_671 - 4_390
    assert frame["click"].mean() == pytest.approx(0.4511, abs=1e-4)
    assert frame["long_view"].mean() == pytest.approx(0.3181, abs=1e-4)
    assert frame["watch_time"].max() == 786_065
    local = pd.to_datetime(frame["time_ms"], unit="ms", utc=True).dt.tz_convert("Asia/Shanghai")
    assert (local.dt.hour == frame["hour"]).all() and (local.dt.day_of_week == frame["weekday"]).all()
    assert (local.dt.strftime("%Y%m%d").astype(int) < frame["date"]).sum() == 1_506  # filed on the day after
    for feature in schema.inputs:
        assert frame[feature.name].nunique() > 1, f"{feature.name} is constant"
    assert (frame["duration_ms"].eq(0) == frame["video_duration"].isna()).all()
