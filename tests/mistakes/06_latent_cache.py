"""Wrong answers to the tasks of notebook 06, and words of what their graders say."""

PACK = """\
def pack(digits, levels):
    total = math.prod(levels)
    worth = np.array([math.prod(levels[:i]) for i in range(len(levels))], np.uint64)
    wide = (digits.astype(np.uint64) * worth).sum(-1)
    return wide.astype(np.uint16 if total <= 2**16 else np.uint32 if total <= 2**32 else np.uint64)
"""
WINDOW_STARTS = """\
def window_starts(lengths, length, stride=1):
    starts, row = [], 0
    for n in lengths:
        starts += [row + k for k in range(0, n - length + 1, stride)]
        row += n
    return starts
"""
READ_WINDOWS = """\
def read_windows(table, starts, length):
    found = np.stack([table[start : start + length] for start in starts])
    return torch.from_numpy(found.astype(np.int64))
"""
CACHE_KEY = """\
def cache_key(parts):
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
"""


def wrong(right: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert old in right, old
        right = right.replace(old, new)
    return right


MISTAKES = {
    "pack": [
        (wrong(PACK, ("    return ", "    ")), "gives NoneType"),
        (wrong(PACK, ("<= 2**16", "< 2**16")), "65,535 want uint16, got uint32"),
        (wrong(PACK, ("levels[:i]", "levels[i + 1 :]")), "the first digit runs fastest"),
        (wrong(PACK, ("digits.astype(np.uint64) * worth", "digits * worth.astype(np.uint8)")), "wrap round"),
        (wrong(PACK, ("sum(-1)", "sum(0)")), "expected an array (2,)"),
        (
            wrong(PACK, ("np.uint16 if total <= 2**16 else np.uint32 if total <= 2**32 else np.uint64", "np.uint16")),
            "want uint32, got uint16",
        ),
    ],
    "window_starts": [
        (wrong(WINDOW_STARTS, (" + 1, stride", ", stride")), "the last window of each stream is missing"),
        (wrong(WINDOW_STARTS, ("[row + k for", "[k for")), "where in the table does it begin"),
        (wrong(WINDOW_STARTS, ("    return starts", "    pass")), "is there a return"),
        (wrong(WINDOW_STARTS, ("n - length + 1, stride", "n - length + 1")), "Begin anew in each"),
        ("def window_starts(lengths, length, stride=1):\n    return range(sum(lengths) - length + 1)\n", "cross cuts"),
        (wrong(WINDOW_STARTS, ("stride=1", "stride")), "stride may be left out"),
    ],
    "read_windows": [
        (wrong(READ_WINDOWS, (".astype(np.int64)", "")), "expected torch.int64"),
        (wrong(READ_WINDOWS, ("    return ", "    ")), "expected a tensor"),
        (wrong(READ_WINDOWS, ("np.stack", "np.concatenate")), "expected (3, 4, 2, 3)"),
        (wrong(READ_WINDOWS, ("table[start", "table.astype(np.int64)[start")), "all rows are read"),
        (wrong(READ_WINDOWS, ("table[start : start + length]", "table[[start] * length]")), "go on in wrong ones"),
        (wrong(READ_WINDOWS, ("for start in starts", "for start in sorted(starts)")), "windows begin with"),
    ],
    "cache_key": [
        (wrong(CACHE_KEY, (", sort_keys=True", "")), "in another order have another key"),
        (wrong(CACHE_KEY, ("dumps(parts,", "dumps(list(parts),")), "have another key"),
        (wrong(CACHE_KEY, ("dumps(parts,", "dumps(sorted(parts),")), "hash the values too"),
        (wrong(CACHE_KEY, ("text.encode()", "text")), "sha256 wants bytes"),
        (wrong(CACHE_KEY, ("[:12]", "")), "has 64 characters"),
        (
            wrong(CACHE_KEY, ("hashlib.sha256(text.encode()).hexdigest()[:12]", 'f"{hash(text) % 10**12:012d}"')),
            "hash() would change",
        ),
        (wrong(CACHE_KEY, ("    return ", "    ")), "gives NoneType"),
    ],
}
