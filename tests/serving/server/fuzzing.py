"""Request bodies that a server must survive: valid ones, mutations of them, random JSON, random bytes, broken gzip."""

from __future__ import annotations

import copy
import gzip
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

# For the model `tiny` of conftest.py.
_ROW = {"city": "rome", "count": 2, "price": 1.5}
_VALID: list[dict[str, Any]] = [
    {"instances": [_ROW, {"city": {"b64": "cm9tZQ=="}, "count": -3, "price": 2}]},
    {"signature_name": "serving_default", "instances": [_ROW]},
    {"inputs": {"city": ["rome", "oslo"], "count": [1, 2], "price": [0.5, 1.5]}},
    {"signature_name": "one", "instances": [[1.0], [2.5]]},
    {"signature_name": "one", "inputs": [[1.0], [2.5]]},
    {"signature_name": "checked", "inputs": {"x": [1.0, 2.0]}},
    {"signature_name": "classify", "context": {"b": 2.0}, "examples": [{"a": 1.5, "c": ["x", {"b64": "eQ=="}]}]},
    {"examples": [{"a": [1, 2, 3]}, {"a": []}]},
]
_ODD_SCALARS: list[Any] = [
    *(None, True, False, 0, -1, 1.5, 2**31, 2**63, -(2**63) - 1, 2**64, 10**400, 1e300, -0.0, "", "rome", "\ud800"),
    *(float("nan"), float("inf"), "\x00", "Zürich ☃", "😀", {"b64": "?"}, {"b64": 3}, {"b64": ""}, [], {}, [[]]),
    *({"b64": "eQ==", "x": 1}, "9" * 300, "x" * 5000),
]
_KEYS = ["city", "count", "price", "x", "instances", "inputs", "examples", "context", "signature_name", "b64", "", "a"]
_PATHS = [
    *("/v1/models/tiny:predict",) * 6,
    *("/v1/models/tiny:classify", "/v1/models/tiny:regress"),
    *("/v1/models/tiny/versions/1:predict", "/v1/models/tiny/labels/stable:predict", "/v1/models/absent:predict"),
]
_TOKENS = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b'"',
    b"\\",
    b"\\ud800",
    b"NaN",
    b"-Infinity",
    b"1e400",
    b"null",
    b"\xff",
]


@dataclass(frozen=True)
class FuzzRequest:
    """One POST request.

    Args:
      path: Path of the URL.
      headers: Request headers.
      body: The body.
    """

    path: str
    headers: dict[str, str]
    body: bytes


def fuzz_bodies(seed: int, count: int) -> Iterator[FuzzRequest]:
    """Makes requests, the same ones for the same seed.

    Args:
      seed: Seed of the generator.
      count: How many.

    Yields:
      The requests: about a third of each of mutated documents, mutated text, and arbitrary bodies.
    """
    generator = random.Random(seed)
    kinds: list[Callable[[random.Random], bytes]] = [
        *(_valid, _mutated_document, _mutated_document, _mutated_document, _mutated_text, _mutated_text),
        *(_random_document, _random_bytes, _deep, _repeated),
    ]
    for _ in range(count):
        body = generator.choice(kinds)(generator)
        headers: dict[str, str] = {}
        if generator.random() < 0.1:
            headers["Content-Encoding"] = "gzip"
            body = _gzip_garbage(generator, body)
        yield FuzzRequest(generator.choice(_PATHS), headers, body)


def _valid(generator: random.Random) -> bytes:
    return json.dumps(generator.choice(_VALID)).encode()


def _mutated_document(generator: random.Random) -> bytes:
    document = copy.deepcopy(generator.choice(_VALID))
    for _ in range(generator.randint(1, 3)):
        _mutate(document, generator)
    return json.dumps(document).encode()


def _mutate(document: dict[str, Any], generator: random.Random) -> None:
    """Changes one place: a value becomes another, a member is added, dropped or doubled."""
    node: Any = document
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            break
        key = generator.choice(keys)
        child = node[key]
        if not isinstance(child, (dict, list)) or not child or generator.random() < 0.3:
            action = generator.randrange(4)
            if action == 0:
                node[key] = _random_value(generator, 2)
            elif action == 1:
                del node[key]
            elif action == 2:
                node[key] = [child, copy.deepcopy(child)]
            elif isinstance(node, dict):
                node[generator.choice(_KEYS)] = copy.deepcopy(child)
            else:
                node.append(copy.deepcopy(child))
            break
        node = child


def _mutated_text(generator: random.Random) -> bytes:
    text = bytearray(_mutated_document(generator))
    for _ in range(generator.randint(1, 4)):
        place = generator.randrange(len(text) + 1)
        action = generator.randrange(3)
        if action == 0:
            text[place:place] = generator.choice(_TOKENS)
        elif action == 1:
            del text[place : place + generator.randint(1, 5)]
        else:
            text[place : place + 1] = generator.randbytes(1)
    return bytes(text)


def _random_value(generator: random.Random, depth: int) -> Any:
    kind = generator.randrange(4) if depth else 0
    if kind == 1:
        return [_random_value(generator, depth - 1) for _ in range(generator.randrange(4))]
    if kind == 2:
        return {generator.choice(_KEYS): _random_value(generator, depth - 1) for _ in range(generator.randrange(4))}
    return generator.choice(_ODD_SCALARS)


def _random_document(generator: random.Random) -> bytes:
    return json.dumps(_random_value(generator, 4)).encode()


def _random_bytes(generator: random.Random) -> bytes:
    return generator.randbytes(generator.randrange(40))


def _deep(generator: random.Random) -> bytes:
    opening = generator.choice([b"[", b'{"a":', b'{"instances":[', b'{"inputs":{"x":['])
    return b'{"instances":' * generator.randrange(2) + opening * generator.choice([10, 70, 300, 3000])


def _repeated(generator: random.Random) -> bytes:
    depth = generator.choice([2, 10, 62, 70, 200])
    key = generator.choice(["inputs", "instances", "examples"])
    return json.dumps({"signature_name": "one", key: json.loads("[" * depth + "1.5" + "]" * depth)}).encode()


def _gzip_garbage(generator: random.Random, body: bytes) -> bytes:
    packed = bytearray(gzip.compress(body))
    action = generator.randrange(4)
    if action == 0:
        del packed[generator.randrange(len(packed)) :]
    elif action == 1:
        packed[generator.randrange(len(packed))] ^= 1 << generator.randrange(8)
    elif action == 2:
        return generator.randbytes(20)
    return bytes(packed)
