"""The notice that people see once, before a tool reports anything."""

from __future__ import annotations

import os
import sys
from typing import Final

from .. import _config, _identity
from .. import _files as files
from .._consent import resolve

#: An empty file in the config directory: the notice was shown.
SHOWN: Final = "notice_shown"


def show_once(text: str, project_slug: str) -> bool:
    """Print a text to stderr unless it was shown before, or nothing will be reported; whether it was printed.

    Raises:
        ValueError, OSError: the slug is none; that it was shown cannot be remembered.
    """
    _config.check_slug(project_slug)
    if _config.in_ci():
        return False
    environment = _config.environment()
    if not resolve(False, environment, ()).enabled:  # before paths, which cost an import
        return False
    project = _config.paths(project_slug)
    place = os.path.join(project.config_dir, SHOWN)
    if files.exists(place):
        return False
    if not resolve(False, environment, _config.read_config_files(project)).stores:
        return False
    _identity.make_directory(project)
    try:
        files.close(files.create(place))  # before it is printed: of several processes one prints
    except FileExistsError:
        return False
    print(text, file=sys.stderr, flush=True)
    return True
