"""Train on a machine that has nothing but the repository, PyTorch and one packed file.

    python scripts/train_away.py pack AWAY --data CORPUS ...     here: what the runs read
    python scripts/train_away.py train AWAY --out OUT --minutes 9 \\
        "mdm = mdm-free" "lifter = hmmr-free --set loop.num_steps=8000"      there
    python scripts/train_away.py join OUT --to RUNS              here: the runs' files

A second `train` with the same folder of runs goes on where the first was stopped. Runs are
processes of their own, side by side, with a share of the cores each. What comes back is in parts
of at most 15 MB.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import subprocess
import sys
import tarfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PART_BYTES = 15 << 20
ENCODER = "text-encoder"
_PYTHON = """
import sys
from pathlib import Path
from engine.networks import text_encoder
folder = Path(sys.argv.pop(1))
text_encoder.find_weights = lambda: folder
from trainer.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def main() -> int:
    """Read the words and do what they say."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("pack", help="gather what the runs read")
    one.add_argument("folder", type=Path)
    one.add_argument("--data", type=Path, nargs="+", required=True, help="corpus folders")
    one = commands.add_parser("train", help="run presets side by side")
    one.add_argument("folder", type=Path)
    one.add_argument("runs", nargs="+", help='"NAME = PRESET [options of trainer train]"')
    one.add_argument("--out", type=Path, required=True, help="where the parts go")
    one.add_argument("--work", type=Path, default=Path("/tmp/marey-away"), help="runs' folders")
    one.add_argument("--minutes", type=float, required=True)
    one = commands.add_parser("join", help="put the parts together")
    one.add_argument("folder", type=Path)
    one.add_argument("--to", type=Path, required=True)
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if args.command == "pack":
        pack(args.folder, args.data)
        return 0
    if args.command == "join":
        join(args.folder, args.to)
        return 0
    return train(args.folder, args.work, args.out, args.runs, args.minutes)


def pack(folder: Path, corpora: list[Path]) -> None:
    """Write FOLDER/data.tar.xz: the corpora, and the text encoder in half precision.

    Words that no caption has are blanked in the encoder, or it would be the largest part by far.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "data.tar.xz", "w:xz") as archive:
        for corpus in corpora:
            archive.add(corpus, f"corpora/{corpus.resolve().name}")
        for name, content in _small_encoder(corpora).items():
            entry = tarfile.TarInfo(f"{ENCODER}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    print(f"{folder / 'data.tar.xz'}: {(folder / 'data.tar.xz').stat().st_size / 1e6:.1f} MB")


def _small_encoder(corpora: list[Path]) -> dict[str, bytes]:
    import torch
    from safetensors.torch import load_file, save
    from transformers import AutoTokenizer

    from engine.networks.text_encoder import find_weights
    from trainer.data import paraphrase

    source = find_weights()
    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    words = {w for corpus in corpora for w in _words_of(corpus)}
    words |= set(Path(paraphrase.__file__).read_text().split())  # what rewordings bring in
    trainer_texts = [path.read_text() for path in (ROOT / "trainer" / "data").glob("*.py")]
    rows = {row for text in (*words, *trainer_texts) for row in tokenizer(text)["input_ids"]}
    weights = load_file(source / "model.safetensors")
    table = weights["embeddings.word_embeddings.weight"]
    kept = torch.zeros_like(table)
    kept[sorted(rows)] = table[sorted(rows)]
    weights["embeddings.word_embeddings.weight"] = kept
    halved = {n: t.half() if t.is_floating_point() else t for n, t in weights.items()}
    small = {p.name: p.read_bytes() for p in source.iterdir() if p.suffix in (".json", ".txt")}
    return {**small, "model.safetensors": save(halved, {"format": "pt"})}


def _words_of(corpus: Path) -> set[str]:
    texts = (path.read_text() for path in (corpus / "texts").glob("*.txt"))
    return {word for text in texts for word in text.replace("#", " ").split()}


def train(folder: Path, work: Path, out: Path, runs: list[str], minutes: float) -> int:
    """Run every preset in a process of its own; 1 if one of them failed."""
    began = time.monotonic()
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "data").is_dir():
        with tarfile.open(folder / "data.tar.xz") as archive:
            archive.extractall(work / "data.partial", filter="data")
        _raise_precision(work / "data.partial" / ENCODER / "model.safetensors")
        (work / "data.partial").rename(work / "data")
    named = dict(run.split("=", 1) for run in runs)
    share = max(1, (os.cpu_count() or 1) // len(named))
    processes = {
        name.strip(): _start(work, name.strip(), shlex.split(words), share, minutes)
        for name, words in named.items()
    }
    codes = {name: process.wait() for name, process in processes.items()}
    for name, code in codes.items():
        tail = (work / "runs" / name / "log.txt").read_text().replace("\r", "\n").splitlines()
        print(f"{name}: code {code} after {time.monotonic() - began:.0f} s", *tail[-3:], sep="\n  ")
    _part(work / "runs", list(codes), out)
    return int(any(codes.values()))


def _raise_precision(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = {n: t.float() if t.is_floating_point() else t for n, t in load_file(path).items()}
    save_file(tensors, path, {"format": "pt"})


def _start(
    work: Path, name: str, words: list[str], threads: int, minutes: float
) -> subprocess.Popen[bytes]:
    run = work / "runs" / name
    run.mkdir(parents=True, exist_ok=True)
    corpora = [str(path) for path in sorted((work / "data" / "corpora").iterdir())]
    preset, *options = words
    command = [sys.executable, "-u", "-c", _PYTHON, str(work / "data" / ENCODER), "train", preset]
    command += ["--out", str(run), "--minutes", str(minutes), *options]
    if "--data" not in options:
        command += ["--data", *corpora]
    if (run / "training-state.json").is_file():
        command.append("--resume")
    with (run / "log.txt").open("ab") as log:
        return subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "COLUMNS": "150"},
        )


def _part(runs: Path, names: list[str], out: Path) -> None:
    """Checkpoints, figures and logs of the runs, as one archive in parts."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for name in names:
            for file in ("best.safetensors", "stats.jsonl", "config.json", "log.txt"):
                if (runs / name / file).is_file():
                    archive.add(runs / name / file, f"{name}/{file}")
    out.mkdir(parents=True, exist_ok=True)
    content = whole.getvalue()
    for number, start in enumerate(range(0, len(content), PART_BYTES)):
        (out / f"runs.{number:02d}").write_bytes(content[start : start + PART_BYTES])


def join(folder: Path, target: Path) -> None:
    """The runs' folders out of the parts."""
    content = b"".join(path.read_bytes() for path in sorted(folder.glob("runs.*")))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(target, filter="data")
        print("\n".join(archive.getnames()))


if __name__ == "__main__":
    raise SystemExit(main())
