"""The bootstrap over users: the same resamples for everything that is compared."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from htlnet_tf.judging.exact_metrics import Floats, Users

_NUMBERS_PER_BLOCK = 2**21


class Weights:
    """How often each user, and so each row, is in some resamples.

    Args:
      counts: float64 [R, U].
      codes: int64 [N], each row's user.
    """

    def __init__(self, counts: Floats, codes: Users) -> None:
        self.counts, self._codes = counts, codes

    @functools.cached_property
    def rows(self) -> Floats:
        """By row, [R, N]."""
        return np.take(self.counts, self._codes, axis=1)

    def of(self, observed: npt.NDArray[np.bool_]) -> Weights:
        """Those of some rows, bool [N]."""
        return self if observed.all() else Weights(self.counts, self._codes[observed])

    def sums(self, columns: Floats) -> Floats:
        """The weighted sums of columns, [R, K]; by way of each user's sums, so that no row is looked at twice.

        Args:
          columns: [N, K].
        """
        users = self.counts.shape[1]
        by_user = [np.bincount(self._codes, weights=column, minlength=users) for column in columns.T]
        return np.asarray(self.counts @ np.stack(by_user, axis=1), np.float64)


def clusters(users: Users | None, num_rows: int) -> Users:
    """What is drawn: users, and of rows without one each row for itself; int64 [N], numbers from 0 without gaps.

    Args:
      users: [N], -1 where there is none; None: there are no users.
      num_rows: N.
    """
    if users is None:
        return np.arange(num_rows)
    alone = users < 0
    found = np.where(alone, users.max(initial=-1) + 1 + np.cumsum(alone), users)
    return np.unique(found, return_inverse=True)[1].reshape(-1).astype(np.int64)


def resampled(codes: Users, resamples: int, *, seed: int) -> Iterator[Weights]:
    """Resamples in blocks that fit into a few tens of megabytes.

    Each user is in a resample as often as a Poisson number of mean 1 says: the bootstrap for many users, which draws
    each by itself (Chamandy et al.: "Estimating Uncertainty for Massive Data Streams", Google 2012).

    Args:
      codes: See `clusters`.
      resamples: How many.
      seed: Of the draws.
    """
    random = np.random.default_rng(seed)
    users = int(codes.max()) + 1
    block = max(1, _NUMBERS_PER_BLOCK // len(codes))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        yield Weights(random.poisson(1.0, (size, users)).astype(np.float64), codes)


def whole(codes: Users) -> Weights:
    """Every user once: the rows as they are."""
    return Weights(np.ones((1, int(codes.max()) + 1)), codes)
