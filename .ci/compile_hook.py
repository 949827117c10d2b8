"""A build hook of hatchling: compiles the modules that pyproject.toml names with mypyc, into a wheel of one platform.

hatch-mypyc does the same for projects with one source folder, and leaves what it compiled in the source tree, where it
would be imported in place of what somebody edits.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompileHook(BuildHookInterface[Any]):
    """``[tool.hatch.build.targets.wheel.hooks.custom]``, on when HATCH_BUILD_HOOKS_ENABLE is set."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and put what comes of it beside the sources, which stay in the wheel."""
        del version
        from mypyc.build import mypycify  # what builds without it need not have it
        from setuptools import Distribution
        from setuptools.command.build_ext import build_ext

        self._folder = tempfile.TemporaryDirectory(prefix="collabkernel-compiled-")
        folder = Path(self._folder.name)
        os.chdir(self.root)  # mypyc names modules by their paths from here
        files = sorted({str(file) for pattern in self.config["compile"] for file in Path().glob(pattern)})
        left_out = set(self.config["leave-out"])
        chosen = [file for file in files if file not in left_out and Path(file).name != "__init__.py"]
        extensions = mypycify(
            [
                "--config-file=",
                "--ignore-missing-imports",
                "--follow-imports=silent",
                *[file for file in chosen if not file.endswith("_pb2.py")],
            ],
            debug_level="0",
            multi_file=True,
            target_dir=str(folder / "c"),
        )
        command = build_ext(Distribution({"name": "collabkernel", "ext_modules": extensions}))
        command.build_lib, command.build_temp = str(folder / "lib"), str(folder / "objects")
        command.ensure_finalized()
        command.run()
        for built in (folder / "lib").rglob("*"):
            if built.is_file():
                build_data["force_include"][str(built)] = str(built.relative_to(folder / "lib"))
        build_data["pure_python"], build_data["infer_tag"] = False, True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Drop what was compiled: the wheel has it."""
        del version, build_data, artifact_path
        self._folder.cleanup()
