"""What a benchmark or a batch is about: pictures with drags, drawn here or from folders on the disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from ..batch.tasks import Opened, RequestSource, Source, file_name
from ..errors import InputError
from ..picture.requests import located, parse_request, read_request
from ..request import make_drags
from .tasks import HARD, KINDS, drag_task, with_points

SCENES = "scenes"
UNNAMED = "unnamed"
POINTS = "points-"
LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class Item:
    """A picture with its drags. name: unique and fit for a file; group: items of one name have the same picture and
    prompt; category: for tables.
    """

    name: str
    group: str
    source: Source
    category: str = ""


@dataclass(frozen=True)
class Scene:
    """A drag of known outcome on a drawn scene that no training saw; kind: of KINDS or HARD. named: whether the prompt
    says what the scene shows, or nothing. points: how many handles take hold of it, None is as many as usual.
    """

    number: int
    kind: str
    named: bool = True
    points: int | None = None

    def open(self) -> Opened:
        task = HARD[self.kind](self.number) if self.kind in HARD else drag_task(self.number, self.kind)
        if self.points is not None:
            task = with_points(task, self.points)
        prompt = task.caption if self.named else ""
        return Opened(task.image, prompt, make_drags(task.drags), task.mask, answer=task, truth=task.truth)


@dataclass(frozen=True)
class Layout:
    """How a benchmark keeps a sample in a folder of its own.

    request: name of the file with the drags; pictures: possible names of the picture; mask: that of its mask.
    """

    request: str
    pictures: tuple[str, ...]
    mask: str | None = "mask.png"


LAYOUTS = (
    Layout("meta_data.pkl", ("original_image.png",), None),  # DragBench as published: the mask is in the pickle
    Layout("drag_instruction.json", ("original_image.png",)),  # DragBench without pickles
    Layout("points.json", ("original.jpg", "original.png", "original_image.png")),  # Drag100
)
OURS = (".png", ".jpg", ".jpeg", ".webp")  # NAME.json beside a picture of that name


def read_items(what: str, categories: Sequence[str] = ()) -> Iterator[Item]:
    """The items of `scenes` (endless, a kind at a time), of a folder in one of LAYOUTS at any depth, of a folder of
    requests (NAME.json beside NAME.png), or of a file of JSON lines, each a request with an `image`.

    categories: only those; of scenes also HARD and UNNAMED, which are not there without being named. Raises InputError
    for what cannot be read.
    """
    if what == SCENES:
        known = (*KINDS, *HARD, UNNAMED)
        for category in categories:
            if category not in known:
                raise InputError(f"There are no scenes of the category {category}; there are {', '.join(known)}.")
        return scenes(categories or KINDS)
    items = _read(what)
    found = [item for item in items if not categories or item.category in categories]
    if not found:
        raise InputError(f"Nothing in {what} is of the category {', '.join(categories)}.")
    return iter(found)


def _read(what: str) -> list[Item]:
    path = Path(what).expanduser()
    if path.is_dir():
        return _folder(path)
    if path.suffix.lower() in LINES and path.is_file():
        return _lines(path)
    raise InputError(f"{what} is neither `{SCENES}`, nor a folder of samples, nor a .jsonl file of requests.")


def scenes(kinds: Sequence[str] = KINDS) -> Iterator[Item]:
    """Endless, one of each kind at a time. kinds: of KINDS and HARD, or UNNAMED: moves with an empty prompt, or
    POINTS with a number: moves with so many handles.
    """
    for number in count():
        for kind in kinds:
            name = f"{kind}-{number:04d}"
            if kind == UNNAMED:
                source = Scene(number, "move", named=False)
            elif kind.startswith(POINTS):
                source = Scene(number, "move", points=int(kind[len(POINTS) :]))
            else:
                source = Scene(number, kind)
            yield Item(name, name, source, kind)


def _folder(root: Path) -> list[Item]:
    items = []
    for layout in LAYOUTS:
        for file in sorted(root.rglob(layout.request)):
            picture = next((file.with_name(name) for name in layout.pictures if file.with_name(name).is_file()), None)
            if picture is not None:
                items.append(_item(root, file.parent, picture, file, layout.mask))
    for file in sorted(root.rglob("*.json")):
        picture = next((p for end in OURS if (p := file.with_suffix(end)).is_file()), None)
        if picture is not None and file.name not in {layout.request for layout in LAYOUTS}:
            items.append(_item(root, file.with_suffix(""), picture, file, None))
    if len({item.name for item in items}) < len(items):
        raise InputError(f"Two samples in {root} would have one name; rename one of their folders.")
    if not items:
        known = ", ".join(f"{layout.pictures[0]} with {layout.request}" for layout in LAYOUTS)
        raise InputError(f"There are no samples in {root}; known are {known}, and NAME.png with NAME.json.")
    return sorted(items, key=lambda item: item.name)


def _item(root: Path, place: Path, picture: Path, file: Path, mask: str | None) -> Item:
    """place: what names the sample, relative to `root`; its outer folder is the category."""
    request = read_request(file)
    if mask is not None and request.mask is None and (beside := file.with_name(mask)).is_file():
        request = replace(request, mask=str(beside))
    parts = place.relative_to(root).parts or (root.name,)
    name = file_name("-".join(parts))
    return Item(name, name, RequestSource(picture, request), parts[0] if len(parts) > 1 else "")


def _lines(path: Path) -> list[Item]:
    items = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error}).") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            items.append(_line(path, number, line))
    if not items:
        raise InputError(f"{path} holds no requests; give a JSON object with image and drags on each line.")
    return items


def _line(path: Path, number: int, line: str) -> Item:
    where = f"{path.name}, line {number}"
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where} is not valid JSON ({error}).") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("image"), str):
        raise InputError(f"{where} needs `image`, the path of a picture.")
    image, name = fields.pop("image"), str(fields.pop("name", "") or "")
    category = str(fields.pop("category", "") or "")
    request, _ = parse_request(json.dumps(fields).encode(), Path(where))
    if not request.drags:
        raise InputError(f"{where} has no drags.")
    picture, request = path.parent / Path(image).expanduser(), located(request, path)
    named = file_name(name or f"{Path(image).stem}-{number:04d}")
    return Item(named, f"{image} {request.prompt}".strip(), RequestSource(picture, request), category)
