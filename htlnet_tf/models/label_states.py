"""The law of total expectation over the labels of a funnel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from htlnet_tf.layers.label_embedding import LabelEmbedding
from htlnet_tf.models.heads import Head
from htlnet_tf.schema import Multiclass, Schema

MAX_STATES = 64
"""States of the labels before the core, each of which costs a tower in serving."""

Handed = dict[str, list[tf.Tensor]]
Run = tuple[Handed, tf.Tensor, tf.Tensor]
RunTower = Callable[[int, Sequence[Mapping[str, tf.Tensor]], int], Run]


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

    def expect(
        self, run_tower: RunTower, count: tf.Tensor
    ) -> tuple[list[tf.Tensor], list[list[tuple[tf.Tensor, Handed]]]]:
        """The outputs whose predictions are the expectations over the states.

        A tower runs once for all the states that make a difference to it, whose rows lie one below the other.

        Args:
          run_tower: From a target's position, what each earlier target hands on, [S * B, u], and the number of states S
            to what it read, its representation and its output, [S * B, ...].
          count: B, an int32 scalar.

        Returns:
          The outputs in target order; and per target its states, with their probabilities [B] and what was read.
        """
        runs: list[dict[Any, Run]] = []

        def key(t: int, state: Mapping[int, int]) -> tuple[int, ...]:
            """What of a state makes a difference to tower t."""
            return tuple(state[i] for i in sorted(self._needed[t]))

        def run(t: int, states: Sequence[Mapping[int, int]]) -> dict[Any, Run]:
            """Tower t in the states that it tells apart."""
            distinct = list({key(t, state): state for state in states}.values())
            own: list[dict[str, tf.Tensor]] = [{} for _ in range(t)]
            for i in self._after[t]:
                earlier = [runs[i][key(i, state)] for state in distinct]
                own[i] = {"representation": _below(representation for _, representation, _ in earlier)}
                if i in self._classes:
                    given = zip(distinct, earlier, strict=True)
                    own[i]["label"] = _below(self._embed(i, output, state) for state, (_, _, output) in given)
            handed, representation, output = run_tower(t, own, len(distinct))
            apart = {unit: [_apart(v, len(distinct)) for v in vectors] for unit, vectors in handed.items()}
            read = [{unit: [v[s] for v in vectors] for unit, vectors in apart.items()} for s in range(len(distinct))]
            found = zip(read, _apart(representation, len(distinct)), _apart(output, len(distinct)), strict=True)
            return {key(t, state): of_state for state, of_state in zip(distinct, found, strict=True)}

        outputs: list[tf.Tensor] = []
        passes: list[list[tuple[tf.Tensor, Handed]]] = []
        states: list[tuple[dict[int, int], tf.Tensor]] = [({}, tf.zeros([count]))]
        for t in range(len(self._targets)):
            runs.append(run(t, [state for state, _ in states]))
            found = [runs[t][key(t, state)] for state, _ in states]
            kept = [
                (log_weight, handed, output)
                for (state, log_weight), (handed, _, output) in zip(states, found, strict=True)
                if self._is_seen(t, state)
            ]
            weights = tf.nn.softmax(tf.stack([log_weight for log_weight, _, _ in kept], axis=1), axis=1)
            given = tf.stack([output for _, _, output in kept], axis=1)
            outputs.append(self._objectives[t].mixture(weights, given) if len(kept) > 1 else kept[0][2])
            of_states = tf.unstack(weights, axis=1)
            passes.append([(weight, handed) for weight, (_, handed, _) in zip(of_states, kept, strict=True)])
            if t in self._classes and t < len(self._targets) - 1:
                states = [
                    (
                        state | {t: label},
                        log_weight + of_labels[label] if self._is_seen(t, state) else log_weight,
                    )
                    for (state, log_weight), (_, _, output) in zip(states, found, strict=True)
                    for of_labels in [tf.unstack(self._objectives[t].log_probabilities(output), axis=1)]
                    for label in self._labels(t, state)
                ]
        return outputs, passes

    def _embed(self, t: int, output: tf.Tensor, state: Mapping[int, int]) -> tf.Tensor:
        """The label embedding of step t in a state, [B, L]."""
        embedding = self._embeddings[self._targets[t].name]
        if not self._is_seen(t, state):
            return embedding(self._objectives[t].log_probabilities(output))
        return embedding.of_label(state[t], tf.shape(output)[0])

    def _labels(self, t: int, state: Mapping[int, int]) -> Sequence[int]:
        """The labels that step t is taken to have in a state; one, which plays no part, where it does not count."""
        return range(self._classes[t]) if self._is_seen(t, state) else (0,)

    def _is_seen(self, t: int, state: Mapping[int, int]) -> bool:
        """Whether target t counts in a state."""
        return all(state[i] == 1 for i in self._conditions[t])


def _below(states: Iterable[tf.Tensor]) -> tf.Tensor:
    """Rows of states one below the other, [S * B, ...]."""
    rows = list(states)
    return rows[0] if len(rows) == 1 else tf.concat(rows, axis=0)


def _apart(rows: tf.Tensor, states: int) -> list[tf.Tensor]:
    """The rows of each state, [B, ...]."""
    return [rows] if states == 1 else tf.split(rows, states)
