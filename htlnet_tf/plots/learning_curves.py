"""Losses and metrics over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from htlnet_tf.errors import InputError
from htlnet_tf.plots.figure import TRAIN, VALIDATION, PathLike, floats, handle, panel_grid, quantity_label, save, say
from htlnet_tf.plots.gradients import ROWS
from htlnet_tf.schema import Schema


def plot_learning_curves(
    history: Mapping[str, Sequence[float]], schema: Schema, path: PathLike, *, title: str | None = None
) -> Path:
    """One panel per quantity over the epochs, for the training and the validation rows; one line of panels per target.

    The best validation epoch of a quantity whose better direction is known is marked and named above its panel.

    Args:
      history: `History.history` of Keras: `loss`, `{target}_loss`, `{target}_auc`, `{core}_nrmse` ..., and the same
        with the prefix `val_`. The series of `plot_gradients` are left out.
      schema: Gives the order of the panels and the names of the targets.
      path: The PNG file to write.
      title: A line above all panels.

    Returns:
      `path`.

    Raises:
      InputError: There is nothing to plot, or the file cannot be written.
    """
    names = list(dict.fromkeys(key.removeprefix("val_") for key, values in history.items() if len(values)))
    names = [name for name in names if not name.endswith(tuple(f"_gradient_{row}" for row in ROWS))]
    if not names:
        raise InputError(f"the history holds no curves to plot, only the series {sorted(history)}")
    targets = [target.name for target in schema.targets]
    # What belongs to no target comes first; within a target Keras' order is kept, but the loss leads.
    names.sort(key=lambda name: _split(name, targets)[1] != "loss")
    groups = [[name for name in names if _split(name, targets)[0] == target] for target in ["", *targets]]
    figure, panels = panel_grid([len(group) for group in groups if group], title)
    for name, axes in zip(chain.from_iterable(groups), panels, strict=True):
        target, quantity = _split(name, targets)
        train, validation = floats(history.get(name, ())), floats(history.get(f"val_{name}", ()))
        # With `validation_freq=k` Keras gives a validation value for every k-th epoch only.
        length = train.size or len(history.get("loss", ()))
        every = max(1, length // validation.size) if validation.size else 1
        epochs = np.arange(1, validation.size + 1) * every
        axes.plot(np.arange(1, train.size + 1), train, "o-", color=TRAIN, markersize=3.5, linewidth=1.5)
        axes.plot(epochs, validation, "s-", color=VALIDATION, markersize=3.5, linewidth=1.5)
        better, label = quantity_label(quantity)
        heading = f"{target}: {label}" if target else label
        finite = np.isfinite(validation)
        if better and finite.any():
            best = int(np.argmax(np.where(finite, better * validation, -np.inf)))
            axes.plot(epochs[best], validation[best], "*", color=VALIDATION, markersize=13, markeredgecolor="white")
            heading += f"\nbest {validation[best]:#.4g} at epoch {epochs[best]}"
        if not finite.any() and not np.isfinite(train).any():
            say(axes, "no finite values")
        axes.set_title(heading, fontsize=10)
        axes.set_xlabel("epoch")
        axes.set_xlim(0.6, max(train.size, epochs.max(initial=1)) + 0.4)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    handles = [handle("training", TRAIN, "o-"), handle("validation", VALIDATION, "s-")]
    handles.append(handle("best validation epoch", VALIDATION, "*", markersize=11))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return save(figure, path)


def _split(name: str, targets: Sequence[str]) -> tuple[str, str]:
    """`"click_auc"` -> `("click", "auc")`; the longest target that fits, for one name may begin with another's."""
    fitting = [target for target in targets if name.startswith(f"{target}_")]
    target = max(fitting, key=len, default="")
    return target, name[len(target) + 1 :] if target else name
