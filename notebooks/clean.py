"""A filter for git: a notebook as it is stored here, from one as JupyterLab writes it when it is opened and looked at.

JupyterLab notes its kernel and the version of Python in the file. ``make lab`` has git run this on notebooks
(``.gitattributes``), so that they have changed for git only when a cell or an output has.
"""

import json
import sys
from pathlib import Path


def clean(text: str) -> str:
    """The notebook with the metadata that all notebooks here have; what is no notebook stays as it is."""
    try:
        notebook = json.loads(text)
        notebook["metadata"] = json.loads(Path(__file__).with_name("metadata.json").read_text(encoding="utf-8"))
    except (ValueError, TypeError):
        return text
    return json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.stdout.buffer.write(clean(sys.stdin.buffer.read().decode("utf-8")).encode("utf-8"))
