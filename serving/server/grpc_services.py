"""TF Serving's PredictionService and ModelService over a store of servables."""

from __future__ import annotations

import time
from collections.abc import Callable

import grpc
import numpy as np
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from htlnet_tf.serving.errors import StatusError, invalid_argument
from htlnet_tf.serving.server.grpc_answer import Response, answer
from htlnet_tf.serving.server.grpc_codec import encode_tensor, serialized_examples
from htlnet_tf.serving.server.grpc_predict import predict_feeds, predict_outputs
from htlnet_tf.serving.server.inference import CLASSIFY_METHOD, REGRESS_METHOD, Classifications, classify, regress
from htlnet_tf.serving.server.limits import Limits
from htlnet_tf.serving.server.monitoring import Metrics
from htlnet_tf.serving.server.servable_store import ResolvedVersion, ServableStore
from htlnet_tf.serving.signatures import DEFAULT_SIGNATURE

# TensorFlow, cc/saved_model/signature_constants.h.

_SIGNATURE_FIELD = "signature_def"


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict, Classify, Regress, MultiInference and GetModelMetadata.

    Args:
      store: The servables to answer with.
      limits: Where graphs are run.
      metrics: Where requests are counted.
    """

    def __init__(self, store: ServableStore, limits: Limits, metrics: Metrics) -> None:
        self._store = store
        self._limits = limits
        self._metrics = metrics

    def Predict(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        """Runs a signature on named tensors."""

        def work() -> predict_pb2.PredictResponse:
            resolved = self._resolve(request)
            key, feeds = predict_feeds(resolved.servable, request)
            aliases = predict_outputs(resolved.servable.signatures[key], request)
            begin = time.perf_counter()
            outputs = resolved.servable.run(key, feeds)
            self._metrics.record_runtime("Predict", resolved.name, time.perf_counter() - begin)
            response = predict_pb2.PredictResponse(model_spec=_spec(resolved, key))
            for alias in aliases:
                response.outputs[alias].CopyFrom(encode_tensor(outputs[alias]))
            return response

        return self._run("Predict", request.model_spec.name, work, context)

    def Classify(
        self, request: classification_pb2.ClassificationRequest, context: grpc.ServicerContext
    ) -> classification_pb2.ClassificationResponse:
        """Gives classes to examples."""

        def work() -> classification_pb2.ClassificationResponse:
            resolved = self._resolve(request)
            result = self._classify(resolved, request.model_spec, serialized_examples(request.input))
            spec = _spec(resolved, request.model_spec.signature_name)
            return classification_pb2.ClassificationResponse(model_spec=spec, result=result)

        return self._run("Classify", request.model_spec.name, work, context)

    def Regress(
        self, request: regression_pb2.RegressionRequest, context: grpc.ServicerContext
    ) -> regression_pb2.RegressionResponse:
        """Gives a value to each example."""

        def work() -> regression_pb2.RegressionResponse:
            resolved = self._resolve(request)
            result = self._regress(resolved, request.model_spec, serialized_examples(request.input))
            spec = _spec(resolved, request.model_spec.signature_name)
            return regression_pb2.RegressionResponse(model_spec=spec, result=result)

        return self._run("Regress", request.model_spec.name, work, context)

    def MultiInference(
        self, request: inference_pb2.MultiInferenceRequest, context: grpc.ServicerContext
    ) -> inference_pb2.MultiInferenceResponse:
        """Gives several signatures of one model the same examples."""

        def work() -> inference_pb2.MultiInferenceResponse:
            specs = [task.model_spec for task in request.tasks]
            resolved = _resolved(self._store, specs[0] if specs else model_pb2.ModelSpec())
            _check_tasks(request)
            examples = serialized_examples(request.input)
            response = inference_pb2.MultiInferenceResponse()
            for task in request.tasks:
                result = response.results.add(model_spec=_spec(resolved, task.model_spec.signature_name))
                if task.method_name == CLASSIFY_METHOD:
                    result.classification_result.CopyFrom(self._classify(resolved, task.model_spec, examples))
                else:
                    result.regression_result.CopyFrom(self._regress(resolved, task.model_spec, examples))
            return response

        name = request.tasks[0].model_spec.name if request.tasks else ""
        return self._run("MultiInference", name, work, context)

    def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Tells the signatures of a servable."""

        def work() -> get_model_metadata_pb2.GetModelMetadataResponse:
            if not request.HasField("model_spec"):
                raise invalid_argument("Missing ModelSpec")
            if not request.metadata_field:
                raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
            for field in request.metadata_field:
                if field != _SIGNATURE_FIELD:
                    raise invalid_argument(f"Metadata field {field} is not supported")
            resolved = _resolved(self._store, request.model_spec)
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for name, definition in resolved.servable.definitions.items():
                signatures.signature_def[name].CopyFrom(definition)
            response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=_spec(resolved, None))
            response.metadata[_SIGNATURE_FIELD].Pack(signatures)
            return response

        return answer(work, context)

    def _resolve(
        self,
        request: predict_pb2.PredictRequest
        | classification_pb2.ClassificationRequest
        | regression_pb2.RegressionRequest,
    ) -> ResolvedVersion:
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        return _resolved(self._store, request.model_spec)

    def _classify(
        self, resolved: ResolvedVersion, spec: model_pb2.ModelSpec, examples: np.ndarray
    ) -> classification_pb2.ClassificationResult:
        begin = time.perf_counter()
        classes = classify(resolved.servable, spec.signature_name, examples)
        self._metrics.record_runtime("Classify", resolved.name, time.perf_counter() - begin)
        return _classification_result(classes)

    def _regress(
        self, resolved: ResolvedVersion, spec: model_pb2.ModelSpec, examples: np.ndarray
    ) -> regression_pb2.RegressionResult:
        begin = time.perf_counter()
        values = regress(resolved.servable, spec.signature_name, examples)
        self._metrics.record_runtime("Regress", resolved.name, time.perf_counter() - begin)
        result = regression_pb2.RegressionResult()
        for value in values.tolist():
            result.regressions.add(value=value)
        return result

    def _run(self, api: str, model: str, work: Callable[[], Response], context: grpc.ServicerContext) -> Response:
        begin = time.perf_counter()

        def limited() -> Response:
            return self._limits.run_blocking(work, timeout_seconds=context.time_remaining())

        def count(code: str) -> None:
            self._metrics.record(api, "GRPC", model, code, time.perf_counter() - begin)

        return answer(limited, context, count)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus and HandleReloadConfigRequest.

    Args:
      store: The servables to tell about.
    """

    def __init__(self, store: ServableStore) -> None:
        self._store = store

    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Tells the state of a model's versions; a label in the request is ignored, as TF Serving ignores it."""

        def work() -> get_model_status_pb2.GetModelStatusResponse:
            if not request.HasField("model_spec"):
                raise invalid_argument("Missing ModelSpec")
            spec = request.model_spec
            version = spec.version.value if spec.HasField("version") else None
            response = get_model_status_pb2.GetModelStatusResponse()
            for status in self._store.status(spec.name, version):
                told = response.model_version_status.add(version=status.version, state=status.state)
                told.status.error_code = status.error_code
                told.status.error_message = status.error_message
            return response

        return answer(work, context)

    def HandleReloadConfigRequest(
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.ServicerContext
    ) -> model_management_pb2.ReloadConfigResponse:
        """Applies a list of models with their labels and version policies."""

        def work() -> model_management_pb2.ReloadConfigResponse:
            if request.config.WhichOneof("config") != "model_config_list":
                raise invalid_argument(
                    "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                    "Only ModelConfigList is currently supported"
                )
            self._store.reload(request.config)
            response = model_management_pb2.ReloadConfigResponse()
            response.status.SetInParent()
            return response

        return answer(work, context)


def _resolved(store: ServableStore, spec: model_pb2.ModelSpec) -> ResolvedVersion:
    if not spec.name:
        raise invalid_argument("ModelSpec has no name specified.")
    chosen = spec.WhichOneof("version_choice")
    return store.resolve(
        spec.name,
        version=spec.version.value if chosen == "version" else None,
        label=spec.version_label if chosen == "version_label" else None,
    )


def _spec(resolved: ResolvedVersion, signature_name: str | None) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=resolved.name)
    spec.version.value = resolved.version
    if signature_name is not None:
        spec.signature_name = signature_name or DEFAULT_SIGNATURE
    return spec


def _check_tasks(request: inference_pb2.MultiInferenceRequest) -> None:
    # TF Serving, servables/tensorflow/multi_inference.cc.
    seen = set()
    for task in request.tasks:
        if not task.model_spec.name:
            raise invalid_argument("Found ModelSpec with an empty model name.")
        if task.model_spec.name != request.tasks[0].model_spec.name:
            raise invalid_argument("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        key = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if key in seen:
            raise invalid_argument(f"Duplicate evaluation of signature: {key}")
        seen.add(key)
        if task.method_name not in (CLASSIFY_METHOD, REGRESS_METHOD):
            raise StatusError("UNIMPLEMENTED", f"Unsupported signature method_name: {task.method_name}")


def _classification_result(classes: Classifications) -> classification_pb2.ClassificationResult:
    result = classification_pb2.ClassificationResult()
    for row in classes.rows():
        entry = result.classifications.add()
        for label, score in row:
            entry.classes.add(label=label.decode("utf-8", "replace"), score=score)  # protobuf takes nothing else
    return result
