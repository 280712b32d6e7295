"""An engine process with fake models: python -m tests.fake_engine serve …, as the real one."""

from __future__ import annotations

import logging
import sys

from engine.__main__ import parser
from engine.commands import serve
from tests.fakes import FakeModels


def main() -> int:
    logging.basicConfig(level=logging.INFO)
    return serve.serve(parser().parse_args(), FakeModels(), device="cpu")


if __name__ == "__main__":
    sys.exit(main())
