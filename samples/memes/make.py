"""Writes the sample of memes: archives, events, what is expected of them, and the README.

Run it in the repository as `python -m samples.memes.make`; it makes the same files every time. Pictures and videos also
depend on the versions of Pillow and PyAV; those of the lock files made what is here. No font of the system is used.

Belongs here: putting the parts together. Does not belong here: the parts (`drawing.py`, `channels.py`, `people.py`,
`outcomes.py`), texts (`posts.yaml`, `pictures.yaml`).
"""

from pathlib import Path
from typing import Any

import yaml

from samples.memes import channels, outcomes, people

HERE = Path(__file__).resolve().parent
MADE = ("archives", "events")
TABLE = "<!-- made: the table of posts -->\n\n"


def posts() -> list[dict[str, Any]]:
    """The channels with their posts."""
    loaded: list[dict[str, Any]] = yaml.safe_load((HERE / "posts.yaml").read_text("utf-8"))
    return loaded


def files() -> dict[str, bytes]:
    """Return path -> content of every file that is not written by hand."""
    found = posts()
    made = {f"archives/{path}": data for channel in found for path, data in channels.files(channel).items()}
    published = {
        outcomes.meme_id(channel, post): channels.moment(post) for channel in found for post in channel["posts"]
    }
    served = {name: published[name] for name, _, told in outcomes.outcomes(found) if told.get("meme_status.servable")}
    made |= {f"events/{name}": data for name, data in people.files(served).items()}
    before, mark, _ = (HERE / "README.md").read_text("utf-8").partition(TABLE)
    return made | {
        "expected.csv": outcomes.expected(found),
        "README.md": (before + mark + outcomes.table(found)).encode(),
    }


def main() -> None:
    made = files()
    for folder in MADE:
        for path in (HERE / folder).rglob("*"):
            if path.is_file() and path.relative_to(HERE).as_posix() not in made:
                path.unlink()
    for name, content in made.items():
        (HERE / name).parent.mkdir(parents=True, exist_ok=True)
        (HERE / name).write_bytes(content)
    print(f"{len(made)} files, {sum(map(len, made.values())):,} bytes")


if __name__ == "__main__":
    main()
