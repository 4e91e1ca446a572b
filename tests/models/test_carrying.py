"""Weights and the optimizer's state on their way to a network with other rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.encoding.growth import Growth, grow
from htlnet_tf.encoding.tally import Aging
from htlnet_tf.models.carrying import carry_optimizer, carry_weights, moved_weights
from htlnet_tf.optimizers import LazyAdam

SCHEMA = htl.Schema(
    features=[
        htl.Categorical("user_id", group="user"),
        htl.Categorical("item_id"),
        htl.Categorical("tag", separator=",", embedding_dim=3),
        htl.Cross("pair", of=("user_id", "item_id"), num_buckets=10_000),
        htl.Numeric("price"),
    ],
    targets=[htl.Binary("click"), htl.Continuous("spend")],
)


def built(encoder: htl.FeatureEncoder, **optimizer: Any) -> Any:
    model = htl.HTLNet(SCHEMA, encoder, tower_units=(4,), embedding_dim=5)
    model.compile(LazyAdam(1e-3, **optimizer))
    return model


@pytest.fixture(scope="module")
def growth(frame: pd.DataFrame) -> Growth:
    later = frame.assign(user_id=frame.user_id.where(frame.index % 3 > 0, "new"), item_id=frame.item_id + 7)
    return grow(htl.FeatureEncoder.fit(SCHEMA, frame), later, Aging(2, evict_after=1))


@pytest.mark.parametrize(("averages", "new_rows"), [(False, "fresh"), (True, "unknown")])
def test_rows_and_slots_move_by_what_they_stand_for(
    growth: Growth, tmp_path: Path, averages: bool, new_rows: Any
) -> None:
    kept = {"use_ema": True, "ema_momentum": 0.9} if averages else {}
    before, after = built(growth.before, **kept), built(growth.learning, **kept)
    before.make_train_function()
    random = np.random.default_rng(0)
    for variable in [*before.weights, *before.optimizer.variables]:
        drawn = np.asarray(random.normal(size=variable.shape) * 100)
        variable.assign(drawn.astype(variable.dtype.as_numpy_dtype))
    before.save_weights(tmp_path / "model")
    fresh = [table.numpy() for table in after.embedding.tables]
    tables = growth.tables()
    carry_weights(moved_weights(before, tables), after, tables, new_rows=new_rows)
    assert carry_optimizer(tmp_path / "model", after, tables)
    assert growth.added["user_id"] and growth.dropped["item_id"]
    for table, old, new, start in zip(tables, before.embedding.tables, after.embedding.tables, fresh, strict=True):
        for i, (row, is_new) in enumerate(zip(table.rows, table.is_new, strict=True)):
            own = is_new and (new_rows == "fresh" or row < 0)
            np.testing.assert_array_equal(new.numpy()[i], start[i] if own else old.numpy()[row])
        slots = zip(before.optimizer.slots(old), after.optimizer.slots(new), strict=True)
        for was, slot in slots:
            np.testing.assert_array_equal(slot.numpy()[table.is_new], 0)
            np.testing.assert_array_equal(slot.numpy()[~table.is_new], was.numpy()[table.rows[~table.is_new]])
    for name in ("towers", "label_embeddings", "representation_fusions"):
        parts = [getattr(model, name) for model in (before, after)]
        listed = [part.values() if isinstance(part, dict) else part for part in parts]
        for old_layer, new_layer in zip(*listed, strict=True):
            for a, b in zip(getattr(old_layer, "weights", ()), getattr(new_layer, "weights", ()), strict=True):
                np.testing.assert_array_equal(a, b)
    assert int(after.optimizer.iterations) == int(before.optimizer.iterations)
    # A value that both know is scored alike by the two, whatever has moved around it.
    if new_rows == "unknown":
        rows = generate_rows()
        a, b = (model(encoder_of(model).encode(rows)) for model in (before, after))
        np.testing.assert_allclose(a["click"], b["click"], rtol=1e-5)


def generate_rows() -> pd.DataFrame:
    """Rows of users and items that were there before and are there now, and of some that never were."""
    users, items = ["u1", "u2", "u3", "nobody"], [8, 9, 10, 4000]
    return pd.DataFrame(
        {"user_id": users, "item_id": items, "tag": ["a", "b,c", "", "d"], "price": [1.0, 2.0, 3.0, 4.0]}
    )


def encoder_of(model: Any) -> htl.FeatureEncoder:
    encoder: htl.FeatureEncoder = model.encoder
    return encoder


def test_a_checkpoint_without_state_or_with_another_s(growth: Growth, tmp_path: Path) -> None:
    before = built(growth.before)
    before.save_weights(tmp_path / "bare" / "model")
    tables = growth.tables()
    after = built(growth.learning)
    assert not carry_optimizer(tmp_path / "bare" / "model", after, tables)
    assert int(after.optimizer.iterations) == 0
    averaging = built(growth.before, use_ema=True)
    averaging.make_train_function()
    averaging.save_weights(tmp_path / "other" / "model")
    with pytest.raises(htl.InputError, match="another optimizer"):
        carry_optimizer(tmp_path / "other" / "model", after, tables)
    with pytest.raises(htl.InputError, match="missing or damaged"):
        carry_optimizer(tmp_path / "nowhere" / "model", after, tables)


def test_an_encoder_takes_another_one_s_place_only_with_the_same_rows(growth: Growth) -> None:
    model = built(growth.learning)
    model.change_encoder(growth.encoder)
    assert model.encoder is growth.encoder
    with pytest.raises(htl.InputError, match="rows and numbers"):
        model.change_encoder(growth.before)
