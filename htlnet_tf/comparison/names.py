"""The names of variants: `MODEL[-PART][+METHOD][@OBJECTIVE][ xN]`."""

from __future__ import annotations

import re
from typing import NamedTuple

from htlnet_tf.errors import InputError
from htlnet_tf.judging.references import REFERENCES


class VariantName(NamedTuple):
    """What a variant's name says.

    Attributes:
      stem: The model, or HTLNet without a part: `mmoe`, `htlnet-attention`; or the whole name of a reference, which has
        no other parts: the objective in `lightgbm@tweedie` is a kind of trees.
      method: The optimisation method; None: its own.
      objective: Of the core; None: the configuration's.
      ensemble: Members of the ensemble; None: the configuration's.
    """

    stem: str
    method: str | None = None
    objective: str | None = None
    ensemble: int | None = None

    @classmethod
    def parse(cls, name: str) -> VariantName:
        """Reads a name such as `htlnet`, `mmoe+pcgrad@ziln`, `htlnet x3`; whether the parts are known is not asked.

        Raises:
          InputError: The number of members is below 1.
        """
        if name in REFERENCES:
            return cls(name)
        rest, times, members = re.fullmatch(r"(.*?)(?:\s+(x)(\d+))?", name, re.DOTALL).groups()  # type: ignore[union-attr]
        rest, at, objective = rest.partition("@")
        stem, plus, method = rest.partition("+")
        if times and int(members) < 1:
            raise InputError(f"'{name}': an ensemble needs at least one member")
        return cls(stem, method if plus else None, objective if at else None, int(members) if times else None)

    @property
    def is_reference(self) -> bool:
        """Whether it is none of this package's models."""
        return self.stem in REFERENCES

    def __str__(self) -> str:
        method = "" if self.method is None else f"+{self.method}"
        objective = "" if self.objective is None else f"@{self.objective}"
        ensemble = "" if self.ensemble is None else f" x{self.ensemble}"
        return f"{self.stem}{method}{objective}{ensemble}"
