"""Bars, and processes that are killed while they draw one."""

import os
import subprocess
import sys

import pytest

KILLED_WHILE_IT_DRAWS = """
import os, signal
from vg.progress import tqdm

tqdm(total=1).close()  # whatever lock there is, is there now
child = os.fork()
if not child:
    tqdm.get_lock().acquire()
    os.kill(os.getpid(), signal.SIGKILL)
assert os.waitpid(child, 0)[1] == signal.SIGKILL
tqdm(total=1).close()
print("drawn")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_process_that_is_killed_while_it_draws_a_bar_keeps_no_other_from_drawing():
    done = subprocess.run([sys.executable, "-c", KILLED_WHILE_IT_DRAWS], capture_output=True, text=True, timeout=60)
    assert done.stdout == "drawn\n", done.stderr
