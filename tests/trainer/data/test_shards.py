"""Shards: the same clips, read piece by piece; damaged ones are named; training resumes on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from engine.motion.representation import ROOT_LOCAL
from engine.networks.text_encoder import TextFeatures
from trainer.__main__ import main
from trainer.data.clip import CorpusError
from trainer.data.corpus import load_corpus
from trainer.data.examples import encode_clip
from trainer.data.shards import ShardSampler, ShardWriter, all_batches, read_index
from trainer.data.statistics import measure_statistics

WIDTH = ROOT_LOCAL.num_features


def encode(captions: list[str]) -> TextFeatures:
    """A text encoder whose token says how long the caption is."""
    mask = torch.ones(len(captions), 2, dtype=torch.bool)
    tokens = torch.tensor([float(len(text)) for text in captions])[:, None, None].expand(-1, 2, 384)
    return TextFeatures(tokens=tokens, mask=mask, sentence=tokens[:, 0])


def write(folder: Path, count: int = 60, shard_bytes: int = 60_000) -> None:
    """Clips whose features are their number; a shard holds five or so."""
    writer = ShardWriter(folder, encode, shard_bytes)
    for split, first in (("train", 0), ("val", count)):
        for number in range(first, first + (count if split == "train" else 4)):
            features = torch.full((20 + number % 7, WIDTH), float(number))
            writer.add(split, features, ("a" * (number + 1), "b"), 1.0 + number % 3)
    writer.close()


def numbers(sampler: ShardSampler, draws: int, generator: torch.Generator) -> list[list[int]]:
    statistics = read_index(sampler._index.folder).statistics
    found: list[list[int]] = []
    for _ in range(draws):
        batch = sampler.draw(generator)
        assert batch.mask.any(1).all()
        found.append(statistics.restore(batch.features)[:, 0, 0].round().int().tolist())
    return found


def test_every_clip_comes_and_a_resumed_sampler_goes_on_alike(tmp_path: Path) -> None:
    write(tmp_path)
    index = read_index(tmp_path)
    assert len(index.splits["train"]) > 8
    assert index.num_clips == {"train": 60, "val": 4}
    one = ShardSampler(index, batch_size=4, prompt_dropout=0.0)
    generator = torch.Generator().manual_seed(3)
    first = numbers(one, 21, generator)
    state, waiting = generator.get_state(), json.loads(json.dumps(one.waiting()))
    rest = numbers(one, 200, generator)
    assert {n for batch in first + rest for n in batch} == set(range(60))

    two = ShardSampler(index, batch_size=4, prompt_dropout=0.0)
    two.restore(waiting)
    again = torch.Generator()
    again.set_state(state)
    assert numbers(two, 200, again) == rest
    other = ShardSampler(index, batch_size=4, prompt_dropout=0.0)
    assert numbers(other, 21, torch.Generator().manual_seed(4)) != first


def test_captions_belong_to_their_clips_and_may_be_dropped(tmp_path: Path) -> None:
    write(tmp_path)
    index = read_index(tmp_path)
    sampler = ShardSampler(index, batch_size=8, prompt_dropout=0.5)
    generator = torch.Generator().manual_seed(0)
    dropped = 0
    for _ in range(20):
        batch = sampler.draw(generator)
        clips = index.statistics.restore(batch.features)[:, 0, 0].round()
        length = batch.text.sentence[:, 0]
        assert ((length == clips + 1) | (length == 1)).all()
        dropped += int((~batch.text.mask.any(1)).sum())
    assert 40 < dropped < 120
    batches = all_batches(index, "val")
    assert sum(len(batch.features) for batch in batches) == 4
    with pytest.raises(CorpusError, match="No clip in split 'test'"):
        all_batches(index, "test")


def test_damaged_shards_are_named_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path)
    index = read_index(tmp_path)
    for name in index.splits["train"][1:-1]:
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:900])
    sampler = ShardSampler(index, batch_size=4, prompt_dropout=0.0)
    numbers(sampler, 60, torch.Generator().manual_seed(0))
    assert f"Left out shard {index.splits['train'][1]}" in caplog.text
    for name in index.splits["train"]:
        (tmp_path / name).unlink()
    sampler = ShardSampler(index, batch_size=4, prompt_dropout=0.0)
    with pytest.raises(CorpusError, match=r"No shard of .* can be read"):
        sampler.draw(torch.Generator())
    (tmp_path / "shards.json").write_text("{")
    with pytest.raises(CorpusError, match=r"shards\.json can't be read"):
        read_index(tmp_path)


def test_a_corpus_is_prepared_and_trained_on(
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("trainer.data.examples.user_cache_dir", lambda *_, **__: str(tmp_path))
    shards = tmp_path / "shards"
    words = ["prepare", "shards", str(corpus), "--out", str(shards), "--plain", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["train"] == 12
    assert main(words) == 2
    assert "--overwrite" in capsys.readouterr().err
    clips = load_corpus([corpus], "train")
    expected = measure_statistics([encode_clip(clip, ROOT_LOCAL) for clip in clips], ROOT_LOCAL)
    found = read_index(shards).statistics
    torch.testing.assert_close(found.mean, expected.mean, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.deviation, expected.deviation, atol=1e-5, rtol=1e-4)
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train = ["train", "mdm-smoke", "--data", str(shards), "--set", "loop.num_steps=6"]
    assert main([*train, "--out", str(whole)]) == 0
    assert main([*train, "--out", str(halves), "--minutes", "0"]) == 0
    assert main([*train, "--out", str(halves), "--resume"]) == 0
    states = [load_file(run / "training-state.safetensors") for run in (whole, halves)]
    assert all(states[0][name].equal(states[1][name]) for name in states[0])
    assert main(["train", "hmmr-smoke", "--data", str(shards), "--out", str(tmp_path / "x")]) == 2
    assert "holds features for the method mdm and no 3D motion" in capsys.readouterr().err
