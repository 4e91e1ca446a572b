"""Which server, which model and which version a client asks, checked once."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass
from urllib.parse import quote

import httpx

from htlnet_tf.errors import InputError

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class ModelAddress:
    """A model, and which version of it.

    Args:
      name: The model's name on the server.
      version: The version; None for the one that `label` names, or the latest.
      label: A version label, such as `"stable"`; None for none.

    Raises:
      InputError: One of them is not usable, or both a version and a label are given.
    """

    name: str
    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InputError(f"the model's name must be a text that is not empty, but is {self.name!r}")
        version, label = self.version, self.label
        if version is not None and (isinstance(version, bool) or not isinstance(version, int) or version < 0):
            raise InputError(f"the version must be a number from 0, or None for the latest, but is {version!r}")
        if label is not None and (not isinstance(label, str) or not label):
            raise InputError(f"the label must be a text that is not empty, but is {label!r}")
        if version is not None and label is not None:
            raise InputError(f"a version or a label can be named, not both, but are {version} and '{label}'")

    @property
    def path(self) -> str:
        """The path of a REST request, without the verb."""
        path = f"/v1/models/{quote(self.name, safe='')}"
        if self.version is not None:
            return f"{path}/versions/{self.version}"
        return path if self.label is None else f"{path}/labels/{quote(self.label, safe='')}"


def rest_url(url: str) -> httpx.URL:
    """Reads the base URL of a REST server.

    Args:
      url: Such as `"http://localhost:8501"`.

    Returns:
      The URL.

    Raises:
      InputError: It is not one.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise InputError(f"the server's URL must be like http://localhost:8501, but is {url!r}: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InputError(f"the server's URL must be like http://localhost:8501, but is {url!r}")
    return parsed


def is_proxied(url: httpx.URL) -> bool:
    """Whether the environment names a proxy for a server; none can reach the caller's own machine.

    Args:
      url: Of the server.

    Returns:
      True where requests go through a proxy.
    """
    if url.host in _LOOPBACK or urllib.request.proxy_bypass(url.host):
        return False
    proxies = urllib.request.getproxies()
    return url.scheme in proxies or "all" in proxies


def check_limits(*, timeout: float, **counts: int) -> None:
    """Checks what a client is told about waiting and trying.

    Args:
      timeout: Seconds.
      counts: `retries` (0 or more) and other numbers (1 or more).

    Raises:
      InputError: One of them is out of range.
    """
    if not timeout > 0:
        raise InputError(f"the timeout must be a positive number of seconds, but is {timeout!r}")
    for name, count in counts.items():
        least = 0 if name == "retries" else 1
        if isinstance(count, bool) or not isinstance(count, int) or count < least:
            raise InputError(f"{name} must be a whole number from {least}, but is {count!r}")
