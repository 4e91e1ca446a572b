"""Clients of TensorFlow Serving's APIs; the REST ones need neither TensorFlow nor the model code."""
