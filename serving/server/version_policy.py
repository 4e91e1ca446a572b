"""Which of a model's versions are to be served: the latest few, all, or those that are named."""

from __future__ import annotations

from collections.abc import Iterable

from tensorflow_serving.config.file_system_storage_path_source_pb2 import FileSystemStoragePathSourceConfig


def wanted_versions(
    policy: FileSystemStoragePathSourceConfig.ServableVersionPolicy, present: Iterable[int]
) -> frozenset[int]:
    """Chooses the versions that a policy asks for.

    Args:
      policy: `latest { num_versions }`, `all {}` or `specific { versions }`; an empty message is the latest one.
      present: The versions that are in the model's folder.

    Returns:
      The versions to serve, each of them present. Source: TF Serving,
      sources/storage_path/file_system_storage_path_source.cc.
    """
    numbers = sorted(set(present))
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return frozenset(numbers)
    if kind == "specific":
        return frozenset(numbers) & frozenset(policy.specific.versions)
    return frozenset(numbers[-max(policy.latest.num_versions, 1) :])
