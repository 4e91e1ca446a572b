"""A version folder to a servable that is ready to answer: loaded, warmed up, counted."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from htlnet_tf.errors import InputError
from htlnet_tf.manifest import require_intact
from htlnet_tf.serving.errors import StatusError
from htlnet_tf.serving.server.batching import read_batching_rules
from htlnet_tf.serving.server.monitoring import Metrics
from htlnet_tf.serving.server.servables import LoadedVersion
from htlnet_tf.serving.server.warmup import replay_warmup

_logger = logging.getLogger(__name__)


class VersionLoader:
    """Loads versions, as a `ServableStore` wants them.

    Args:
      timeout_seconds: How long one run of a graph may take; None for no limit.
      warmup: Replay the version's warm-up requests.
      batching_parameters_file: Batching parameters whose limits on a request are kept; None for no such limits.
      metrics: Where loads are counted; None to count nothing.

    Raises:
      InputError: The batching parameters cannot be used.
    """

    def __init__(
        self,
        *,
        timeout_seconds: float | None = None,
        warmup: bool = True,
        batching_parameters_file: Path | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._warmup = warmup
        self._rules = None if batching_parameters_file is None else read_batching_rules(batching_parameters_file)
        self._metrics = metrics

    def __call__(self, folder: Path) -> LoadedVersion:
        """Loads a version.

        Args:
          folder: The version folder.

        Returns:
          The servable.

        Raises:
          StatusError: A file is not as it was written; it cannot be loaded, or does not answer one of its warm-up
            requests.
        """
        started = time.perf_counter()
        loaded = False
        try:
            try:
                require_intact(folder)
            except InputError as error:
                raise StatusError("DATA_LOSS", str(error)) from error
            check = None if self._rules is None else self._rules.check
            servable = LoadedVersion(folder, timeout_seconds=self._timeout_seconds, check=check)
            records = replay_warmup(servable, folder) if self._warmup else 0
            loaded = True
        finally:
            seconds = time.perf_counter() - started
            if self._metrics is not None:
                self._metrics.record_load(str(folder), loaded=loaded, seconds=seconds)
        _logger.info("loaded %s in %.1f s, with %d warm-up requests", folder, seconds, records)
        return servable
