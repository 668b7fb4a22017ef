"""From the film to frame stores, beside PyAV decoding the same file and FFmpeg scaling its frames to 64x64.

Both sides take turns, each in a process of its own, so that the largest memory is that side's. Prints seconds, CPU
seconds and memory, and the ratio to the peer, for one store and for three made together.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import av

from vg.data import film, open_stores

ROUNDS = 3
ONE, THREE = [{"size": 64}], [{"size": 64}, {"size": 128}, {"size": 64, "restore": False}]


def peer(source) -> None:
    """What one would write first: every frame that the store keeps, through PyAV's own scaler."""
    with av.open(str(source.path)) as file:
        file.streams.video[0].thread_type = "AUTO"
        for k, frame in enumerate(file.decode(video=0)):
            if k % 2 == 0:
                frame.to_ndarray(format="gray", width=64, height=64)


def best_peer(source) -> None:
    """The same with one scaler for all frames, as FFmpeg itself does it."""
    scaler = av.video.reformatter.VideoReformatter()
    with av.open(str(source.path)) as file:
        file.streams.video[0].thread_type = "AUTO"
        for k, frame in enumerate(file.decode(video=0)):
            if k % 2 == 0:
                scaler.reformat(frame, 64, 64, "gray").to_ndarray()


SIDES = {
    "PyAV": peer,
    "PyAV, one scaler": best_peer,
    "one store": lambda source: open_stores(source, ONE),
    "three stores": lambda source: open_stores(source, THREE),
}


def measure(side: str) -> None:
    """In a process of its own: print seconds, CPU seconds and MiB."""
    source = film(download=False)
    source.sha256  # noqa: B018 - reading the file once is no part of either side
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VG_CACHE"] = folder
        begin, cpu = time.perf_counter(), time.process_time()
        SIDES[side](source)
        took = (time.perf_counter() - begin, time.process_time() - cpu)
    print(json.dumps([*took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def main() -> None:
    taken = {side: [] for side in SIDES}
    for _ in range(ROUNDS):
        for side in SIDES:
            ran = subprocess.run([sys.executable, __file__, side], stdout=subprocess.PIPE, text=True, check=True)
            taken[side].append(json.loads(ran.stdout.splitlines()[-1]))
    middle = {side: [statistics.median(column) for column in zip(*rows)] for side, rows in taken.items()}
    print(f"{film(download=False).describe()}; stores: 64; and 64, 128 and 64 unrestored together")
    for side, (seconds, cpu, memory) in middle.items():
        ratio, cpu_ratio = seconds / middle["PyAV"][0], cpu / middle["PyAV"][1]
        print(
            f"  {side:17} {seconds:5.1f} s ({ratio:.2f}), CPU {cpu:5.1f} s ({cpu_ratio:.2f}), {memory:4.0f} MiB at most"
        )
    one, three = middle["one store"][0], middle["three stores"][0]
    print(f"  each further store costs {(three - one) / (len(THREE) - 1) / one:.2f} of the first")


if __name__ == "__main__":
    measure(sys.argv[1]) if len(sys.argv) > 1 else main()
