"""Scoring without TensorFlow: the folder that `htlnet export --format onnx` writes, read with ONNX Runtime."""
