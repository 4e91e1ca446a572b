"""What a table's columns are: features, targets and the schema that holds both. Declarations only."""

from htlnet_tf.schema.features import Categorical, Cross, Numeric, Sequence, Timestamp
from htlnet_tf.schema.history import CountEncoding, HistoryStatistics, TargetEncoding
from htlnet_tf.schema.ranking import Ranking
from htlnet_tf.schema.schema import Schema, load_schema, require_same_schema
from htlnet_tf.schema.targets import Binary, Continuous, Multiclass

__all__ = [
    "Binary",
    "Categorical",
    "Continuous",
    "CountEncoding",
    "Cross",
    "HistoryStatistics",
    "Multiclass",
    "Numeric",
    "Ranking",
    "Schema",
    "Sequence",
    "TargetEncoding",
    "Timestamp",
    "load_schema",
    "require_same_schema",
]
