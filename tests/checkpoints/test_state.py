"""The variables of a model and its optimizer as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.checkpoints.state import copy_own_state, named_variables, restore_state, save_state


def values(model: Any) -> dict[str, np.ndarray]:
    return {name: variable.numpy() for name, variable in named_variables(model).items()}


def test_all_that_a_model_tracks_is_there_by_name(reused_model: Any) -> None:
    model = reused_model(label_embedding="soft")
    named = named_variables(model)
    ids = {id(v) for v in named.values()}
    assert all(id(v) in ids for v in [*model.variables, *model.optimizer.variables])
    assert all(id(v) in ids for metric in model.metrics for v in metric.variables)
    assert named["towers/0/hidden/0/kernel"] is model.towers[0].hidden[0].kernel
    assert named["label_embeddings/click/tau"] is model.label_embeddings["click"].tau


def test_what_an_adjustment_makes_on_its_way_is_there_before_the_first_step(make_model: Any) -> None:
    model = make_model(gradient_adjustment=htl.MetaBalance())
    model.make_train_function()
    assert named_variables(model)["gradient_adjustment/_averages"].shape == (3,)


def test_a_state_is_read_as_it_was_written(reused_model: Any, tmp_path: Path) -> None:
    model = reused_model(label_embedding="soft")
    random = np.random.default_rng(0)
    for variable in named_variables(model).values():
        variable.assign(random.integers(0, 9, variable.shape).astype(variable.dtype.as_numpy_dtype))
    before = values(model)
    save_state(model, tmp_path)
    with np.load(tmp_path / "state.npz") as kept:
        np.testing.assert_array_equal(kept["towers/0/hidden/0/kernel"], model.towers[0].hidden[0].kernel)
    for variable in named_variables(model).values():
        variable.assign(variable + 1)
    restore_state(model, tmp_path)
    for name, value in values(model).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_what_does_not_fit_changes_nothing(reused_model: Any, make_model: Any, tmp_path: Path) -> None:
    model = reused_model(label_embedding="soft")
    save_state(model, tmp_path)
    wider = make_model(tower_units=(17, 8), label_embedding="soft")
    with pytest.raises(htl.InputError, match=r"has shape .* there, .*17.* here"):
        restore_state(wider, tmp_path)
    with pytest.raises(htl.InputError, match=r"is there alone"):
        restore_state(make_model(use_label_embedding=False), tmp_path)
    before = values(model)
    path = tmp_path / "state.npz"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) * 2 // 3] ^= 255
    for damaged in (bytes(flipped), whole[: len(whole) // 2], b""):
        path.write_bytes(damaged)
        with pytest.raises(htl.InputError, match="damaged"):
            restore_state(model, tmp_path)
    path.unlink()
    with pytest.raises(htl.InputError, match="missing"):
        restore_state(model, tmp_path)
    for name, value in values(model).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_a_model_must_be_compiled_with_an_optimizer_of_keras(schema: htl.Schema, encoder: Any, tmp_path: Path) -> None:
    with pytest.raises(htl.InputError, match="compile it first"):
        save_state(htl.SharedBottom(schema, encoder, tower_units=(4,)), tmp_path)


def test_a_copy_of_a_state_is_its_own(reused_model: Any, make_model: Any) -> None:
    model, other = reused_model(), make_model()
    other.compile()
    copy_own_state(model, other)
    before = values(model)
    for name, value in values(other).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    for variable in other.trainable_variables:
        variable.assign_add(tf.ones_like(variable))
    for name, value in values(model).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
