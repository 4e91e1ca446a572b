"""History statistics: what the training rows say of a value, as numbers beside its embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Literal, Union

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from htlnet_tf.schema.names import STRICT, ColumnName, EmbeddingDim, QuantileBuckets

if TYPE_CHECKING:
    from htlnet_tf.schema.targets import Target

Scale = Literal["linear", "log"]
Scheme = Literal["folds", "ordered"]


@dataclass(frozen=True, config=STRICT)
class TargetEncoding:
    """The mean of a target over the training rows that share a value of a feature; it has no column of its own.

    The mean is drawn to that of all rows, the prior p: (sum of w y + smoothing p) / (sum of w + smoothing), with the
    rows' weights in the target's loss. Values that are missing or out of vocabulary get the prior. In training a row
    never sees its own label.

    Args:
      of: The name of a categorical feature, sequence or cross. Of a multi-valued one it is the mean over a row's
        values.
      target: The name of the target. Of a `Multiclass` target each class is a number.
      name: Of the feature. Empty: made of `of`, `target` and `scale`.
      smoothing: How many rows the prior counts for, more than 0.
      scale: `"linear"`: of y. `"log"`: of log(1 + y / m), for an amount that is not negative: what usual rows bring,
        not the largest. m is what is small among the amounts above 0, exp(mean - 2 deviations) of their logarithms,
        so that 0 stands apart from them in any unit.
      scheme: What stands for a training row's statistic. `"folds"`: that of the rows of the other folds. `"ordered"`:
        that of the rows earlier in time, which needs the schema's `timestamp`. Everywhere else, serving included, it is
        that of all training rows.
      folds: How many, for `"folds"`.
      quantile_buckets: Beside the number, an embedding row for each of so many buckets of it; their bounds are
        quantiles over the training rows. Equal quantiles make fewer buckets.
      embedding_dim: Width of the buckets' embedding rows. None: the model's.

    References:
      Micci-Barreca: "A Preprocessing Scheme for High-Cardinality Categorical Attributes", SIGKDD Explorations 3(1),
      2001; Prokhorenkova et al.: "CatBoost: unbiased boosting with categorical features", NeurIPS 2018, section 3
      (ordered).
    """

    _: KW_ONLY
    of: str
    target: str
    name: ColumnName = ""
    smoothing: float = Field(default=20.0, gt=0, le=1e9)
    scale: Scale = "linear"
    scheme: Scheme = "folds"
    folds: int = Field(default=5, ge=2, le=100)
    quantile_buckets: QuantileBuckets | None = None
    embedding_dim: EmbeddingDim | None = None
    kind: Literal["target_encoding"] = "target_encoding"

    @model_validator(mode="after")
    def _has_a_name(self) -> TargetEncoding:
        if not self.name:
            log = ".log" if self.scale == "log" else ""
            object.__setattr__(self, "name", f"{self.of}.{self.target}{log}")
        _check_buckets(self)
        return self


@dataclass(frozen=True, config=STRICT)
class CountEncoding:
    """How many training rows share a value of a feature, as log(1 + n); it has no column of its own.

    Rows count by the schema's `sample_weight`. Values that are missing or out of vocabulary have 0, and a training row
    does not count itself.

    Args:
      of: As for `TargetEncoding`.
      name: Of the feature. Empty: made of `of`.
      quantile_buckets: As for `TargetEncoding`, as `embedding_dim`.
    """

    _: KW_ONLY
    of: str
    name: ColumnName = ""
    quantile_buckets: QuantileBuckets | None = None
    embedding_dim: EmbeddingDim | None = None
    kind: Literal["count_encoding"] = "count_encoding"

    @model_validator(mode="after")
    def _has_a_name(self) -> CountEncoding:
        if not self.name:
            object.__setattr__(self, "name", f"{self.of}.count")
        _check_buckets(self)
        return self


def _check_buckets(feature: History) -> None:
    if feature.quantile_buckets is None and feature.embedding_dim is not None:
        raise ValueError(f"statistic '{feature.name}' has an embedding_dim, so it needs quantile_buckets")


History = Union[TargetEncoding, CountEncoding]


@dataclass(frozen=True, config=STRICT)
class HistoryStatistics:
    """Several history statistics at once, as a schema's `statistics`; each becomes a feature.

    Args:
      of: The features, each of which gets all of them.
      targets: The targets. None: all.
      counts: Whether rows are counted as well.
      log: Whether amounts that are not negative are encoded on the log scale as well.
      smoothing: As for `TargetEncoding`, as the following.
      scheme: Which rows a training row sees.
      folds: How many.
      quantile_buckets: Of each of them, beside the number.
      embedding_dim: Of the buckets.
    """

    _: KW_ONLY
    of: tuple[str, ...] = Field(min_length=1)
    targets: tuple[str, ...] | None = None
    counts: bool = True
    log: bool = True
    smoothing: float = Field(default=20.0, gt=0, le=1e9)
    scheme: Scheme = "folds"
    folds: int = Field(default=5, ge=2, le=100)
    quantile_buckets: QuantileBuckets | None = None
    embedding_dim: EmbeddingDim | None = None

    def features(self, targets: Sequence[Target]) -> tuple[History, ...]:
        """The features, those of one value's together.

        Args:
          targets: The schema's.
        """
        amounts = {target.name for target in targets if target.kind == "continuous" and target.non_negative}
        names = [target.name for target in targets] if self.targets is None else self.targets
        # A target may be called so.
        count = "num_rows" if "count" in names else "count"
        made: list[History] = []
        for of in self.of:
            if self.counts:
                made.append(
                    CountEncoding(
                        of=of,
                        name=f"{of}.{count}",
                        quantile_buckets=self.quantile_buckets,
                        embedding_dim=self.embedding_dim,
                    )
                )
            for name in names:
                for scale in ("linear", "log") if self.log and name in amounts else ("linear",):
                    made.append(
                        TargetEncoding(
                            of=of,
                            target=name,
                            scale=scale,  # type: ignore[arg-type]
                            smoothing=self.smoothing,
                            scheme=self.scheme,
                            folds=self.folds,
                            quantile_buckets=self.quantile_buckets,
                            embedding_dim=self.embedding_dim,
                        )
                    )
        return tuple(made)
