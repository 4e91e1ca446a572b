"""Reads KuaiRand-Pure, short-video impressions of the Kuaishou app, from its published files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from absl import logging

from htlnet_tf.data.published.tables import read_table, refuse_outcomes
from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path
from htlnet_tf.schema import Schema

_LOG_FILES = ("log_standard_4_08_to_4_21_pure.csv", "log_standard_4_22_to_5_08_pure.csv")
_USER_FILE = "user_features_pure.csv"
_VIDEO_FILE = "video_features_basic_pure.csv"
_LAYOUT = (
    "the published layout of KuaiRand-Pure is one folder (KuaiRand-Pure/data) with at least one of "
    f"{' and '.join(_LOG_FILES)}, with {_USER_FILE} and with {_VIDEO_FILE}"
)

_TARGETS = {"is_click": "click", "long_view": "long_view", "play_time_ms": "watch_time"}

KUAIRAND_OUTCOMES: tuple[str, ...] = (
    "is_click",
    "is_like",
    "is_follow",
    "is_comment",
    "is_forward",
    "is_hate",
    "is_profile_enter",
    "long_view",
    "play_time_ms",
    "profile_stay_time",
    "comment_stay_time",
)
"""Columns of the log, by their published names, that tell what the user did after the impression: never features."""

# The types are those of `published.read_table`.
_LOG_COLUMNS: dict[str, str] = dict.fromkeys(
    ("user_id", "video_id", "date", "hourmin", "time_ms", *KUAIRAND_OUTCOMES, "duration_ms", "is_rand", "tab"), "int64"
)
_USER_COLUMNS: dict[str, str] = {
    "user_id": "int64",
    "user_active_degree": "string",
    **dict.fromkeys(("is_lowactive_period", "is_live_streamer", "is_video_author"), "Int64"),
    **dict.fromkeys(("follow_user_num", "fans_user_num", "friend_user_num", "register_days"), "float64"),
    **dict.fromkeys(
        ("follow_user_num_range", "fans_user_num_range", "friend_user_num_range", "register_days_range"), "string"
    ),
    **dict.fromkeys((f"onehot_feat{i}" for i in range(18)), "Int64"),
}
_VIDEO_COLUMNS: dict[str, str] = {
    "video_id": "int64",
    "author_id": "Int64",
    **dict.fromkeys(("video_type", "upload_dt", "upload_type"), "string"),
    "visible_status": "Int64",
    "video_duration": "float64",
    **dict.fromkeys(("server_width", "server_height", "music_id", "music_type"), "Int64"),
    "tag": "string",
}
# Catches shifted columns and wrong units, both of which would otherwise train silently. time_ms: the years 2000-2099.
_LOG_BOUNDS: dict[str, tuple[float, float]] = {
    "is_click": (0, 1),
    "long_view": (0, 1),
    "play_time_ms": (0, float("inf")),
    "duration_ms": (0, float("inf")),
    "time_ms": (946_684_800_000, 4_102_444_799_999),
}

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
# Asia/Shanghai has been UTC+8 without daylight saving time since 1992, so no time zone database is needed.
_SHANGHAI_MS = 8 * _HOUR_MS
_THURSDAY = 3  # 1970-01-01, where Monday is 0


def load_kuairand_pure(path: str | Path, schema: Schema | None = None) -> pd.DataFrame:
    """Reads the standard interactions of KuaiRand-Pure with the features of their users and videos.

    All `log_standard` files there are concatenated in the order of their dates, exact duplicate rows are dropped (about
    2.5 %; their number is logged), and user and video features are joined on the left: a row whose user or video is not
    in its table has missing values there.

    Two published files are never read. `log_random_4_22_to_5_08_pure.csv` holds impressions of uniformly random videos,
    another exposure policy than the one a ranking model is trained for and serves. `video_features_statistic_pure.csv`
    holds counts of plays, likes and so on over the whole month of the log, so each row would see its own outcome and
    those of the test days.

    Args:
      path: The folder that has the CSV files, or its parent with the folder `data/`.
      schema: If given, it is checked that no feature of it is an outcome.

    Returns:
      One row per impression in file order, index 0 .. n-1, with the columns

      - `user_id`, `video_id`, `tab` (int64) and `duration_ms` (int64; 0 where the video has none, as pictures have),
      - `time_ms` (int64, milliseconds since 1970 UTC), and `hour` (0-23) and `weekday` (0 is Monday) of it in
        Asia/Shanghai (int64). The published `date` and `hourmin` are kept as they are; they say when the row was filed,
        in most rows up to an hour after `time_ms`, and so at times on the day after it,
      - the user and video features under their published names: codes as nullable integers (Int64), amounts as
        float64, the rest as strings. -124 is a code for "missing" in some `is_*` columns of the users; it is left as
        it is, for the schema's `missing_values`. `tag` holds comma separated tags as one string,
      - the targets `click` (from `is_click`), `long_view` (int64, 0 or 1) and `watch_time` (from `play_time_ms`, int64,
        ms).

      Every other column of `KUAIRAND_OUTCOMES` is dropped, and so is `is_rand`, which is 0 in all standard logs.

    Raises:
      InputError: A file or a column is missing, a file is truncated or garbled (the message has the file, the line, the
        column and the value), a user or video is listed twice, or a feature of `schema` is an outcome.

    References:
      Gao et al., "KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed Videos", CIKM 2022,
      doi:10.1145/3511808.3557624; data doi:10.5281/zenodo.10439422.
    """
    refuse_outcomes(schema, {*KUAIRAND_OUTCOMES, *_TARGETS.values()}, data="KuaiRand-Pure", known_by="the impression")
    folder = _find_folder(local_path(path))
    users = read_table(folder / _USER_FILE, _USER_COLUMNS, key="user_id")
    videos = read_table(folder / _VIDEO_FILE, _VIDEO_COLUMNS, key="video_id")
    log = _read_log(folder)
    frame = log.merge(users, on="user_id", how="left").merge(videos, on="video_id", how="left")
    targets = list(_TARGETS.values())
    return frame[[c for c in frame if c not in targets] + targets]


def _find_folder(path: Path) -> Path:
    if not path.is_dir():
        raise InputError(f"'{path}' is {'not a folder' if path.exists() else 'not there'}; {_LAYOUT}")
    known = (*_LOG_FILES, _USER_FILE, _VIDEO_FILE)
    candidates = (path, path / "data")
    folder = next((f for f in candidates if any((f / name).is_file() for name in known)), None)
    if folder is None:
        raise InputError(f"none of the files {', '.join(known)} is in '{path}' or in '{path / 'data'}'; {_LAYOUT}")
    if not any((folder / name).is_file() for name in _LOG_FILES):
        raise InputError(f"there is no {' or '.join(_LOG_FILES)} in '{folder}'; {_LAYOUT}")
    for name in (_USER_FILE, _VIDEO_FILE):
        if not (folder / name).is_file():
            raise InputError(f"there is no {name} in '{folder}'; {_LAYOUT}")
    return folder


def _read_log(folder: Path) -> pd.DataFrame:
    files = [folder / name for name in _LOG_FILES if (folder / name).is_file()]
    tables = [read_table(file, _LOG_COLUMNS, bounds=_LOG_BOUNDS) for file in files]
    logged = pd.concat(tables, ignore_index=True)
    log = logged.drop_duplicates(ignore_index=True)
    dropped = len(logged) - len(log)
    share = 100.0 * dropped / len(logged)
    logging.info("KuaiRand-Pure: dropped %d exact duplicates of %d rows (%.2f %%)", dropped, len(logged), share)

    local_ms = log["time_ms"] + _SHANGHAI_MS
    log = log.assign(hour=local_ms // _HOUR_MS % 24, weekday=(local_ms // _DAY_MS + _THURSDAY) % 7)
    unused = [c for c in KUAIRAND_OUTCOMES if c not in _TARGETS]
    return log.drop(columns=[*unused, "is_rand"]).rename(columns=_TARGETS)
