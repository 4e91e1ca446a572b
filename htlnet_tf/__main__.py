"""`python -m htlnet_tf` is the command `htlnet`."""

from htlnet_tf.cli import run

run()
