"""A servable and its scores: clients for TensorFlow Serving's API, a server that answers like it, and ONNX Runtime.

The names below are loaded on first use. The REST clients import neither TensorFlow nor anything of the model code, so
they work in a ranking service that has only httpx, numpy and pandas (with `schema=` also pyarrow, pydantic and PyYAML).
`GrpcClient` needs tensorflow-serving-api, which imports TensorFlow. `OnnxScorer` scores without either, in process.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["spark"],
    submod_attrs={
        "clients.async_rest_client": ["AsyncRestClient"],
        "clients.opening": ["open_client"],
        "errors": ["ConnectionFailedError", "RefusedError", "ServingError", "TimedOutError", "UnavailableError"],
        "clients.grpc_client": ["GrpcClient"],
        "clients.rest_client": ["RestClient"],
        "onnx.scorer": ["OnnxScorer"],
        "server.rest_server": ["EmbeddedServer"],
    },
)

del lazy_loader
