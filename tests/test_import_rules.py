"""Who may import whom (README, "The tree"). Reads the source with ast; runs nothing of it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("blender_addon", "engine", "trainer")
BLENDER_MODULES = frozenset({"bpy", "mathutils", "bmesh", "gpu", "bl_ext", "addon_utils", "aud"})


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Modules that start with `where` obey one of the two: `only` a list, or `never` a list."""

    where: str
    but: tuple[str, ...] = ()  # modules under `where` that the rule leaves out
    only: tuple[str, ...] | None = None  # of the project's modules, besides those under `where`
    never: tuple[str, ...] = ()
    outside: frozenset[str] | None = None  # all that it may import besides the project


RULES = (
    Rule(
        where="blender_addon.protocol",
        only=("blender_addon.wire",),
        outside=frozenset(sys.stdlib_module_names) | {"numpy"},
    ),
    Rule(
        where="blender_addon.wire",
        only=(),
        outside=frozenset(sys.stdlib_module_names) | {"numpy"},
    ),
    Rule(where="blender_addon", never=("engine", "trainer", "torch", "tests", "scripts")),
    Rule(where="blender_addon.engine_link", only=("blender_addon.protocol",)),
    Rule(where="blender_addon.engine_link", never=tuple(BLENDER_MODULES)),
    Rule(where="blender_addon.rig", only=("blender_addon.protocol",)),
    Rule(where="blender_addon.rig", never=tuple(BLENDER_MODULES)),
    Rule(where="engine", never=("trainer", "tests", "scripts", *BLENDER_MODULES)),
    Rule(
        where="engine",
        but=("engine.server", "engine.commands", "engine.__main__"),
        never=("zmq", "blender_addon", "engine.server"),
    ),
    Rule(where="engine.commands", never=("zmq", "blender_addon")),
    Rule(where="engine.server", only=("engine", "blender_addon.protocol")),
    Rule(where="engine.motion", only=()),
    Rule(where="engine.diffusion", only=("engine.motion",)),
    Rule(where="engine.networks", only=("engine.motion",)),
    Rule(where="engine.video", only=("engine.motion",)),
    Rule(where="engine.checkpoint", only=("engine.motion",)),
    Rule(
        where="engine.methods",
        only=(
            "engine.__version__",  # a word for provenance, no module
            "engine.motion",
            "engine.diffusion",
            "engine.networks",
            "engine.video",
            "engine.checkpoint",
        ),
    ),
    Rule(
        where="trainer",
        never=("engine.server", "blender_addon", "tests", "scripts", *BLENDER_MODULES),
    ),
)


@dataclass(frozen=True)
class Import:
    """`importer` imports `imported`, both by full dotted name."""

    importer: str
    imported: str
    line: int


def test_the_project_keeps_its_import_rules() -> None:
    broken = [text for found in _project_imports(REPOSITORY) for text in _violations(found)]

    assert not broken, "\n".join(broken)


def test_the_project_has_modules_to_check() -> None:
    importers = {found.importer.split(".")[0] for found in _project_imports(REPOSITORY)}

    assert importers == set(PACKAGES)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("blender_addon/protocol.py", "import zmq"),
        ("blender_addon/protocol.py", "from . import rig"),
        ("blender_addon/protocol.py", "import torch"),
        ("blender_addon/wire.py", "import zmq"),
        ("blender_addon/wire.py", "from . import protocol"),
        ("blender_addon/engine_link/client.py", "import bpy"),
        ("blender_addon/engine_link/client.py", "from mathutils import Quaternion"),
        ("blender_addon/engine_link/client.py", "from ..scene import pump"),
        ("blender_addon/rig/retarget.py", "from blender_addon.engine_link import session"),
        ("blender_addon/ui/panels.py", "import engine.motion"),
        ("blender_addon/scene/pump.py", "def late():\n    import torch.nn"),
        ("engine/motion/files.py", "from engine import checkpoint"),
        ("engine/motion/files.py", "from ..checkpoint import read_info"),
        ("engine/motion/files.py", "from blender_addon import protocol"),
        ("engine/diffusion/sampling.py", "from engine.networks import transformer"),
        ("engine/networks/transformer.py", "from engine.methods.base import Prompt"),
        ("engine/methods/video_mdm.py", "from engine.server import worker"),
        ("engine/methods/video_mdm.py", "import trainer"),
        ("engine/checkpoint.py", "import zmq"),
        ("engine/commands/generate.py", "from blender_addon import protocol"),
        ("engine/server/app.py", "from blender_addon.engine_link import client"),
        ("engine/server/app.py", "from trainer import presets"),
        ("engine/server/app.py", "import bpy"),
        ("trainer/loop.py", "from engine.server import results"),
        ("trainer/loop.py", "from blender_addon.protocol import JobResult"),
        ("trainer/loop.py", "if True:\n    from tests import fakes"),
    ],
)
def test_a_planted_violation_is_caught(tmp_path: Path, path: str, source: str) -> None:
    _plant(tmp_path, path, source)

    found = list(_project_imports(tmp_path))

    assert any(_violations(one) for one in found), f"{path}: {source!r} went unnoticed"


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("blender_addon/protocol.py", "from __future__ import annotations\nimport json, numpy"),
        ("blender_addon/engine_link/client.py", "import zmq\nfrom .. import protocol"),
        ("blender_addon/scene/pump.py", "import bpy\nfrom ..engine_link import session"),
        ("engine/server/app.py", "import zmq\nfrom blender_addon import protocol"),
        ("engine/commands/serve.py", "from engine.server import app"),
        ("engine/methods/video_mdm.py", "from engine.motion.skeleton import SMPL_22\nimport torch"),
        ("trainer/loop.py", "from engine.methods import load_method"),
    ],
)
def test_what_is_allowed_passes(tmp_path: Path, path: str, source: str) -> None:
    _plant(tmp_path, path, source)

    assert not [text for one in _project_imports(tmp_path) for text in _violations(one)]


def _plant(root: Path, path: str, source: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True)
    file.write_text(source, encoding="utf-8")


def _project_imports(root: Path) -> Iterator[Import]:
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            module = ".".join(parts[:-1] if is_package else parts)
            tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
            yield from _imports(tree, module, is_package=is_package)


def _imports(tree: ast.Module, module: str, *, is_package: bool) -> Iterator[Import]:
    """Every import anywhere in the file, those inside functions and branches too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, is_package=is_package)
            for alias in node.names:
                # "from engine import checkpoint" names a module, "from x import f" a function:
                # the longer name starts with the shorter, so it serves both.
                yield Import(module, f"{base}.{alias.name}", node.lineno)


def _absolute(node: ast.ImportFrom, module: str, *, is_package: bool) -> str:
    if node.level == 0:
        return node.module or ""
    parts = module.split(".")
    kept = parts[: len(parts) - node.level + (1 if is_package else 0)]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _violations(found: Import) -> list[str]:
    return [
        f"{found.importer}:{found.line} imports {found.imported}, against the rule for {rule.where}"
        for rule in RULES
        if _applies(rule, found.importer) and _breaks(rule, found.imported)
    ]


def _applies(rule: Rule, importer: str) -> bool:
    return _under(importer, rule.where) and not any(_under(importer, name) for name in rule.but)


def _breaks(rule: Rule, imported: str) -> bool:
    if any(_under(imported, name) for name in rule.never):
        return True
    if _under(imported, rule.where):
        return False
    if imported.split(".")[0] not in PACKAGES:
        return rule.outside is not None and imported.split(".")[0] not in rule.outside
    return rule.only is not None and not any(_under(imported, name) for name in rule.only)


def _under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")
