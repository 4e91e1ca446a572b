"""Shows the arguments of pydantic's dataclasses in the API reference, as those of the standard library's."""

from __future__ import annotations

from typing import Any

import griffe


class PydanticDataclasses(griffe.Extension):
    """Griffe knows `dataclasses.dataclass` alone; without this schema and configuration would have no arguments."""

    def on_module_members(self, *, mod: griffe.Module, **_: Any) -> None:
        """Has a module's decorator stand for the standard library's."""
        imported = mod.members.get("dataclass")
        if isinstance(imported, griffe.Alias) and imported.target_path == "pydantic.dataclasses.dataclass":
            imported.target_path = mod.imports["dataclass"] = "dataclasses.dataclass"
