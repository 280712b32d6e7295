"""Model files are known by their header; nothing else of them is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from blender_addon.engine_link import model_files
from blender_addon.engine_link.model_files import ModelFileError, add_model, list_models, read_model

OURS: dict[str, Any] = {
    "format": 1,
    "method": "mdm",
    "accepts": ["prompt"],
    "fps": 20.0,
    "licence": "CC0-1.0",
    "model_hash": "a" * 64,
}


def model(path: Path, *, about: dict[str, Any] | None = None, data: bytes = bytes(16)) -> Path:
    header = {
        "__metadata__": {model_files.METADATA_KEY: json.dumps(OURS if about is None else about)},
        "model.weight": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
    }
    return written(path, header, data)


def written(path: Path, header: object, data: bytes = b"") -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_the_header_says_what_it_is(tmp_path: Path) -> None:
    read = read_model(model(tmp_path / "mine.safetensors"))
    assert (read.name, read.method, read.accepts) == ("mine", "mdm", ("prompt",))
    assert (read.licence, read.fps) == ("CC0-1.0", 20.0)
    assert read.size_bytes == (tmp_path / "mine.safetensors").stat().st_size


def test_the_shipped_model_is_read_as_the_engine_reads_it() -> None:
    checkpoint = pytest.importorskip("engine.checkpoint", reason="needs the engine")
    path = Path(checkpoint.__file__).parent / "models" / "mdm-free.safetensors"
    info, read = checkpoint.read_info(path), read_model(path)
    for name in ("name", "method", "fps", "licence", "model_hash", "size_bytes"):
        assert getattr(read, name) == getattr(info, name)
    assert set(read.accepts) == set(info.accepts)


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({**OURS, "format": 2}, "format 2, this version reads 1"),
        ({key: OURS[key] for key in OURS if key != "fps"}, "incomplete: 'fps'"),
        ({**OURS, "fps": "fast"}, "incomplete"),
    ],
)
def test_a_header_that_says_too_little(tmp_path: Path, about: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelFileError, match=words):
        read_model(model(tmp_path / "a.safetensors", about=about))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 a zip file of some other kind",
        (10**12).to_bytes(8, "little") + b"{}",
        (6).to_bytes(8, "little") + b"[1, 2]",
        (9).to_bytes(8, "little") + b'{"\xff\xff": 1',
    ],
)
def test_any_other_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="not a safetensors file"):
        read_model(path)


def test_somebody_else_s_model_and_half_of_ours_are_told_apart(tmp_path: Path) -> None:
    foreign = written(tmp_path / "f.safetensors", {"__metadata__": {"format": "pt"}})
    with pytest.raises(ModelFileError, match="not one of Marey's"):
        read_model(foreign)
    with pytest.raises(ModelFileError, match="only half"):
        read_model(model(tmp_path / "half.safetensors", data=bytes(15)))
    with pytest.raises(ModelFileError, match="can't be read"):
        read_model(tmp_path / "gone.safetensors")


def test_adding_copies_it_whole_and_lists_it(tmp_path: Path) -> None:
    source, folder = model(tmp_path / "mine.safetensors"), tmp_path / "models"
    added = add_model(source, folder)
    assert added.path == folder / "mine.safetensors"
    assert added.path.read_bytes() == source.read_bytes()
    assert list_models(folder) == [added]
    assert [path.name for path in folder.iterdir()] == ["mine.safetensors"]
    assert add_model(source, folder) == added  # the same again is fine


def test_another_model_of_the_name_is_not_overwritten_unasked(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    add_model(model(tmp_path / "mine.safetensors"), folder)
    other = model(tmp_path / "mine.safetensors", about={**OURS, "model_hash": "b" * 64})
    with pytest.raises(ModelFileError, match="named mine already"):
        add_model(other, folder)
    assert list_models(folder)[0].model_hash == "a" * 64
    assert add_model(other, folder, replace=True).model_hash == "b" * 64


def test_what_is_no_model_is_not_copied_nor_listed(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    foreign = written(tmp_path / "f.safetensors", {"__metadata__": {"format": "pt"}})
    with pytest.raises(ModelFileError):
        add_model(foreign, folder)
    assert not folder.exists()
    folder.mkdir()
    (folder / "broken.safetensors").write_bytes(b"x")
    assert list_models(folder) == []
