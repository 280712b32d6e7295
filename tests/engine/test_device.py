"""What a model can run on here, and what the words of --device mean."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from engine import __main__, __version__, device
from engine.device import choose_device, list_devices
from engine.methods.base import RequestError


def test_the_processor_is_always_there_and_last() -> None:
    found = list_devices()
    assert found[-1].kind == "cpu"
    assert found[-1].name
    assert str(choose_device("auto")).split(":")[0] == found[0].kind


def test_graphics_cards_come_first_with_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(name="RTX 4070", total_memory=12 << 30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: card)
    found = list_devices()
    assert [one.kind for one in found] == ["cuda", "cuda", "cpu"]
    assert (found[0].name, found[0].memory_bytes) == ("RTX 4070", 12 << 30)


def test_a_machine_that_does_not_say_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> int:
        raise ValueError(name)

    monkeypatch.setattr(device.os, "sysconf", fail, raising=False)
    assert list_devices()[-1].memory_bytes == 0


def test_a_device_that_is_not_there_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(RequestError, match="needs one of this machine's: auto"):
        choose_device("cuda")


def test_the_command_prints_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["devices", "--json"]) == 0
    printed = capsys.readouterr().out
    values = json.loads(printed)
    assert len(printed.splitlines()) == 1
    assert values["engine_version"] == __version__
    assert values["torch"] == torch.__version__
    assert values["devices"][-1]["kind"] == "cpu"


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["devices"]) == 0
    assert "cpu" in capsys.readouterr().out
