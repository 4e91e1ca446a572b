"""Signatures as a server's metadata tells them."""

from __future__ import annotations

from htlnet_tf.serving.signatures import signatures_from_json, target_tensor


def outputs(**names: str) -> list[str]:
    """The outputs of a signature, in order, by the names of their tensors."""
    tensors = {alias: {"name": name, "dtype": "DT_FLOAT"} for alias, name in names.items()}
    return list(signatures_from_json({"s": {"inputs": {}, "outputs": tensors}})["s"].outputs)


def test_the_order_of_the_funnel_is_in_the_names_of_the_tensors() -> None:
    position = {name: target_tensor("candidates", i) for i, name in enumerate(["visit", "buy", "spend"])}
    assert outputs(buy=position["buy"], spend=position["spend"], visit=position["visit"]) == ["visit", "buy", "spend"]
    many = {f"t{i}": target_tensor("s", 11 - i) for i in range(12)}
    assert outputs(**many) == [f"t{i}" for i in reversed(range(12))]  # by number, not by digit


def test_outputs_of_other_servables_are_in_order_of_their_names() -> None:
    assert outputs(b="StatefulPartitionedCall:0", a="StatefulPartitionedCall:1") == ["a", "b"]
    assert outputs(b=target_tensor("s", 0), a="other:0") == ["a", "b"]
