"""The law of total expectation over the labels of a funnel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Union

import tensorflow as tf

from htlnet_tf.layers.label_embedding import LabelEmbedding
from htlnet_tf.layers.state_rows import StateRows, alike
from htlnet_tf.models.heads import Head
from htlnet_tf.schema import Multiclass, Schema

MAX_STATES = 64
"""States of the labels before the core, each of which costs a tower in serving."""

Given = Union[tf.Tensor, StateRows]
"""What a target hands on: of each row, or of each row in each of several states."""

Handed = dict[str, list[Given]]
"""What a tower reads of the earlier targets, by unit."""

Run = tuple[Handed, tf.Tensor, tf.Tensor]
RunTower = Callable[[int, Sequence[Mapping[str, Given]]], Run]


class StateRun(NamedTuple):
    """A tower in all the states that it tells apart.

    Attributes:
      places: From what of a state makes a difference to the tower, to the state's place.
      handed: What it read, in S states.
      representation: float32 [S, B, u].
      outputs: Of each state, float32 [B] or [B, K].
    """

    places: dict[tuple[int, ...], int]
    handed: Handed
    representation: tf.Tensor
    outputs: list[tf.Tensor]


class LabelStates:
    """Runs towers that were trained on true labels where there are none, once per state of the labels.

    With l the labels of the steps before target t, E[y_t | x] = sum over l of P(l | x) E[y_t | x, l], and by the chain
    rule P(l | x) is the product of the steps' own predictions, each given the labels before it. A step that counts only
    after another (`observed_if`) is not seen where that did not happen; its expected label embedding stands there, as
    in training, and its own prediction is over the states where that did happen.

    Args:
      schema: Declares the targets.
      heads: By target name.
      label_embeddings: By name of a step.
      after: Per target, the positions of the earlier ones that it reads.

    Raises:
      ValueError: There are more than `MAX_STATES` states.
    """

    def __init__(
        self,
        schema: Schema,
        heads: Mapping[str, Head],
        label_embeddings: Mapping[str, LabelEmbedding],
        after: Sequence[Sequence[int]],
    ) -> None:
        self._targets, self._embeddings, self._after = schema.targets, label_embeddings, after
        self._objectives: list[Any] = [heads[t.name].objective for t in schema.targets]
        self._positions = {t.name: i for i, t in enumerate(schema.targets)}
        self._classes = {
            self._positions[t.name]: t.num_classes if isinstance(t, Multiclass) else 2 for t in schema.steps
        }
        # A step counts where all of these are 1: what it names in `observed_if`, what that one names, and so on.
        self._conditions: list[list[int]] = []
        for target in schema.targets:
            named = None if target.observed_if is None else self._positions[target.observed_if]
            self._conditions.append([] if named is None else [*self._conditions[named], named])
        states: list[dict[int, int]] = [{}]
        for t in self._classes:
            states = [state | {t: label} for state in states for label in self._labels(t, state)]
            if len(states) > MAX_STATES:
                raise ValueError(
                    f"label_embedding 'marginal' runs a tower per state of the labels before it, and there would be "
                    f"more than {MAX_STATES}: choose 'hard', or fewer steps or classes"
                )
        # The labels that tower t's activations depend on, through what it reads and what those read.
        self._needed: list[set[int]] = []
        for reads in after:
            needed = {i for i in reads if i in self._classes}
            # Whether a step was seen at all shows in its label embedding.
            needed = needed.union(*(self._conditions[i] for i in needed))
            self._needed.append(needed.union(*(self._needed[i] for i in reads)))

    def expect(self, run_tower: RunTower) -> tuple[list[tf.Tensor], list[tuple[list[tuple[int, tf.Tensor]], Handed]]]:
        """The outputs whose predictions are the expectations over the states.

        A tower runs once for all the states that make a difference to it.

        Args:
          run_tower: From a target's position and what each earlier target hands on, in S states, to what it read, its
            representation and its output, [S * B, ...].

        Returns:
          The outputs in target order; and per target the states that count, by their place in what was read and with
          their probabilities [B], and what was read.
        """
        runs: list[StateRun] = []

        def run(t: int, states: Sequence[Mapping[int, int]]) -> StateRun:
            distinct = {self._key(t, state): state for state in states}
            own: list[dict[str, Given]] = [{} for _ in range(t)]
            for i in self._after[t]:
                of_state = tuple(runs[i].places[self._key(i, state)] for state in distinct.values())
                own[i] = {"representation": StateRows(runs[i].representation, of_state)}
                if i in self._classes:
                    own[i]["label"] = self._embedded(i, list(distinct.values()), [runs[i].outputs[s] for s in of_state])
            handed, representation, output = run_tower(t, own)
            places = {key: place for place, key in enumerate(distinct)}
            count = len(places)
            of_states = tf.reshape(representation, [count, -1, representation.shape[1]])
            return StateRun(places, handed, of_states, [output] if count == 1 else tf.split(output, count))

        outputs: list[tf.Tensor] = []
        passes: list[tuple[list[tuple[int, tf.Tensor]], Handed]] = []
        states: list[tuple[dict[int, int], tf.Tensor | None]] = [({}, None)]
        for t in range(len(self._targets)):
            runs.append(run(t, [state for state, _ in states]))
            places = [runs[t].places[self._key(t, state)] for state, _ in states]
            kept = [
                (log_weight, place)
                for (state, log_weight), place in zip(states, places, strict=True)
                if self._is_seen(t, state)
            ]
            given = [runs[t].outputs[place] for _, place in kept]
            if len(kept) == 1:
                outputs.append(given[0])
                weights = [tf.ones_like(runs[t].representation[0, :, 0])]
            else:
                weight = tf.nn.softmax(tf.stack([log_weight for log_weight, _ in kept], axis=1), axis=1)
                outputs.append(self._objectives[t].mixture(weight, tf.stack(given, axis=1)))
                weights = tf.unstack(weight, axis=1)
            passes.append(([(place, weight) for (_, place), weight in zip(kept, weights, strict=True)], runs[t].handed))
            if t in self._classes and t < len(self._targets) - 1:
                states = self._divided(t, states, [runs[t].outputs[place] for place in places])
        return outputs, passes

    def _key(self, t: int, state: Mapping[int, int]) -> tuple[int, ...]:
        """What of a state makes a difference to tower t."""
        return tuple(state[i] for i in sorted(self._needed[t]))

    def _divided(
        self, t: int, states: Sequence[tuple[dict[int, int], tf.Tensor | None]], outputs: Sequence[tf.Tensor]
    ) -> list[tuple[dict[int, int], tf.Tensor | None]]:
        """States, and the logarithms of their probabilities, by the labels of step t too, whose outputs these are."""
        divided: list[tuple[dict[int, int], tf.Tensor | None]] = []
        for (state, log_weight), output in zip(states, outputs, strict=True):
            if not self._is_seen(t, state):
                divided += [(state | {t: label}, log_weight) for label in self._labels(t, state)]
                continue
            of_labels = tf.unstack(self._objectives[t].log_probabilities(output), axis=1)
            divided += [
                (state | {t: label}, of_labels[label] if log_weight is None else log_weight + of_labels[label])
                for label in self._labels(t, state)
            ]
        return divided

    def _embedded(self, t: int, states: Sequence[Mapping[int, int]], outputs: Sequence[tf.Tensor]) -> StateRows:
        """The label embedding of step t in some states, given its output there."""
        embedding = self._embeddings[self._targets[t].name]
        found: dict[Any, tf.Tensor] = {}
        keys: list[Any] = []
        for state, output in zip(states, outputs, strict=True):
            if self._is_seen(t, state):
                keys.append(state[t])
                found.setdefault(keys[-1], embedding.of_label(state[t]))
            else:
                keys.append((*self._key(t, state), "unseen"))
                if keys[-1] not in found:
                    found[keys[-1]] = embedding(self._objectives[t].log_probabilities(output))
        order = list(found)
        distinct = tf.concat(alike([vectors[tf.newaxis] for vectors in found.values()]), axis=0)
        return StateRows(distinct, tuple(order.index(key) for key in keys))

    def _labels(self, t: int, state: Mapping[int, int]) -> Sequence[int]:
        """The labels that step t is taken to have in a state; one, which plays no part, where it does not count."""
        return range(self._classes[t]) if self._is_seen(t, state) else (0,)

    def _is_seen(self, t: int, state: Mapping[int, int]) -> bool:
        """Whether target t counts in a state."""
        return all(state[i] == 1 for i in self._conditions[t])
