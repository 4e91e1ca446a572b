"""Results in the order of the parts, whatever thread is ready first."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htlnet_tf.encoding.ahead import in_order


@given(count=st.integers(0, 12), threads=st.integers(1, 4))
def test_it_is_map(count: int, threads: int) -> None:
    assert list(in_order(range(count), lambda i: i * i, threads=threads)) == [i * i for i in range(count)]


def test_parts_are_worked_on_at_once() -> None:
    together = threading.Barrier(2, timeout=30)  # breaks where the two do not meet

    def meet(i: int) -> int:
        if i in (1, 2):
            together.wait()
        return i

    assert list(in_order(range(4), meet, threads=2)) == [0, 1, 2, 3]


def test_few_parts_are_read_ahead() -> None:
    read: list[int] = []

    def parts() -> Iterator[int]:
        for i in range(20):
            read.append(i)
            yield i

    results = in_order(parts(), lambda i: i, threads=2)
    assert next(results) == 0 and read == [0]
    assert next(results) == 1 and read == [0, 1, 2, 3]
    results.close()  # type: ignore[attr-defined]
    assert read == [0, 1, 2, 3] and not [t for t in threading.enumerate() if t.name.startswith("in_order")]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("wrong", [0, 1, 3])
def test_the_first_fault_is_told(wrong: int, threads: int) -> None:
    def parts() -> Iterator[int]:
        yield from range(wrong + 1)
        raise OSError("unreadable")

    def function(i: int) -> int:
        if i == wrong:
            raise ValueError(f"part {i}")
        return i

    results = in_order(parts(), function, threads=threads)
    assert [next(results) for _ in range(wrong)] == list(range(wrong))
    with pytest.raises(ValueError, match=f"part {wrong}"):
        next(results)


@pytest.mark.parametrize("threads", [1, 2])
def test_what_cannot_be_read_comes_after_what_was(threads: int) -> None:
    def parts() -> Iterator[int]:
        yield from range(3)
        raise OSError("unreadable")

    results = in_order(parts(), lambda i: i, threads=threads)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="unreadable"):
        next(results)
