"""Checkpoints at the ends of epochs; here without parameter servers, which tests/runs/test_over_servers.py has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.checkpoints.by_epoch import EpochCheckpoints, read_weights
from htlnet_tf.checkpoints.state import named_variables
from htlnet_tf.runs.callbacks import KeepBest
from tests.checkpoints.trainings import Kill, KillAfter


class SecondIsBest(KeepBest):
    """Whatever the validation says: the second epoch's weights are the best."""

    def __init__(self) -> None:
        super().__init__(patience=9, keep_weights=False)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch, logs)
        self.best_epoch = min(epoch, 1)


def values(model: Any) -> dict[str, np.ndarray]:
    return {name: variable.numpy() for name, variable in named_variables(model).items()}


def test_a_killed_training_goes_on_behind_its_last_epoch_and_keeps_the_best(
    tmp_path: Path,
    reused_model: Callable[..., Any],
    schema: htl.Schema,
    frame: pd.DataFrame,
    encoder: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = htl.data.make_dataset(frame, schema, encoder, batch_size=len(frame))  # one step per epoch, always the same
    after_two: dict[str, np.ndarray] = {}

    def train(folder: str, *callbacks: Any) -> tuple[dict[str, np.ndarray], dict[str, list[float]], EpochCheckpoints]:
        model = reused_model(label_embedding="soft", dropout=0.1)
        model.levels_after_fit = False
        best = SecondIsBest()
        keeping = EpochCheckpoints(tmp_path / folder, best)
        history = model.fit(
            rows, validation_data=rows, epochs=5, verbose=0, callbacks=[*callbacks, keeping, best]
        ).history
        found = values(model)
        read_weights(model, keeping.best_weights)
        after_two[folder] = model.embedding.table.numpy()
        return found, history, keeping

    try:
        whole, history, _ = train("whole")
        with pytest.raises(Kill):
            train("killed", KillAfter(3))
        assert "goes on" not in capsys.readouterr().out
        again, history_again, keeping = train("killed")
        assert "training goes on with epoch 3/5, from the checkpoint of" in capsys.readouterr().out
        for name, value in whole.items():
            np.testing.assert_allclose(again[name], value, rtol=1e-6, atol=1e-7, err_msg=name)
        assert history_again.keys() == history.keys()
        for name, numbers in history.items():
            np.testing.assert_allclose(history_again[name], numbers, rtol=1e-5, err_msg=name)
        # The newest two and the best one, whose weights are those after two steps.
        assert sorted(path.name for path in (tmp_path / "killed").iterdir() if path.is_dir()) == [
            f"{number:08d}" for number in (2, 4, 5)
        ]
        assert keeping.best_weights.parts[-3] == "00000002"
        np.testing.assert_allclose(after_two["killed"], after_two["whole"], rtol=1e-6)
        assert not np.array_equal(after_two["killed"], again["embedding/table"])
        # What has ended goes on at its end.
        _, history_again, _ = train("killed")
        assert "training goes on at its end" in capsys.readouterr().out
        assert len(history_again["loss"]) == 5
    finally:
        reused_model(label_embedding="soft", dropout=0.1).levels_after_fit = True


def test_weights_that_are_missing(tmp_path: Path, reused_model: Callable[..., Any]) -> None:
    with pytest.raises(htl.InputError, match="missing, damaged or of another model"):
        read_weights(reused_model(label_embedding="soft", dropout=0.1), tmp_path / "none")
