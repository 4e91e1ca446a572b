"""A trained model for ONNX Runtime: a graph of numbers, and tables beside it."""
