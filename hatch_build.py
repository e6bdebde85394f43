"""Builds the optional compiled part of tlbcheck into wheels and editable installs."""

from __future__ import annotations

import importlib.util
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledSearch(BuildHookInterface[Any]):
    """Adds ``_search.so`` where there is a C compiler; else the wheel is one for every platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        folder = Path(self.root) / "tlbcheck" / "engines"
        spec = importlib.util.spec_from_file_location("build_search", folder / "build_search.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if self.target_name == "wheel" and module.build(folder) is not None:
            build_data["artifacts"].append("tlbcheck/engines/_search.so")
            if version != "editable":
                build_data["pure_python"] = False
                build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
