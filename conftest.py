"""What every test, and every notebook run as a test, finds around it.

The profile is ``smoke`` unless one was asked for, the network is out of reach except for servers on
this machine, and caches and training runs go to a folder of the test file's own. So no test sees what an
earlier run or another notebook left: a notebook that passes here runs alone, with the shipped checkpoints.
Ctrl-C reaches the tests and what they start also where pytest itself was started in a shell's background, which
ignores it.
"""

import os
import signal
import tempfile
from pathlib import Path

import pytest

NOWHERE = "http://127.0.0.1:9"  # the discard port: every request through this proxy is refused at once
FOLDER = pytest.StashKey[Path]()
collect_ignore = ["notebooks/student"]  # its blanks are errors: tests/test_editions.py puts the solutions in


def pytest_configure(config):
    folder = tempfile.TemporaryDirectory(prefix="vg-tests-", ignore_cleanup_errors=True)
    config.add_cleanup(folder.cleanup)
    config.stash[FOLDER] = Path(folder.name)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # children would be born deaf to it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("VG_PROFILE", "smoke")
    if os.environ.get("VG_DATA"):  # kernels start in another folder
        os.environ["VG_DATA"] = os.path.abspath(os.environ["VG_DATA"])
    os.environ.update(http_proxy=NOWHERE, https_proxy=NOWHERE, no_proxy="127.0.0.1,localhost")
    use_folder(config.stash[FOLDER] / "collection")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Before the item, and so before the kernel of its notebook, is set up."""
    use_folder(item.config.stash[FOLDER] / item.path.name)


def use_folder(folder: Path) -> None:
    os.environ["VG_CACHE"] = str(folder / "cache")
    os.environ["VG_RUNS"] = str(folder / "runs")
