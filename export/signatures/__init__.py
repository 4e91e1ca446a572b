"""The signatures of an exported model, a file each, and this registry."""

from __future__ import annotations

from htlnet_tf.export.signatures.candidates import Candidates
from htlnet_tf.export.signatures.classify import Classify
from htlnet_tf.export.signatures.examples import Examples
from htlnet_tf.export.signatures.exceedance import Exceedance
from htlnet_tf.export.signatures.ranked import Ranked
from htlnet_tf.export.signatures.regress import Regress
from htlnet_tf.export.signatures.serving_default import ServingDefault
from htlnet_tf.export.signatures.signature import Signature
from htlnet_tf.schema import Schema

SIGNATURES: dict[str, Signature] = {
    signature.name: signature
    for signature in (ServingDefault(), Candidates(), Ranked(), Examples(), Exceedance(), Classify(), Regress())
}
"""By name, in the order in which a version is verified and warmed up."""


def signatures_of(schema: Schema) -> dict[str, Signature]:
    """The signatures that a model of this schema is exported with."""
    return {name: signature for name, signature in SIGNATURES.items() if signature.is_offered(schema)}
