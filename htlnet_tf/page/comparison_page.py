"""The page of a comparison."""

from __future__ import annotations

import shlex

from htlnet_tf.page.blocks import Page, Pairs, Section
from htlnet_tf.page.comparison_inputs import ComparisonInputs
from htlnet_tf.page.run_page import footer_text
from htlnet_tf.page.sections.compared_curves import compared_calibration, compared_learning
from htlnet_tf.page.sections.data import data_section
from htlnet_tf.page.sections.models import costs_section, model_tiles, models_sections
from htlnet_tf.page.sections.reproduction import reproduction_section
from htlnet_tf.page.sections.training import optimizer_text, source_text, split_text, targets_text, versions_text


def comparison_page(comparison: ComparisonInputs) -> Page:
    """Arranges what is known of a comparison; what is missing is said."""
    facts = comparison.facts
    config = shlex.quote(f"{comparison.name}/comparison.yaml")
    variants = list(dict.fromkeys(str(name) for name in comparison.runs["variant"]))
    seeds = comparison.runs["seed"].nunique()
    again = (
        f"htlnet compare {config} --models {shlex.quote(','.join(variants))} --seeds {seeds} "
        f"--output {shlex.quote(comparison.name + '_again')}"
    )
    found: list[Section | None] = [
        _compared(comparison, seeds),
        *models_sections(comparison),
        compared_calibration(comparison),
        compared_learning(comparison),
        costs_section(comparison),
        data_section(comparison.schema, comparison.out_of_vocabulary),
        reproduction_section(facts.command if facts else None, again, comparison.config_text),
    ]
    *steps, core = (target.name for target in comparison.schema.targets)
    unit = f" in {comparison.schema.core.unit}" if comparison.schema.core.unit else ""
    several = f"{len(variants)} models and references" if _references(comparison) else f"{len(variants)} models"
    return Page(
        title=comparison.title,
        lead=(
            f"{several}, {seeds} {'seed' if seeds == 1 else 'seeds'}, the same rows and budget for all. "
            f"The funnel: {' → '.join(steps)} → {core}{unit}."
        ),
        tiles=model_tiles(comparison),
        notices=_notices(comparison),
        sections=[section for section in found if section is not None],
        footer=footer_text(comparison.versions.get("htlnet_tf"), facts.made_at if facts else None),
    )


def _references(comparison: ComparisonInputs) -> set[str]:
    return {name for table in comparison.tables for name in table.references}


def _compared(comparison: ComparisonInputs, seeds: int) -> Section:
    settings = comparison.settings
    pairs = [("Rows", source_text(settings)), ("Split", split_text(comparison.split))]
    if comparison.num_train is not None:
        pairs.append(("Training rows", f"{comparison.num_train:,}"))
    pairs.append(("Targets", targets_text(comparison.schema)))
    pairs.append(("Features", str(len(comparison.schema.features))))
    if settings.get("training"):
        pairs.append(("Optimizer", f"{optimizer_text(settings['training'])}; unless tuned"))
    numbers = ", ".join(str(seed) for seed in dict.fromkeys(comparison.runs["seed"]))
    pairs.append(("Seed" if seeds == 1 else "Seeds", numbers))
    if comparison.versions:
        pairs.append(("Versions", versions_text(comparison.versions)))
    return Section("compared", "What was compared on what", [Pairs(pairs)])


def _notices(comparison: ComparisonInputs) -> list[str]:
    if comparison.facts is not None:
        return []
    return [
        "This folder was made by a version that kept nothing for a page: titles of tables, predictions without a model "
        "and the command are not known. The same `htlnet compare` command adds them, without a run made again."
    ]
