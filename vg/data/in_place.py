"""A folder that is complete or not there: made under another name, and moved into place when whole."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path


def put_in_place(temporary: Path, folder: Path, finished: Callable[[Path], bool]) -> None:
    """Give ``temporary`` the name ``folder``, unless a finished one is there by now: somebody may be reading it.

    Raises:
        OSError: if it cannot be moved; perhaps because another process was faster.
    """
    if finished(folder):
        return
    shutil.rmtree(folder, ignore_errors=True)
    umask = os.umask(0)  # it can only be read by setting it
    os.umask(umask)
    temporary.chmod(0o777 & ~umask)  # mkdtemp makes folders that nobody else can read
    os.replace(temporary, folder)
