"""Whether a master of Spark can be one, asked before Java is: what it would say is a stack trace, after a minute."""

from __future__ import annotations

import os
import re
import socket

from htlnet_tf.errors import InputError

_COUNT = r"[1-9]\d*"
_FORMS = re.compile(
    rf"local|local\[(?:\*|{_COUNT})(?:\s*,\s*{_COUNT})?\]|local-cluster\[\s*{_COUNT}\s*,\s*{_COUNT}\s*,\s*{_COUNT}\s*\]"
    r"|spark://(?P<addresses>[^/,:\s]+:\d{1,5}(?:,[^/,:\s]+:\d{1,5})*)|yarn|k8s://\S+"
)
_SECONDS = 10.0


def require_master(master: str) -> None:
    """Checks what `--master` says.

    Args:
      master: `local`, `local[N]`, `local[*]` (with `,F` for F failures of a task), `local-cluster[N,CORES,MB]`,
        `spark://HOST:PORT` (with `,HOST:PORT` for others), `yarn`, or `k8s://ADDRESS`.

    Raises:
      InputError: It is none of these, nobody listens at a `spark://` address, or YARN's configuration is not named.
    """
    form = _FORMS.fullmatch(master)
    if form is None:
        raise InputError(
            "--master must be local, local[N] with N from 1, local[*], spark://HOST:PORT, yarn or k8s://ADDRESS; "
            f"received {master!r}"
        )
    if master == "yarn" and not (os.environ.get("HADOOP_CONF_DIR") or os.environ.get("YARN_CONF_DIR")):
        raise InputError("--master yarn needs HADOOP_CONF_DIR or YARN_CONF_DIR, the folder of its configuration")
    if form["addresses"]:
        faults = [_fault_of(address) for address in form["addresses"].split(",")]
        if all(faults):
            raise InputError(f"no master of Spark answers at --master {master}: {faults[0]}")


def _fault_of(address: str) -> str:
    """Why nobody can be reached at `HOST:PORT`; empty if somebody is."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_SECONDS).close()
    except (OSError, OverflowError) as error:
        return getattr(error, "strerror", None) or str(error)
    return ""
