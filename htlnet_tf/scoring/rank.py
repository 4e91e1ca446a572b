"""The best items for one user with a model in memory, as the exported model's `ranked` gives them."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import tensorflow as tf

from htlnet_tf.data.raw_features import raw_features
from htlnet_tf.errors import InputError
from htlnet_tf.schema.ranking import SCORE
from htlnet_tf.scoring.prediction import predict_encoded

if TYPE_CHECKING:
    from htlnet_tf.models.scoring_model import ScoringModel


def rank(
    model: ScoringModel,
    user: Mapping[str, Any] | pd.Series | pd.DataFrame,
    items: pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]],
    k: int = 10,
) -> pd.DataFrame:
    """The best items for one user, sorted by the score of the schema's ranking.

    Args:
      model: A trained model whose schema declares a `ranking`.
      user: Column -> value, for the columns of group user and context, as the table calls them; or a frame of one row.
      items: The columns of group item, one row per item: a frame, a mapping of columns, or a list of mappings. Further
        columns are left out.
      k: How many items are wanted.

    Returns:
      The `k` best items, or all if there are fewer, best first: `score` and the columns of `predict` per target; the
      index is that of the items' own rows. Of items with equal scores the one that stands first comes first; one whose
      score is not a number comes last.

    Raises:
      InputError: No ranking is declared, `k` is below 1, there are no items, or a column is missing or holds a value
        that its kind does not allow.

    Example:
      >>> best = htl.rank(model, {"user_id": "u7", "tab": 1}, items, k=20)
      >>> items.loc[best.index].assign(score=best["score"])
    """
    if model.schema.ranking is None:
        raise InputError("the model's schema declares no ranking: add `ranking`, {target: weight}, to it")
    if not isinstance(k, numbers.Integral) or isinstance(k, bool) or k < 1:
        raise InputError(f"k, the number of items asked for, must be a whole number of at least 1; received {k!r}")
    own = {feature.name: feature.source for feature in model.schema.inputs if feature.group == "item"}
    shared = {feature.name: feature.source for feature in model.schema.inputs if feature.group != "item"}
    if not own:
        raise InputError("the model's schema has no column of group item, in which items could differ")
    once, table = _user_frame(user, list(shared.values())), _item_frame(items, list(own.values()))
    raw = raw_features(table, model.schema, only=own)
    if shared:
        of_user = raw_features(once, model.schema, only=shared)
        raw |= {name: np.repeat(values, len(table)) for name, values in of_user.items()}
    columns = {name: tf.constant(raw[name], spec.dtype) for name, spec in model.encoder.raw_specs().items()}
    encoded = {key: values.numpy() for key, values in model.encoder(columns).items()}
    scores = predict_encoded(model, encoded, table.index)
    order = np.argsort(-scores[SCORE].to_numpy(), kind="stable")[: int(k)]  # NumPy puts NaN last
    return scores.iloc[order][[SCORE, *(name for name in scores if name != SCORE)]]


def _user_frame(user: Any, names: Sequence[str]) -> pd.DataFrame:
    if isinstance(user, pd.DataFrame):
        if len(user) != 1:
            raise InputError(f"the user must be one row, but the table of the user has {len(user)}")
        return user
    if isinstance(user, pd.Series):
        user = user.to_dict()
    if not isinstance(user, Mapping):
        raise InputError(f"the user must be a mapping of column and value, but is a {type(user).__name__}")
    for name in names:
        if name not in user:
            raise InputError(f"column '{name}' is missing in the user, which has {list(user)}")
    return pd.DataFrame({name: _objects([user[name]]) for name in names})


def _item_frame(items: Any, names: Sequence[str]) -> pd.DataFrame:
    if isinstance(items, Mapping):
        for name in names:
            if name not in items:
                raise InputError(f"column '{name}' of the items is missing, which have {list(items)}")
            _require_column(name, items[name])
        sizes = {name: len(items[name]) for name in names}
        if len(set(sizes.values())) > 1:
            raise InputError(f"every column of the items needs as many values, but there are {sizes}")
        items = pd.DataFrame({name: _objects(items[name]) for name in sizes})
    elif isinstance(items, Sequence) and not isinstance(items, (str, bytes)):
        for position, item in enumerate(items):
            if not isinstance(item, Mapping):
                raise InputError(f"every item must be a dict of column and value, but item {position} is {item!r:.60}")
            missing = [name for name in names if name not in item]
            if missing:
                raise InputError(f"column '{missing[0]}' is missing in row {position} of the items")
        items = pd.DataFrame({name: _objects([item[name] for item in items]) for name in names})
    if not isinstance(items, pd.DataFrame):
        raise InputError(f"items must be a frame, a dict of columns or a list of dicts, not {type(items).__name__}")
    if not len(items):
        raise InputError("at least one item is needed, but there are none")
    return items


def _require_column(name: str, values: Any) -> None:
    is_array = isinstance(values, (np.ndarray, pd.Series, pd.Index))
    if is_array and values.ndim != 1:
        raise InputError(f"column '{name}' of the items must be one-dimensional, but has shape {values.shape}")
    if not is_array and (not isinstance(values, Sequence) or isinstance(values, (str, bytes))):
        raise InputError(f"column '{name}' of the items must be a list or an array, but is {values!r:.60}")


def _objects(values: Any) -> np.ndarray:
    """Values as they are: as pandas would guess, whole numbers with a gap among them would be floats."""
    column = np.empty(len(values), object)
    for position, value in enumerate(values):
        column[position] = value
    return column
