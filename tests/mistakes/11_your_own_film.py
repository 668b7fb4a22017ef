"""Wrong answers to the tasks of notebook 11, and words of what their graders say."""

from spoiled import but

SPLIT = """\
def split_in_time(frames, share=0.1, shortest=36, gap=12):
    middle = frames - max(shortest, round(share * frames))
    if middle - gap < shortest:
        return None
    return (0, middle - gap), (middle, frames)
"""
STEPS = """\
def steps_in(seconds, times):
    return max(1, int(seconds / statistics.median(times[1:])))
"""


MISTAKES = {
    "split_in_time": [
        (but(SPLIT, ("(0, middle - gap), (middle", "(0, middle), (middle")), "there is no gap"),
        (but(SPLIT, ("max(shortest, round(share * frames))", "round(share * frames)")), "are held out"),
        (but(SPLIT, ("max(shortest, round(share * frames))", "shortest")), "of 1000 frames 100"),
        (but(SPLIT, ("(0, middle - gap), (middle, frames)", "(middle, frames), (0, middle - gap)")), "swapped"),
        (but(SPLIT, ("(middle, frames)", "(middle, frames - 1)")), "the film's end"),
        (but(SPLIT, ("(0, middle - gap)", "(0, middle - gap - 1)")), "the gap is 13"),
        (but(SPLIT, ("    if middle - gap < shortest:\n        return None\n", "")), "return None"),
        (but(SPLIT, ("return (0, middle - gap), (middle, frames)", "return middle - gap, middle")), "two pairs"),
        (but(SPLIT, ("return (0", "(0")), "is there a `return`?"),
        (but(SPLIT, ("round(share", "round(part")), "stopped with NameError"),
    ],
    "steps_in": [
        (but(STEPS, ("statistics.median(times[1:])", "statistics.mean(times[1:])")), "median"),
        (but(STEPS, ("statistics.median(times[1:])", "statistics.mean(times)")), "median"),
        (but(STEPS, ("times[1:]", "times")), "the first step is set-up"),
        (but(STEPS, ("seconds /", "seconds *")), "divide"),
        (but(STEPS, ("max(1, int(seconds / statistics.median(times[1:])))", "int(seconds / 0.5)")), "at least one"),
        (but(STEPS, ("max(1, int(", "max(1, (")), "a whole number"),
        (but(STEPS, ("int(", "round(")), "a whole number"),
        (but(STEPS, ("return ", "")), "is there a `return`?"),
        (but(STEPS, ("times[1:]", "times[1]")), "stopped with TypeError"),
    ],
}
