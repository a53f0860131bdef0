"""The words of a list caption: "a scene at dusk with a road, two cars and a red and white striped sky"."""

from __future__ import annotations

from collections.abc import Mapping

from seggen_d2.segmentation.categories import spoken

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def list_caption(opening: str, counts: Mapping[str, int], looks: Mapping[str, str]) -> str:
    """``("a scene", {"road": 1, "car": 2}, {"road": "grey"})`` to ``"a scene with a grey road and two cars"``."""
    listed = list_names(counts, looks)
    return f"{opening} with {listed}" if listed else opening


def list_names(counts: Mapping[str, int], looks: Mapping[str, str]) -> str:
    """``({"road": 1, "car": 2}, {"road": "grey"})`` to ``"a grey road and two cars"``."""
    phrases = [_phrase(name, count, looks.get(name, "")) for name, count in counts.items()]
    return " and ".join(filter(None, [", ".join(phrases[:-1]), *phrases[-1:]]))


def _phrase(name: str, count: int, look: str) -> str:
    described = f"{look} {spoken(name)}".strip()
    if count == 1:
        return f"{'an' if described[0].lower() in 'aeiou' else 'a'} {described}"
    plural = described if described.endswith("s") else described + "s"
    return f"{NUMBERS[count] if count < len(NUMBERS) else 'many'} {plural}"
