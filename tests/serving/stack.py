"""What the tests of the stack's files share: flags, Compose's interpolation, fields of text protocol buffers."""

from __future__ import annotations

import re
from typing import Any

from tests.conftest import REPO
from tests.serving.server.recordings import RECORDINGS

SERVING = REPO / "serving"

# tensorflow_model_server's, from main.cc as api.md lists them in section 13, and the one that its section 12 names.
# The server only prints usage for an unknown flag, and goes on without it.
FLAGS = frozenset(
    {
        *("port", "rest_api_port", "rest_api_num_threads", "rest_api_timeout_in_ms", "grpc_max_threads"),
        *("grpc_socket_path", "grpc_channel_arguments", "enable_batching", "batching_parameters_file"),
        *("enable_per_model_batching_parameters", "model_name", "model_base_path", "model_config_file"),
        *("model_config_file_poll_wait_seconds", "file_system_poll_wait_seconds", "num_load_threads"),
        *("num_unload_threads", "max_num_load_retries", "load_retry_interval_micros", "saved_model_tags"),
        *("tensorflow_session_parallelism", "tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism"),
        *("tensorflow_session_config_file", "platform_config_file", "enable_model_warmup"),
        *("num_request_iterations_for_warmup", "monitoring_config_file", "ssl_config_file"),
        *("enable_grpc_healthcheck_service", "enable_serialization_as_tensor_content", "mixed_precision"),
        *("enable_signature_method_name_check", "xla_cpu_compilation_enabled", "prefer_tflite_model"),
        *("enable_profiler", "thread_pool_factory_config_file", "flush_filesystem_caches"),
        *("remove_unused_fields_from_bundle_metagraph", "allow_version_labels_for_unavailable_models"),
    }
)


def written_flags() -> frozenset[str] | None:
    """The flags in the written account of the genuine server, None if it is not there."""
    path = RECORDINGS / "api.md"
    if not path.exists():
        return None
    text = path.read_text(encoding="utf-8")
    section = re.search(r"^## 13\. Flags.*?\n(.*?)^## ", text, re.S | re.M)
    assert section is not None
    # "port 8500 · rest_api_port 0 (off) · ...": the first word between the dots, where it is a name.
    listed = set(re.findall(r"(?:^|· )([a-z_]+)", section[1], re.M))
    return frozenset(listed | set(re.findall(r"`--([a-z_]+)", text)))


def flags(arguments: list[str]) -> dict[str, str]:
    """`--name=value` arguments; each has a value, and a name stands once."""
    pairs = [argument.removeprefix("--").split("=", 1) for argument in arguments]
    assert all(argument.startswith("--") for argument in arguments) and all(len(pair) == 2 for pair in pairs)
    found = dict(pairs)
    assert len(found) == len(pairs), arguments
    return found


def interpolated(value: Any, environment: dict[str, str]) -> Any:
    """Compose's interpolation, as far as the files use it: `${A:-default}`, `${A:+other}` and `$$`."""
    if isinstance(value, dict):
        return {key: interpolated(member, environment) for key, member in value.items()}
    if isinstance(value, list):
        return [interpolated(element, environment) for element in value]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        assert match[1], f"'$' in {value!r} is no variable with a default: Compose would refuse it or put in nothing"
        filled = environment.get(match[1], "")
        return (filled or match[3]) if match[2] == ":-" else (match[3] if filled else "")

    return re.sub(r"\$\$|\$\{(\w+)(:-|:\+)([^{}]*)\}|\$", replace, value)


def fields(text: str) -> dict[str, str]:
    """The fields of a text protocol buffer whose messages are wrappers of one value: `name { value: 1 }`."""
    text = re.sub(r"#.*", "", text)
    found = dict(re.findall(r"(\w+)\s*\{\s*value:\s*(\w+)\s*\}", text))
    assert not re.sub(r"(\w+)\s*\{\s*value:\s*(\w+)\s*\}", "", text).strip(), text
    return found
