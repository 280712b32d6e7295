"""The trainer with the detector of made videos, as a process of its own that a test can kill."""

from __future__ import annotations

import sys

from tests.trainer.made_videos import read_wall_work
from trainer.__main__ import main
from trainer.commands import prepare_video

if __name__ == "__main__":
    prepare_video.read_work = read_wall_work
    sys.exit(main())
