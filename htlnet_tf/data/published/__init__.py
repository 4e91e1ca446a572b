"""Loaders of published data sets, in their published layouts."""
