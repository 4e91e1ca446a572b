"""Import order, laziness, and what must work without TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def run(code: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"} | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=300)


@pytest.mark.parametrize(
    "code",
    [
        "import htlnet_tf, tensorflow as tf; htlnet_tf.HTLNet; print(tf.keras.Model.__module__)",
        "import tensorflow as tf, htlnet_tf; htlnet_tf.HTLNet; print(tf.keras.Model.__module__)",
        "import tensorflow as tf; from tensorflow import keras; import htlnet_tf; print(keras.Model.__module__)",
    ],
    ids=["before", "after", "after, keras named but not used"],
)
def test_both_import_orders_give_keras_2(code: str) -> None:
    result = run(code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("tf_keras")


@pytest.mark.parametrize("use", ["tf.keras.layers.Dense", "from tensorflow.keras import layers"])
def test_keras_3_in_use_gives_the_one_sentence(use: str) -> None:
    result = run(f"import tensorflow as tf\n{use}\nimport htlnet_tf")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
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
    import htlnet_tf as htl

    for name in htl.__all__:
        assert getattr(htl, name) is not None
