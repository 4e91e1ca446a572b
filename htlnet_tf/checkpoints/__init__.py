"""A training that is stopped and goes on: the state of a model, checkpoints of it, and the callback that makes them."""
