"""Toy scenes: a small world whose look is too rich for a few labelled scenes to cover.

A scene is a horizon with stuff (sky, grass, road, water) and things (house, tree, car, balloon), each category in one
of eight *modes* (two colours and a pattern; colours are shared between categories, so colour alone tells nothing)
under one of five lights. Things are 10 pixels and more across, save where another hides them. A scene is a function of its
number alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from seggen_d2.foundation.seeds import derive_seed
from seggen_d2.segmentation import Categories, Category
from seggen_d2.segmentation.masks import InstanceMask, InstanceObject, Mask, Segment, SegmentMask, SemanticMask

STUFF = ("sky", "grass", "road", "water")
THINGS = ("house", "tree", "car", "balloon")
CATEGORIES = Categories(tuple(Category(n) for n in STUFF) + tuple(Category(n, True) for n in THINGS))
COLORS = {"red": (200, 55, 50), "orange": (232, 140, 45), "yellow": (235, 215, 80), "green": (75, 160, 70),
          "teal": (45, 150, 155), "blue": (65, 95, 200), "purple": (140, 75, 175), "pink": (232, 145, 175),
          "brown": (125, 85, 55), "grey": (130, 132, 136), "white": (236, 236, 230), "black": (42, 42, 48)}
PATTERNS = ("plain", "striped", "barred", "checked", "dotted")
LIGHTS = {"at noon": ((1.05, 1.05, 1.05), 0), "at dusk": ((1.0, 0.78, 0.66), 4), "at dawn": ((0.92, 0.86, 1.02), 18),
          "in fog": ((0.62, 0.62, 0.64), 84), "at night": ((0.52, 0.56, 0.74), 2)}
MODES = 8
SUPERSAMPLING = 2


@dataclass(frozen=True)
class ToyScene:
    """One scene.

    Attributes:
        image: ``(S, S, 3)`` uint8 RGB.
        labels: ``(S, S)`` uint8 category ids; a few pixels are ignored (255).
        objects: ``(S, S)`` uint8: 1 and up for each thing, in the order of drawing; 0 for stuff and ignored pixels.
        attributes: ``{"scene": light, "categories": {name: look}}`` of what is visible.
        counts: visible things by name.
    """

    image: np.ndarray
    labels: np.ndarray
    objects: np.ndarray
    attributes: dict
    counts: dict[str, int]

    def mask(self, task: str) -> Mask:
        """What a person would label for ``semantic``, ``panoptic`` or ``instance`` segmentation: what shows of each thing."""
        ignore_id = CATEGORIES.ignore_id
        if task == "semantic":
            return SemanticMask(self.labels, ignore_id)
        things = [(int(n), int(self.labels[self.objects == n][0])) for n in np.unique(self.objects) if n]
        if task == "instance":
            return InstanceMask(self.labels.shape, tuple(InstanceObject(self.objects == n, c) for n, c in things), ignore_id)
        first = len(CATEGORIES) + 1  # segments of stuff are 1 + their category
        ids = np.where(self.labels == ignore_id, 0, np.where(self.objects > 0, self.objects + first, self.labels.astype(np.int32) + 1))
        stuff = [Segment(int(n), int(n) - 1) for n in np.unique(ids) if 0 < n < first]
        return SegmentMask(ids, (*stuff, *(Segment(n + first, c) for n, c in things)), ignore_id)


def toy_scene(number: int, *, size: int = 48, world: int = 0, appearance: int = 0) -> ToyScene:
    """Draw scene ``number`` at ``size`` x ``size`` pixels.

    Args:
        number: of the scene.
        size: pixels a side.
        world: seeds the categories' modes.
        appearance: 0 is the scene's own; any other number paints the same layout, with the same labels, in another look and light.
    """
    layout, look = (np.random.default_rng(derive_seed("toy", part, world, number, *also)) for part, also in
                    (("layout", ()), ("look", (appearance,))))
    side = size * SUPERSAMPLING
    labels, objects, counts = _layout(layout, side)
    looks = {name: int(look.integers(MODES)) for name in CATEGORIES.names}
    light = str(look.choice(list(LIGHTS)))
    image = _paint(labels, looks, light, world, look)
    small, things = (a[SUPERSAMPLING // 2 :: SUPERSAMPLING, SUPERSAMPLING // 2 :: SUPERSAMPLING].copy() for a in (labels, objects))
    image = image.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3).mean((1, 3))
    visible = [CATEGORIES.names[i] for i in np.unique(small) if (small == i).sum() >= 4]
    attributes = {"scene": light, "categories": {name: describe_mode(name, looks[name], world) for name in visible}}
    if layout.random() < 0.3:  # human labels have holes
        row, column = layout.integers(0, size - 4, 2)
        small[row : row + 4, column : column + 4] = CATEGORIES.ignore_id
        things[row : row + 4, column : column + 4] = 0
    return ToyScene(np.clip(image + 0.5, 0, 255).astype(np.uint8), small, things, attributes,
                    {name: count for name, count in counts.items() if name in visible})


def describe_mode(name: str, mode: int, world: int = 0) -> str:
    """The words for a category's mode, such as ``"red and white striped"``."""
    first, second, pattern = _mode(name, mode, world)
    return first if pattern == "plain" else f"{first} and {second} {pattern}"


def _mode(name: str, mode: int, world: int) -> tuple[str, str, str]:
    rng = np.random.default_rng(derive_seed("toy-mode", world, name, mode))
    first, second = rng.choice(list(COLORS), 2, replace=False)
    return str(first), str(second), PATTERNS[int(rng.integers(len(PATTERNS)))]


def _layout(rng: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Label map and objects, ``(side, side)`` uint8, painted back to front, and how many of each thing."""
    draw = _Draw(side)
    horizon = rng.uniform(0.35, 0.6)
    draw.box("grass", 0, horizon, 1, 1)
    if rng.random() < 0.55:
        top = rng.uniform(horizon, 0.8)
        left = rng.uniform(-0.3, 0.5)
        draw.ellipse("water", left, top, left + rng.uniform(0.5, 0.9), top + rng.uniform(0.14, 0.3))
    if rng.random() < 0.65:
        foot, half, top = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.22), rng.uniform(0.2, 0.8)
        draw.polygon("road", [(foot - half, 1), (foot + half, 1), (top + 0.03, horizon), (top - 0.03, horizon)])
    counts = {name: int(rng.choice([0, 1, 2], p=p)) for name, p in
              {"balloon": (0.5, 0.35, 0.15), "house": (0.35, 0.45, 0.2), "tree": (0.3, 0.4, 0.3), "car": (0.4, 0.4, 0.2)}.items()}
    for name, count in counts.items():
        for _ in range(count):
            draw.begin_object()
            getattr(draw, name)(rng, horizon)
    return np.asarray(draw.labels), np.asarray(draw.objects), counts


class _Draw:
    """Shapes in unit coordinates (x to the right, y down), on a label map that is sky and on a map of objects."""

    def __init__(self, side: int):
        self.side, self.object = side, 0
        self.labels, self.objects = (Image.new("L", (side, side), fill) for fill in (CATEGORIES.names.index("sky"), 0))
        self.draws = ImageDraw.Draw(self.labels), ImageDraw.Draw(self.objects)

    def begin_object(self) -> None:
        """What is drawn from here on belongs to another thing."""
        self.object += 1

    def polygon(self, name: str, points: list[tuple[float, float]]) -> None:
        self._fill("polygon", name, [(x * self.side, y * self.side) for x, y in points])

    def box(self, name: str, x0: float, y0: float, x1: float, y1: float) -> None:
        self.polygon(name, [(x0, y0), (x1, y0), (x1, y1), (x0, y1)])

    def ellipse(self, name: str, x0: float, y0: float, x1: float, y1: float) -> None:
        self._fill("ellipse", name, [v * self.side for v in (x0, y0, x1, y1)])

    def _fill(self, shape: str, name: str, places: list) -> None:
        """The shape on both maps, in the category's id and the object's number."""
        for draw, fill in zip(self.draws, (CATEGORIES.names.index(name), self.object), strict=True):
            getattr(draw, shape)(places, fill=fill)

    def balloon(self, rng: np.random.Generator, horizon: float) -> None:
        x, y, r = rng.uniform(0.1, 0.9), rng.uniform(0.1, horizon - 0.1), rng.uniform(0.11, 0.17)
        self.ellipse("balloon", x - r, y - r, x + r, y + r)
        self.polygon("balloon", [(x - r * 0.7, y + r * 0.6), (x + r * 0.7, y + r * 0.6), (x, y + r * 1.7)])

    def house(self, rng: np.random.Generator, horizon: float) -> None:
        x, w, h, base = rng.uniform(-0.05, 0.7), rng.uniform(0.26, 0.4), rng.uniform(0.18, 0.3), horizon + rng.uniform(0.04, 0.14)
        self.box("house", x, base - h, x + w, base)
        self.polygon("house", [(x - 0.03, base - h), (x + w + 0.03, base - h), (x + w / 2, base - h - rng.uniform(0.08, 0.16))])

    def tree(self, rng: np.random.Generator, horizon: float) -> None:
        x, r, base = rng.uniform(0.08, 0.92), rng.uniform(0.11, 0.17), horizon + rng.uniform(0.06, 0.3)
        self.box("tree", x - 0.035, base - r * 2, x + 0.035, base)
        self.ellipse("tree", x - r, base - r * 3.2, x + r, base - r * 1.1)

    def car(self, rng: np.random.Generator, horizon: float) -> None:
        x, w, base = rng.uniform(-0.05, 0.7), rng.uniform(0.3, 0.42), rng.uniform(max(horizon + 0.2, 0.7), 0.98)
        h = w * 0.4
        self.box("car", x, base - h, x + w, base)
        self.polygon("car", [(x + w * 0.2, base - h), (x + w * 0.3, base - h * 1.9), (x + w * 0.7, base - h * 1.9), (x + w * 0.85, base - h)])


def _paint(labels: np.ndarray, looks: dict[str, int], light: str, world: int, rng: np.random.Generator) -> np.ndarray:
    """``(side, side, 3)`` float32 in 0..255 from a label map and each category's mode."""
    side = labels.shape[0]
    y, x = np.mgrid[:side, :side]
    shift_x, shift_y = rng.integers(0, side // 4, 2)
    step = side // 8  # a pattern's half period
    across, along = (x + shift_x) // step % 2, (y + shift_y) // step % 2
    dots = ((x + shift_x) % (2 * step) < step) & ((y + shift_y) % (2 * step) < step)
    second = {"plain": np.zeros_like(x), "striped": along, "barred": across, "checked": across ^ along, "dotted": dots}
    image = np.empty((side, side, 3), dtype=np.float32)
    for i, name in enumerate(CATEGORIES.names):
        first_color, second_color, pattern = _mode(name, looks[name], world)
        colors = np.array([COLORS[first_color], COLORS[second_color]], dtype=np.float32)
        here = labels == i
        image[here] = colors[second[pattern][here].astype(np.int64)]
    gains, offset = LIGHTS[light]
    image = image * np.array(gains, dtype=np.float32) + offset
    shade = 1 + rng.uniform(-0.12, 0.12) * (x / side - 0.5)[..., None] + rng.uniform(-0.1, 0.1) * (y / side - 0.5)[..., None]
    return image * shade + rng.normal(0, 3.0, image.shape)
