"""FarmHash's Fingerprint64, by which TensorFlow puts text into buckets (`tf.strings.to_hash_bucket_fast`).

Own code because the bindings on PyPI have no wheels for every Python that the package supports.

Source: google/farmhash, src/farmhash.cc, farmhashna::Hash64.
"""

from __future__ import annotations

_MASK = 2**64 - 1
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F


def fingerprint64(text: str) -> int:
    """The fingerprint of a text's UTF-8, in [0, 2**64)."""
    data = text.encode("utf-8")
    size = len(data)
    if size <= 16:
        return _up_to_16(data, size)
    if size <= 32:
        return _up_to_32(data, size)
    return _up_to_64(data, size) if size <= 64 else _longer(data, size)


def _word(data: bytes, start: int) -> int:
    return int.from_bytes(data[start : start + 8], "little")


def _rotated(value: int, by: int) -> int:
    value &= _MASK
    return (value >> by | value << (64 - by)) & _MASK


def _mixed(value: int) -> int:
    value &= _MASK
    return value ^ value >> 47


def _of_two(u: int, v: int, factor: int) -> int:
    u, v = u & _MASK, v & _MASK
    a = _mixed((u ^ v) * factor)
    return _mixed((v ^ a) * factor) * factor & _MASK


def _up_to_16(data: bytes, size: int) -> int:
    factor = _K2 + 2 * size
    if size >= 8:
        a, b = _word(data, 0) + _K2, _word(data, size - 8)
        return _of_two(_rotated(b, 37) * factor + a, (_rotated(a, 25) + b) * factor, factor)
    if size >= 4:
        first, last = (int.from_bytes(data[start : start + 4], "little") for start in (0, size - 4))
        return _of_two(size + (first << 3), last, factor)
    if size == 0:
        return _K2
    y, z = data[0] + (data[size >> 1] << 8), size + (data[-1] << 2)
    return _mixed(y * _K2 ^ z * _K0) * _K2 & _MASK


def _up_to_32(data: bytes, size: int) -> int:
    factor = _K2 + 2 * size
    a, b = _word(data, 0) * _K1, _word(data, 8)
    c, d = _word(data, size - 8) * factor, _word(data, size - 16) * _K2
    return _of_two(_rotated(a + b, 43) + _rotated(c, 30) + d, a + _rotated(b + _K2, 18) + c, factor)


def _up_to_64(data: bytes, size: int) -> int:
    factor = _K2 + 2 * size
    a, b = _word(data, 0) * _K2, _word(data, 8)
    c, d = _word(data, size - 8) * factor, _word(data, size - 16) * _K2
    y = _rotated(a + b, 43) + _rotated(c, 30) + d
    z = _of_two(y, a + _rotated(b + _K2, 18) + c, factor)
    e, f = _word(data, 16) * factor, _word(data, 24)
    g, h = (y + _word(data, size - 32)) * factor, (z + _word(data, size - 24)) * factor
    return _of_two(_rotated(e + f, 43) + _rotated(g, 30) + h, e + _rotated(f + a, 18) + g, factor)


def _longer(data: bytes, size: int) -> int:
    x, y = 81, 81 * _K1 + 113
    z = _mixed(y * _K2 + 113) * _K2
    v, w = (0, 0), (0, 0)
    x = x * _K2 + _word(data, 0)
    for start in range(0, (size - 1) // 64 * 64, 64):
        x, y, z, v, w = _step(data, start, (x, y, z), v, w, _K1, 1)
    factor = _K1 + ((z & 0xFF) << 1)
    first = w[0] + (size - 1 & 63)
    v = (v[0] + first, v[1])
    x, y, z, v, w = _step(data, size - 64, (x, y, z), v, (first + v[0], w[1]), factor, 9)
    one = _of_two(v[0], w[0], factor) + _mixed(y) * _K0 + z
    return _of_two(one, _of_two(v[1], w[1], factor) + x, factor)


def _step(
    data: bytes,
    start: int,
    state: tuple[int, int, int],
    v: tuple[int, int],
    w: tuple[int, int],
    factor: int,
    weight: int,
) -> tuple[int, int, int, tuple[int, int], tuple[int, int]]:
    """Takes 64 bytes in."""
    x, y, z = state
    x = _rotated(x + y + v[0] + _word(data, start + 8), 37) * factor & _MASK
    y = _rotated(y + v[1] + _word(data, start + 48), 42) * factor & _MASK
    x ^= w[1] * weight & _MASK
    y += v[0] * weight + _word(data, start + 40)
    z = _rotated(z + w[0], 33) * factor & _MASK
    v = _of_32(data, start, v[1] * factor, x + w[0])
    w = _of_32(data, start + 32, z + w[1], y + _word(data, start + 16))
    return z, y & _MASK, x, v, w


def _of_32(data: bytes, start: int, a: int, b: int) -> tuple[int, int]:
    first, second, third, fourth = (_word(data, start + 8 * i) for i in range(4))
    a += first
    b = _rotated(b + a + fourth, 21)
    c = a
    a += second + third
    return (a + fourth) & _MASK, (b + _rotated(a, 44) + c) & _MASK
