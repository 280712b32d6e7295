"""The layouts that training data comes in, and which of them a folder has.

One module per layout, with what its files hold and who says so. Each reads into `Clip` (captioned
3D motion) or `View` (captioned 2D keypoints with a camera), or both.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from trainer.data.clip import Clip, CorpusError, View
from trainer.data.layouts import amass, fit3d, humanml3d, lifted, nba
from trainer.data.layouts.body_models import find_body_models

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One layout. `clips` and `views` read a split; None where it has nothing of the kind."""

    name: str
    needs: str  # what a folder must have, for who has named the wrong one
    fits: Callable[[Path], bool]
    holds: str = "keypoints"  # where there are no clips
    clips: Callable[[Path, str, bool], list[Clip]] | None = None
    views: Callable[[Path, str], Iterator[View]] | None = None


def _is_views(folder: Path) -> bool:
    return (folder / "views").is_dir() and (folder / "index.jsonl").is_file()


def _own_views(folder: Path, split: str) -> Iterator[View]:
    # its module makes views too, and so imports the cameras and detectors of training
    from trainer.data.views_corpus import read_views

    return read_views(folder, split)


LAYOUTS = (
    Layout(
        name="keypoint clips of `trainer prepare`",
        needs="views/, index.jsonl, train.txt",
        fits=_is_views,
        views=_own_views,
    ),
    Layout(
        name="shards of `trainer prepare`",
        needs="shards.json",
        fits=lambda folder: (folder / "shards.json").is_file(),
        holds="features for the method mdm",
    ),
    Layout(
        name="lifted motions (VideoMDM, MVLift)",
        needs="2d_motions/, 2d_scores/, cameras/, new_joint_vecs/ or lifted_motions/, texts/",
        fits=lifted.is_lifted,
        clips=lambda folder, split, mirrored: lifted.read_clips(folder, split),
        views=lifted.read_views,
    ),
    Layout(
        name="Fit3D",
        needs="train/SUBJECT/joints3d_25/",
        fits=fit3d.is_fit3d,
        clips=lambda folder, split, mirrored: fit3d.read_clips(
            folder, split, find_body_models(None)
        ),
        views=lambda folder, split: fit3d.read_views(folder, split, find_body_models(None)),
    ),
    Layout(
        name="MAS NBA",
        needs="motions/NAME.npy of (T, 16, 3)",
        fits=nba.is_nba,
        views=nba.read_views,
    ),
    Layout(
        name="HumanML3D",
        needs="new_joints/ or new_joint_vecs/, texts/, train.txt",
        fits=humanml3d.is_humanml3d,
        clips=lambda folder, split, mirrored: humanml3d.read_clips(
            folder, split, mirrored=mirrored
        ),
    ),
    Layout(
        name="AMASS",
        needs="SET/SUBJECT/NAME_poses.npz or NAME_stageii.npz",
        fits=amass.is_amass,
        clips=lambda folder, split, mirrored: amass.read_clips(
            folder, split, find_body_models(None)
        ),
    ),
)


def recognise(folder: Path) -> Layout:
    """The layout of a folder.

    Raises:
        CorpusError: there is no such folder, it is empty, or it has none of the layouts; says
            what was found in it.
    """
    if not folder.exists():
        raise CorpusError(f"{folder} is no corpus: there is no such folder")
    if not folder.is_dir():
        raise CorpusError(f"{folder} is no corpus: it is a file, needs a folder")
    layout = next((layout for layout in LAYOUTS if layout.fits(folder)), None)
    if layout is None:
        contents = _contents(folder)
        if not contents:
            raise CorpusError(f"{folder} is no corpus: it is empty")
        known = "; ".join(f"{layout.name}: {layout.needs}" for layout in LAYOUTS)
        raise CorpusError(f"{folder} is no corpus: it has {contents}. Known layouts: {known}")
    return layout


def load_clips(folder: Path, split: str, *, mirrored: bool = True) -> list[Clip]:
    """The 3D clips of a split, in whatever layout they are; says which.

    Raises:
        CorpusError: the folder isn't a corpus, or holds no 3D motion.
    """
    layout = recognise(folder)
    if layout.clips is None:
        raise CorpusError(
            f"{folder} is {layout.name}: it holds {layout.holds} and no 3D motion, which is "
            "needed here"
        )
    log.info("Reading split %r of %s: %s", split, folder, layout.name)
    clips = layout.clips(folder, split, mirrored)
    log.info("Read %d clips", len(clips))
    return clips


def load_views(folder: Path, split: str) -> Iterator[View]:
    """The keypoint clips of a split, in whatever layout they are; says which.

    Raises:
        CorpusError: the folder isn't a corpus, or holds no keypoints.
    """
    layout = recognise(folder)
    if layout.views is None:
        raise CorpusError(
            f"{folder} is {layout.name}: it holds 3D motion and no keypoints; make some with "
            "`python -m trainer prepare views`"
        )
    log.info("Reading split %r of %s: %s", split, folder, layout.name)
    return layout.views(folder, split)


def _contents(folder: Path) -> str:
    """What is in a folder, in a few words; "" where nothing is."""
    entries = list(islice(folder.iterdir(), 1000))
    folders = sorted(entry.name + "/" for entry in entries if entry.is_dir())
    kinds = Counter(entry.suffix or entry.name for entry in entries if entry.is_file())
    files = [f"{count} {kind}" for kind, count in kinds.most_common(4)]
    return ", ".join([*folders[:6], *files])
