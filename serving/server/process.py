"""What a server asks of the operating system: a socket to listen on, and SIGTERM in its own time."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from htlnet_tf.errors import InputError


def listen(host: str, port: int) -> socket.socket:
    """Opens a listening TCP socket.

    Args:
      host: Address or name to listen on.
      port: Port; 0 takes a free one.

    Returns:
      The socket.

    Raises:
      InputError: The address cannot be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(f"the server cannot listen on host '{host}': {error.strerror or error}") from error
    # A port whose last connections are still closing may be taken again at once; one that is listened on may not.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise InputError(f"the server cannot listen on {host}:{port}: {error.strerror or error}") from error
    return listener


@contextmanager
def postponed_sigterm() -> Iterator[None]:
    """Lets SIGTERM take its usual effect only after the block.

    uvicorn stops on the signal, and raises it again when REST is drained: gRPC and the models must be stopped first.
    """
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
    if received:
        signal.raise_signal(signal.SIGTERM)
