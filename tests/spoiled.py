"""Wrong answers made of right ones, for the lists of mistakes that graders have to name."""


def but(right: str, *changes: tuple[str, str]) -> str:
    """A right answer, spoiled."""
    for old, new in changes:
        assert old in right, f"{old!r} is not in the answer"
        right = right.replace(old, new)
    return right
