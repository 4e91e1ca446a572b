"""Lines of progress, by a clock that is set."""

from __future__ import annotations

import pytest

from htlnet_tf.serving import score_progress
from htlnet_tf.serving.score_progress import Progress


def test_rows_per_second_and_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(score_progress.time, "monotonic", lambda: now)
    lines: list[str] = []
    progress = Progress(1000.0, lines.append)
    now = 102.0
    progress.add(500, 10.0)  # too early to tell
    now = 110.0
    progress.add(1500, 90.0)  # 2000 rows in 10 s; 100 of 1000 bytes, so 900 take 90 s
    now = 111.0
    progress.add(10, 0.0)
    assert lines == ["2,000 rows scored, 200 per second, 1 min 30 s left"]
    assert progress.rows == 2010 and progress.seconds == 11.0
    assert score_progress._duration(7325.0) == "2 h 02 min"
