"""Import order, laziness, and what must work without TensorFlow."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import htlnet_tf as htl


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"} | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=300)


# Importing TensorFlow takes seconds, so a process that has done that and no more is forked for each program.
FORKS = """
import contextlib, json, os, sys, traceback
import tensorflow

outcomes = []
for code in sys.argv[1:]:
    ours, childs = os.pipe()
    if os.fork() == 0:
        with open(childs, "w") as told, contextlib.redirect_stdout(told):
            try:
                exec(code, {})
            except BaseException as error:
                print("".join(traceback.format_exception_only(error)))
        os._exit(0)
    os.close(childs)
    with open(ours) as told:
        outcomes.append(told.read())
    os.wait()
print(json.dumps(outcomes))
"""
KERAS_2 = [
    "import tensorflow as tf, htlnet_tf; htlnet_tf.HTLNet; print(tf.keras.Model.__module__)",
    "import tensorflow as tf; from tensorflow import keras; import htlnet_tf; print(keras.Model.__module__)",
]
KERAS_3 = ["tf.keras.layers.Dense", "from tensorflow.keras import layers"]


@pytest.fixture(scope="module")
def printed_after_tensorflow() -> dict[str, str]:
    """By program, what it printed, or its error, where TensorFlow had been imported before."""
    programs = [*KERAS_2, *(f"import tensorflow as tf\n{use}\nimport htlnet_tf" for use in KERAS_3)]
    result = run(FORKS, *programs)
    assert result.returncode == 0, result.stderr
    return dict(zip([*KERAS_2, *KERAS_3], json.loads(result.stdout.splitlines()[-1]), strict=True))


def test_tensorflow_after_the_package_has_keras_2() -> None:
    import tensorflow as tf

    # As in this very process: conftest.py imports the package first, and clears the environment before.
    assert tf.keras.Model.__module__.startswith("tf_keras")
    assert issubclass(htl.HTLNet, tf.keras.Model)


@pytest.mark.parametrize("code", KERAS_2, ids=["", "keras named but not used"])
def test_tensorflow_before_the_package_has_keras_2(code: str, printed_after_tensorflow: dict[str, str]) -> None:
    assert printed_after_tensorflow[code].startswith("tf_keras")


@pytest.mark.parametrize("use", KERAS_3)
def test_keras_3_in_use_gives_the_one_sentence(use: str, printed_after_tensorflow: dict[str, str]) -> None:
    last = printed_after_tensorflow[use].strip().splitlines()[-1]
    assert "htlnet_tf needs Keras 2" in last
    assert "os.environ['TF_USE_LEGACY_KERAS'] = '1'" in last


def test_the_package_and_its_clients_import_without_tensorflow() -> None:
    result = run(
        "import sys\n"
        "sys.modules['tensorflow'] = None\n"
        "import htlnet_tf as htl\n"
        "htl.Schema; htl.data.time_split; htl.Report\n"
        "htl.serving.RestClient('http://localhost', 'm'); htl.serving.AsyncRestClient('http://localhost', 'm')\n"
        "htl.serving.open_client('http://localhost', 'm'); htl.serving.ServingError\n"
        "import htlnet_tf.serving.clients.scoring, htlnet_tf.data.examples\n"
        "features = [htl.Categorical('a', separator=','), htl.Timestamp('t')]\n"
        "schema = htl.Schema(features=features, targets=[htl.Binary('b'), htl.Continuous('c')])\n"
        "htl.serving.AsyncRestClient('http://localhost', 'm', schema=schema)\n"
        "from htlnet_tf.serving.clients.schema_rows import SchemaRows\n"
        "from htlnet_tf.serving.signatures import Signature, TensorInfo\n"
        "taken = {'a': TensorInfo('', 'DT_STRING', (-1,)), 't': TensorInfo('', 'DT_INT64', (-1,))}\n"
        "rows = [{'a': ['x', 'y'], 't': '1970-01-01T00:00:01'}]\n"
        "values = SchemaRows(schema).columns(rows, Signature(taken, {})).values\n"
        "assert values == {'a': ['x,y'], 't': [1000]}, values\n"
        "print(sorted(m for m in sys.modules if m.startswith(('tensorflow', 'tf_keras', 'keras'))))"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "['tensorflow']"


def test_importing_the_package_imports_nothing_heavy() -> None:
    result = run("import sys, htlnet_tf; print([m for m in ('tensorflow', 'pandas', 'numpy') if m in sys.modules])")
    assert result.stdout.strip() == "[]", result.stderr


def test_every_public_name_resolves() -> None:
    for name in htl.__all__:
        assert getattr(htl, name) is not None
