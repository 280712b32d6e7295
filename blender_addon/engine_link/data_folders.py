"""Where Marey keeps what is this user's own: the engine's environment and models.

One folder for all Blender versions, kept when the add-on is removed. The rules are those of the
package platformdirs, by which the engine finds the same folder; the add-on has no such package.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

NAME = "marey"


def user_data_folder(
    environment: Mapping[str, str] = os.environ,
    *,
    system: str = sys.platform,
    home: Path | None = None,
) -> Path:
    """The user's folder of Marey; it need not be there yet.

    Source: platformdirs' user_data_path("marey", appauthor=False); XDG Base Directory
    Specification 0.8 (an XDG_DATA_HOME that is not absolute does not count).
    """
    home = home or Path.home()
    if system == "win32":
        local = environment.get("LOCALAPPDATA", "").strip()
        return (Path(local) if local else home / "AppData" / "Local") / NAME
    given = environment.get("XDG_DATA_HOME", "").strip()
    if given and Path(given).is_absolute():
        return Path(given) / NAME
    if system == "darwin":
        return home / "Library" / "Application Support" / NAME
    return home / ".local" / "share" / NAME


def user_models_folder() -> Path:
    """The folder of the user's own models, which the engine searches too."""
    return user_data_folder() / "models"
