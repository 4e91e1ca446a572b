"""Canonical columns -> row numbers and normalised floats: counted, laid out, encoded, batched."""
