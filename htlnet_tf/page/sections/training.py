"""What was trained on what, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from htlnet_tf.objectives import declared
from htlnet_tf.page.blocks import Block, Cell, Column, Pairs, Section, Table
from htlnet_tf.page.numbers import duration_text, number_cell, point_text, share_text
from htlnet_tf.page.run_inputs import RunInputs
from htlnet_tf.schema import Schema

_PARTS = {"train": "training", "valid": "validation", "test": "test"}


def training_section(run: RunInputs) -> Section:
    """Rows, split, model, objective, parameters, seconds, versions."""
    blocks: list[Block] = [Pairs(_pairs(run))]
    if run.known.rows:
        blocks.append(_rows_table(run.known.rows, run.split))
    if len(run.known.members) > 1:
        blocks.append(_members_table(run))
    return Section("training", "What was trained on what", blocks)


def split_text(split: Mapping[str, Any] | None) -> str:
    """The rule that split the rows, in words."""
    if split is None:
        return "not known"
    config = dict(split.get("config", split))
    by = config.pop("by", "?")
    if by == "time" and config.get("dates"):
        first, second = config["dates"]
        return f"by time: validation from {point_text(first)[0]}, test from {point_text(second)[0]}"
    if by == "time":
        shares = " / ".join(f"{share:g}" for share in config.get("fractions") or ())
        return f"by time, {shares} of the rows"
    return f"by {by}" + "".join(f", {name} {value}" for name, value in config.items() if value is not None)


def source_text(settings: Mapping[str, Any]) -> str:
    """Where the rows come from."""
    data = settings.get("data", {})
    return str(data.get("loader", "?")) + (f", {data['path']}" if data.get("path") else "")


def targets_text(schema: Schema) -> str:
    """The targets with what they are learned by."""
    return ", ".join(f"{target.name} ({_learned(target)})" for target in schema.targets)


def versions_text(versions: Mapping[str, str]) -> str:
    """Packages with their versions."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _pairs(run: RunInputs) -> list[tuple[str, str]]:
    facts, training = run.known, run.settings.get("training", {})
    model = run.settings.get("model", {})
    pairs = [("Rows", source_text(run.settings)), ("Split", split_text(run.split))]
    arguments = ", ".join(f"{name} {value}" for name, value in (model.get("arguments") or {}).items())
    pairs.append(("Model", f"{facts.model or model.get('name', '?')}" + (f" ({arguments})" if arguments else "")))
    pairs.append(("Targets", targets_text(run.schema)))
    groups = [getattr(feature, "group", "derived") for feature in run.schema.features]
    counted = ", ".join(f"{groups.count(group)} {group}" for group in dict.fromkeys(groups))
    pairs.append(("Features", f"{len(groups)} ({counted})"))
    if facts.parameters is not None:
        pairs.append(("Parameters", f"{facts.parameters:,}"))
    if training:
        pairs.append(("Optimizer", optimizer_text(training)))
    if len(facts.members) == 1:
        (member,) = facts.members
        pairs.append(("Training", f"{duration_text(member.seconds)}, {_best(member.best, member.validations)}"))
        pairs.append(("Seed", str(member.seed)))
    elif facts.members:
        seconds = sum(member.seconds for member in facts.members)
        pairs.append(("Training", f"{duration_text(seconds)} in all for {len(facts.members)} members"))
    if facts.versions:
        pairs.append(("Versions", versions_text(facts.versions)))
    return pairs


def _learned(target: Any) -> str:
    objective = declared(target.learned_by)
    if isinstance(objective, str):
        return objective.replace("_", " ")
    return ", ".join(str(v) if k == "name" else f"{k} {v}" for k, v in objective.items())


def optimizer_text(training: Mapping[str, Any]) -> str:
    """Steps, rate and stopping, in words."""
    said = f"batches of {training.get('batch_size', 0):,}, learning rate {training.get('learning_rate', 0):g}"
    if training.get("schedule"):
        said += f" ({training['schedule'].get('name')})"
    if training.get("ema_momentum"):
        said += f", averaged weights ({training['ema_momentum']:g})"
    epochs = training.get("epochs")
    said += f", at most {epochs} {'epoch' if epochs == 1 else 'epochs'}"
    patience = training.get("patience")
    return said + (f", early stopping with patience {patience}" if training.get("early_stopping") else "")


def _best(best: int, validations: int) -> str:
    return f"the weights are those of validation {best} of {validations}"


def _rows_table(rows: Mapping[str, int], split: Mapping[str, Any] | None) -> Table:
    cuts = list((split or {}).get("cuts") or ())
    total = sum(rows.values())
    found = []
    for number, (part, count) in enumerate(rows.items()):
        line = [Cell(_PARTS.get(part, part)), Cell(f"{count:,}", count), Cell(share_text(count / total), count / total)]
        if cuts:
            text, note = point_text(cuts[number]) if number < len(cuts) else ("later", "")
            line.append(Cell(f"until {text}" if number < len(cuts) else text, note=note))
        found.append(line)
    columns = [Column("part", is_number=False), Column("rows"), Column("share")]
    columns += [Column(f"by {(split or {}).get('timestamp', 'time')}", is_number=False)] if cuts else []
    return Table("Rows by part", columns, found)


def _members_table(run: RunInputs) -> Table:
    columns = [Column("seed", is_number=False), Column("best validation"), Column("validations"), Column("seconds")]
    rows = [
        [
            Cell(str(m.seed)),
            Cell(str(m.best), m.best),
            Cell(str(m.validations), m.validations),
            number_cell(m.seconds, 1),
        ]
        for m in run.known.members
    ]
    return Table("Members of the ensemble", columns, rows)
