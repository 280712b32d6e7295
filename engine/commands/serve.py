"""`python -m engine serve`: the engine process."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.commands import console

if TYPE_CHECKING:
    from engine.server.model_store import Models

log = logging.getLogger("engine")

EXAMPLE = "python -m engine serve --connection-file engine.json"
LOCAL_ENDPOINT = "tcp://127.0.0.1:*"


def add_parser(verbs: console.Verbs) -> None:
    """The verb's words."""
    parser = verbs.add_parser("serve", help="run the engine process", epilog=f"example: {EXAMPLE}")
    parser.add_argument(
        "--connection-file",
        type=Path,
        metavar="F",
        help="written when the engine listens: endpoint and token (default: in the user's data)",
    )
    parser.add_argument("--parent-pid", type=int, metavar="P", help="end when this process is gone")
    parser.add_argument(
        "--endpoint",
        default=LOCAL_ENDPOINT,
        metavar="E",
        help=f"where to listen (default: {LOCAL_ENDPOINT}, any free port of this machine only)",
    )
    console.add_models_option(parser)
    console.add_device_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a client, the parent's end or a signal ends it."""
    from engine.device import choose_device
    from engine.methods.base import RequestError
    from engine.server.model_store import ModelStore, model_folders

    _start_log()
    try:
        device = choose_device(arguments.device)
        models = ModelStore(model_folders(arguments.models), device)
    except RequestError as error:
        raise console.CommandError(str(error)) from error
    return serve(arguments, models, device=str(device))


def serve(arguments: argparse.Namespace, models: Models, *, device: str) -> int:
    """Serve some models, with the words of the command line."""
    from engine.server.app import Server
    from engine.server.connection import (
        EndpointError,
        new_token,
        remove_connection_file,
        write_connection_file,
    )
    from engine.server.memory import use_few_heaps
    from engine.server.model_store import user_data_folder

    use_few_heaps()
    file = arguments.connection_file or user_data_folder() / "engine-connection.json"
    token = new_token()
    try:
        server = Server(models, token=token, device=device, endpoint=arguments.endpoint)
        write_connection_file(file, endpoint=server.endpoint, token=token)
    except (OSError, EndpointError) as error:
        raise console.CommandError(f"The engine can't listen: {error}") from error
    stopper = _Stopper(arguments.parent_pid)
    log.info("Listening at %s on %s, connection file %s", server.endpoint, device, file)
    try:
        ended_well = server.run(stopper.reason)
    finally:
        remove_connection_file(file)
    if not ended_well:
        log.warning("The job under way did not stop in time")
        sys.stderr.flush()
        os._exit(stopper.exit_code)
    return stopper.exit_code


class _Stopper:
    """Reasons to end that don't come from a client: a signal, or the parent's end."""

    def __init__(self, parent_pid: int | None) -> None:
        from engine.server.connection import ParentWatch

        self.exit_code = console.DONE
        self._signal = ""
        self._parent_is_gone: Callable[[], bool] = (
            ParentWatch(parent_pid).is_gone if parent_pid is not None else lambda: False
        )
        signal.signal(signal.SIGTERM, self._take_signal)
        signal.signal(signal.SIGINT, self._take_signal)

    def reason(self) -> str:
        """Why to end now; "" while there is no reason."""
        return self._signal or ("its parent process is gone" if self._parent_is_gone() else "")

    def _take_signal(self, number: int, frame: object) -> None:
        self._signal = signal.Signals(number).name
        if number == signal.SIGINT:
            self.exit_code = console.INTERRUPTED


def _start_log() -> None:
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
