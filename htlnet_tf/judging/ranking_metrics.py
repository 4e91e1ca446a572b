"""How good an order of rows is: within each user's list, and over all rows. Exact, in float64, in O(n log n).

Rows with equal scores may be shown in any order. Each metric here is a sum of labels with weights by position, so its
mean over all orders of the tied rows is its value with each of their labels replaced by the mean of them; that is what
is computed, and the result does not depend on the order of the rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from htlnet_tf.errors import InputError
from htlnet_tf.judging.exact_metrics import Floats, Outcome, Users

K = 10
"""How many rows of a user's list are looked at, if nobody says otherwise."""
TOP_SHARE = 0.1
_NEGATIVE = "a label is negative, so that there are no shares of a total"
_NO_USER = "no row has a user"


class Lists(NamedTuple):
    """Rows with a user, sorted by user and within a user from the best score to the worst.

    Attributes:
      rows: int64 [M], which row stands there.
      users: int64 [M], numbers from 0 without gaps.
      positions: int64 [M], from 0 within each user's list.
      tied: int64 [M], numbers from 0 without gaps, the same of one user's rows with equal scores.
    """

    rows: npt.NDArray[np.int64]
    users: Users
    positions: npt.NDArray[np.int64]
    tied: npt.NDArray[np.int64]

    def of(self, labels: Floats) -> Floats:
        """The rows' labels, [M]; of rows with equal scores their mean."""
        sorted_labels, sizes = labels[self.rows], np.bincount(self.tied)
        mean = np.bincount(self.tied, weights=sorted_labels)[self.tied] / sizes[self.tied]
        # Where nothing is tied a label is itself, not what is left of it after a division.
        return np.where(sizes[self.tied] > 1, mean, sorted_labels)


class Members(NamedTuple):
    """The rows of users, found once where many scores of the same rows are judged.

    Attributes:
      rows: int64 [M], the rows with a user.
      users: int64 [M], numbers from 0 without gaps.
    """

    rows: npt.NDArray[np.int64]
    users: Users


class Ndcg(NamedTuple):
    """The mean over users.

    Attributes:
      value: NaN without such users.
      users: How many have two rows at least and a label above 0.
      left_out: How many have not.
    """

    value: float
    users: int
    left_out: int


class Captured(NamedTuple):
    """How much of the labels' total stands in the first rows of the lists.

    Attributes:
      overall: Of the total over all users; NaN if that is 0.
      by_user: The mean of each user's own share, over the users whose total is not 0; NaN without such users.
    """

    overall: float
    by_user: float


def require_k(k: int) -> None:
    """Checks the length of a list's beginning.

    Raises:
      InputError: It is below 1.
    """
    if k < 1:
        raise InputError(f"k, how many rows of a user's list are looked at, must be at least 1; received {k}")


def lists_of(scores: Floats, users: Users) -> Lists:
    """Sorts rows into their users' lists.

    Args:
      scores: [N]; only their order counts.
      users: [N], see `htlnet_tf.judging.exact_metrics.user_codes`; rows without a user are left out.
    """
    return sorted_lists(scores, members_of(users))


def members_of(users: Users) -> Members:
    """Which rows have a user, and which; `users` is as of `lists_of`."""
    known = np.flatnonzero(users >= 0)
    return Members(known, np.unique(users[known], return_inverse=True)[1].reshape(-1).astype(np.int64))


def sorted_lists(scores: Floats, members: Members) -> Lists:
    """As `lists_of`, of rows whose users are known already."""
    s, u = scores[members.rows], members.users
    order = np.lexsort((-s, u))
    s, u = s[order], u[order]
    is_first = np.ones(len(u), bool)
    is_first[1:] = u[1:] != u[:-1]
    starts = np.flatnonzero(is_first)
    positions = np.arange(len(u)) - np.repeat(starts, np.diff(np.append(starts, len(u))))
    differs = is_first.copy()
    differs[1:] |= s[1:] != s[:-1]
    return Lists(members.rows[order], u, positions, np.cumsum(differs) - 1)


def ndcg(labels: Floats, scores: Floats, users: Users, k: int = K) -> Ndcg:
    """Normalised discounted cumulative gain of the first `k` rows of each user's list, with the label as the gain.

    DCG = sum over the positions i = 1 .. k of label_i / log2(i + 1), divided by that of the list sorted by the labels
    themselves. Users with one row, whose order cannot be wrong, and users whose labels are all 0 are left out.

    Args:
      labels: [N], none below 0.
      scores: [N].
      users: [N], as of `lists_of`.
      k: At least 1.

    References:
      Jarvelin and Kekalainen: "Cumulated Gain-Based Evaluation of IR Techniques", TOIS 2002.
    """
    return ndcg_of(lists_of(scores, users), labels, discounted(lists_of(labels, users), labels, k), k)


def ndcg_of(lists: Lists, labels: Floats, best: Floats, k: int) -> Ndcg:
    """As `ndcg`, of lists that are sorted already; `best` is what `discounted` gives of the ideal ones."""
    judged = (np.bincount(lists.users) > 1) & (best > 0)
    value = float(np.mean(discounted(lists, labels, k)[judged] / best[judged])) if judged.any() else float("nan")
    return Ndcg(value, int(judged.sum()), int((~judged).sum()))


def discounted(lists: Lists, labels: Floats, k: int) -> Floats:
    """DCG of each user's first `k` rows."""
    discounts = np.where(lists.positions < k, 1 / np.log2(lists.positions + 2), 0.0)
    return np.asarray(np.bincount(lists.users, weights=lists.of(labels) * discounts), np.float64)


def captured(labels: Floats, scores: Floats, users: Users, k: int = K) -> Captured:
    """The share of the labels' total that the first `k` rows of each user's list have.

    A user with at most `k` rows has all of it there, whatever the order.

    Args:
      labels: [N], none below 0.
      scores: [N].
      users: [N], as of `lists_of`.
      k: At least 1.
    """
    return captured_of(lists_of(scores, users), labels, k)


def captured_of(lists: Lists, labels: Floats, k: int) -> Captured:
    """As `captured`, of lists that are sorted already."""
    sorted_labels = lists.of(labels)
    total = np.bincount(lists.users, weights=sorted_labels)
    found = np.bincount(lists.users, weights=sorted_labels * (lists.positions < k))
    some = total > 0
    if not some.any():
        return Captured(float("nan"), float("nan"))
    return Captured(float(found.sum() / total.sum()), float(np.mean(found[some] / total[some])))


def lift(labels: Floats, scores: Floats, share: float = TOP_SHARE) -> float:
    """The share of the labels' total in the best `share` of the rows, over `share`: 1 is chance, 1 / `share` the most.

    Where the last row falls in part, it counts in part.

    Args:
      labels: [N], none below 0.
      scores: [N].
      share: In (0, 1].

    Returns:
      The lift; NaN if all labels are 0.
    """
    everybody = lists_of(scores, np.zeros(len(labels), np.int64))
    total = labels.sum()
    if not total > 0:
        return float("nan")
    counts = np.clip(share * len(labels) - everybody.positions, 0.0, 1.0)
    return float(everybody.of(labels) @ counts / total / share)


def order_metrics(
    kind: str, labels: Floats, scores: Floats, users: Users | None, k: int
) -> tuple[dict[str, Outcome], Ndcg | None]:
    """The metrics of an order, as a report has them.

    Args:
      kind: Of the target, `"binary"` or `"continuous"`; of the latter it is the core.
      labels: [N], of the rows where the target was observed.
      scores: [N], what the rows are sorted by.
      users: [N], see `htlnet_tf.judging.exact_metrics.user_codes`; None: there are no lists, and of them no metrics.
      k: At least 1.

    Returns:
      By name, a value, or the reason why there is none; and over how many users the NDCG is, None without lists.
    """
    is_core = kind == "continuous"
    names = ["ndcg", *(["captured", "captured_by_user"] if is_core else [])] if users is not None else []
    names += ["lift"] if is_core else []
    if not labels.size:
        return dict.fromkeys(names, "no row has an observed label"), None
    outcomes: dict[str, Outcome] = {}
    found = None
    negative = _NEGATIVE if labels.min() < 0 else ""
    if users is not None:
        reason = negative or ("" if np.any(users >= 0) else _NO_USER)
        if not reason:
            found = ndcg(labels, scores, users, k)
        value = found.value if found else float("nan")
        outcomes["ndcg"] = reason or (value if not np.isnan(value) else "no user has two rows and a label above 0")
        if is_core:
            shares = Captured(float("nan"), float("nan")) if reason else captured(labels, scores, users, k)
            for name, share in (("captured", shares.overall), ("captured_by_user", shares.by_user)):
                outcomes[name] = reason or (share if not np.isnan(share) else "the users' labels are all 0")
    if is_core:
        value = float("nan") if negative else lift(labels, scores)
        outcomes["lift"] = negative or (value if not np.isnan(value) else "all labels are 0")
    return outcomes, found
