"""Locks between processes, which the kernel takes back when their holder dies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from htlnet_tf.errors import InputError

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class NoLocksError(InputError):
    """The file system has no locks."""


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Holds the exclusive lock of a file, waiting for it; the file is created if need be and stays.

    `flock(2)`. On NFS Linux carries it out on the server, for all hosts, if the lock service runs (NFSv4 always has
    it); mounted with `nolock` or `local_lock` it holds between the processes of one host only.

    Raises:
      InputError: The file cannot be created, or its file system has no locks.
    """
    descriptor = _opened(path)
    try:
        _lock(descriptor, path, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def hold(path: Path) -> int:
    """Takes the exclusive lock of a new file until the process ends or closes the descriptor that is returned.

    Raises:
      InputError: The file cannot be created, or its file system has no locks.
    """
    descriptor = _opened(path)
    try:
        _lock(descriptor, path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock of a file.

    A file that does not exist is held by none; one whose file system has no locks may be, so it counts as held.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if isinstance(error, BlockingIOError) or error.errno in _NO_LOCKS:
            return True
        raise
    finally:
        os.close(descriptor)
    return False


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise InputError(f"cannot write to '{path.parent}': {error.strerror or error}") from error


def _lock(descriptor: int, path: Path, operation: int) -> None:
    try:
        fcntl.flock(descriptor, operation)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise NoLocksError(
                f"'{path.parent}' must be on a file system with locks (flock), so that two processes at work there do "
                f"not meet; received: {error.strerror}. Write to a local folder and move the result there by a rename"
            ) from error
        raise
