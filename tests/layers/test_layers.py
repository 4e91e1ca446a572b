"""Each layer against NumPy in float64, written from its formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import htlnet_tf  # noqa: F401
from htlnet_tf.layers.information_fusion import InformationFusion
from htlnet_tf.layers.label_embedding import LabelEmbedding
from htlnet_tf.layers.shared_embedding import SharedEmbedding
from htlnet_tf.layers.state_rows import StateRows
from htlnet_tf.layers.tower import Tower


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


class TestTower:
    def test_representation_and_output_by_hand(self) -> None:
        tower = Tower([2], 1, name="t")
        x = tf.constant([[1.0, -1.0]])
        tower(x)
        tower.hidden[0].set_weights([np.asarray([[1.0, -1.0], [0.5, 1.0]]), np.asarray([0.25, 0.0])])
        tower.head.set_weights([np.asarray([[2.0], [3.0]]), np.asarray([0.5])])
        representation, output = tower(x)
        assert representation.numpy().tolist() == [[0.75, 0.0]]  # ReLU of (1 - 0.5 + 0.25, -1 - 1)
        assert output.numpy().tolist() == [2.0]

    def test_shapes(self) -> None:
        representation, output = Tower([8, 4], 3, name="t")(tf.zeros([5, 7]))
        assert (representation.shape, output.shape) == ((5, 8), (5, 3))
        with pytest.raises(ValueError, match="at least one hidden layer"):
            Tower([], 1, name="t")

    def test_dropout_is_of_training_and_not_of_what_later_towers_see(self) -> None:
        tf.keras.utils.set_random_seed(0)
        tower = Tower([4], 1, dropout=0.5, name="t")
        x = tf.ones([2000, 3])
        tower(x)
        tower.hidden[0].set_weights([np.ones([3, 4]), np.zeros(4)])
        tower.head.set_weights([np.ones([4, 1]), np.zeros(1)])
        np.testing.assert_array_equal(tower(x)[1], 12.0)
        representation, output = tower(x, training=True)
        np.testing.assert_array_equal(representation, 3.0)
        # Each activation is 0 or 3 / (1 - 0.5), so that the expectation stays: a sum of four has the variance 4 * 9.
        assert set(output.numpy()) == {0.0, 6.0, 12.0, 18.0, 24.0}
        assert abs(output.numpy().mean() - 12.0) < 5 * np.sqrt(36 / 2000)
        with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\), received 1"):
            Tower([4], 1, dropout=1.0, name="t")


class TestLabelEmbedding:
    def test_inference_is_the_expected_embedding_and_deterministic(self) -> None:
        unit = LabelEmbedding(3, 4, name="l")
        pi = np.asarray([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
        with np.errstate(divide="ignore"):
            log_pi = tf.constant(np.log(pi), tf.float32)
        first, second = unit(log_pi), unit(log_pi)
        np.testing.assert_allclose(first, pi @ unit.table.numpy(), rtol=1e-6)
        np.testing.assert_array_equal(first, second)

    def test_training_draws_from_the_distribution(self) -> None:
        tf.keras.utils.set_random_seed(1)
        unit = LabelEmbedding(2, 2, tau_start=0.05, tau_min=0.05, name="l")
        unit(tf.zeros([1, 2]))
        unit.table.assign(tf.eye(2))
        pi = np.asarray([0.3, 0.7])
        weights = unit(tf.tile(tf.constant(np.log(pi)[np.newaxis], tf.float32), [20_000, 1]), training=True).numpy()
        np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-5)
        # At a low temperature the draws are nearly one-hot, so their mean is pi: 5 standard errors.
        assert abs(weights[:, 1].mean() - 0.7) < 5 * np.sqrt(0.21 / 20_000)
        assert np.mean(weights.max(axis=1) > 0.99) > 0.8

    def test_annealing_by_hand(self) -> None:
        unit = LabelEmbedding(2, 2, tau_start=1.0, tau_min=0.5, tau_decay=0.1, name="l")
        unit(tf.zeros([1, 2]))
        for _ in range(3):
            unit.anneal()
        assert float(unit.tau) == pytest.approx(np.exp(-0.3), rel=1e-6)
        for _ in range(10):
            unit.anneal()
        assert float(unit.tau) == 0.5

    def test_in_the_expected_form_training_is_inference(self) -> None:
        unit = LabelEmbedding(2, 3, form="expected", name="l")
        log_pi = tf.math.log(tf.constant([[0.25, 0.75]]))
        np.testing.assert_array_equal(unit(log_pi, training=True), unit(log_pi))

    def test_bad_arguments(self) -> None:
        with pytest.raises(ValueError, match="tau_min"):
            LabelEmbedding(2, tau_start=0.1, tau_min=0.5, name="l")
        with pytest.raises(ValueError, match="tau_decay"):
            LabelEmbedding(2, tau_decay=-1.0, name="l")


FUSION = InformationFusion(4, name="f")
FUSION([tf.zeros([1, 5])] * 3)


class TestInformationFusion:
    @pytest.mark.parametrize("count", [2, 3])
    def test_attention_against_numpy(self, count: int) -> None:
        random = np.random.default_rng(count)
        inputs = [random.normal(size=(5, 4)) for _ in range(count)]
        unit = InformationFusion(3, name="f")
        fused = unit([tf.constant(u, tf.float32) for u in inputs])
        result, weights = unit.attend([tf.constant(u, tf.float32) for u in inputs])
        w_v, w_k, w_q = np.split(unit.kernel.numpy().astype(np.float64), 3, axis=1)
        scores = np.stack([((u @ w_k) * (u @ w_q)).sum(axis=1) for u in inputs], axis=1) / np.sqrt(3)
        expected_weights = softmax(scores)
        expected = sum(expected_weights[:, [i]] * (u @ w_v) for i, u in enumerate(inputs))
        np.testing.assert_allclose(weights, expected_weights, rtol=1e-5)
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(fused, result)

    @given(seed=st.integers(0, 9), ones=st.tuples(st.booleans(), st.booleans(), st.booleans()))
    def test_in_states_it_is_what_it_is_in_each(self, seed: int, ones: tuple[bool, ...]) -> None:
        random = np.random.default_rng(seed)
        places = [tuple(int(d) for d in random.integers(0, 2, 4)) for _ in ones]
        vectors = [tf.constant(random.normal(size=(2, 1 if one else 3, 5)), tf.float32) for one in ones]
        fused, weights = FUSION.attend([StateRows(v, s) for v, s in zip(vectors, places, strict=True)])
        for state in range(4):
            alone = [tf.broadcast_to(v[s[state]], [3, 5]) for v, s in zip(vectors, places, strict=True)]
            expected, attended = FUSION.attend(alone)
            np.testing.assert_allclose(fused.in_states()[state], expected[: fused.shape[1]], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(weights.in_states()[state], attended[: fused.shape[1]], rtol=1e-4, atol=1e-5)

    def test_one_input_needs_no_keys_and_queries(self) -> None:
        unit = InformationFusion(3, name="f")
        x = tf.random.normal([2, 4])
        np.testing.assert_allclose(unit([x]), x @ unit.kernel)
        assert unit.kernel.shape == (4, 3)

    def test_the_three_projections_start_different(self) -> None:
        unit = InformationFusion(4, name="f")
        unit([tf.zeros([1, 5]), tf.zeros([1, 5])])
        w_v, w_k, w_q = np.split(unit.kernel.numpy(), 3, axis=1)
        assert not np.allclose(w_v, w_k)
        assert not np.allclose(w_k, w_q)


class TestSharedEmbedding:
    # Two single-valued features and one of three slots; row 0 is padding.
    SLOTS = (1, 3, 1)
    IDS = np.asarray([[1, 4, 5, 0, 7], [2, 4, 0, 0, 7], [1, 5, 6, 4, 8], [1, 6, 0, 0, 8]], np.int32)

    def layer(self) -> SharedEmbedding:
        layer = SharedEmbedding(9, self.SLOTS, 2)
        layer(tf.constant(self.IDS))
        layer.table.assign(np.random.default_rng(0).normal(size=(9, 2)))
        return layer

    def expected(self, table: np.ndarray) -> np.ndarray:
        rows = []
        for ids in self.IDS:
            tags = [table[i] for i in ids[1:4] if i != 0]
            rows.append(np.concatenate([table[ids[0]], np.mean(tags, axis=0), table[ids[4]]]))
        return np.asarray(rows)

    def test_lookup_and_mean_against_numpy(self) -> None:
        layer = self.layer()
        expected = self.expected(layer.table.numpy().astype(np.float64))
        np.testing.assert_allclose(layer(tf.constant(self.IDS)), expected, rtol=1e-6)
        touched = layer.touched(tf.constant(self.IDS))
        np.testing.assert_allclose(layer.embed(touched), expected, rtol=1e-6)
        assert sorted(touched.unique.numpy()) == sorted(set(self.IDS.ravel()))

    @pytest.mark.parametrize("portable", [False, True])
    def test_row_gradients_equal_the_dense_gradient_of_each_task(self, portable: bool) -> None:
        layer = self.layer()
        layer.portable = portable
        ids = tf.constant(self.IDS)
        upstream = [tf.constant(np.random.default_rng(t).normal(size=(4, 6)), tf.float32) for t in range(3)]
        touched = layer.touched(ids)
        rows = tf.reshape(layer.row_gradients(touched, upstream), [3, -1, 2]).numpy()
        assert rows.shape == (3, len(touched.unique), 2)
        for t, g in enumerate(upstream):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(layer(ids) * g)
            dense: Any = tf.convert_to_tensor(tape.gradient(loss, layer.table)).numpy()
            np.testing.assert_allclose(rows[t], dense[touched.unique.numpy()], rtol=1e-5, atol=1e-6)
            padding = int(np.argmax(touched.unique.numpy() == 0))
            assert (rows[t, padding] == 0).all()

    def test_gram_and_combination_by_hand(self) -> None:
        gradients = tf.constant([[1.0, 0.0, 2.0, 0.0], [0.0, 1.0, -1.0, 0.0]])  # two tasks, two rows of width 2
        assert SharedEmbedding.gram(gradients).numpy().tolist() == [[5.0, -2.0], [-2.0, 2.0]]
        layer = self.layer()
        touched = layer.touched(tf.constant([[2, 7, 0, 0, 2]]))._replace(values=tf.ones([2, 2]))
        (combined,) = layer.combine(touched, gradients, tf.constant([2.0, 1.0]))
        assert combined.values.numpy().tolist() == [[2.0, 1.0], [3.0, 0.0]]
        (penalised,) = layer.combine(touched, gradients, tf.constant([2.0, 1.0]), l2=0.25)
        assert penalised.values.numpy().tolist() == [[2.5, 1.5], [3.5, 0.5]]
