"""Keras layers, one idea per file; they know no data set."""
