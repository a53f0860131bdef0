"""Edits of captions: what is found in a caption, what is drawn in its place, and what a table tells of it."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seggen_d2.captions import Edits, Prompts, read_captions, read_edits, read_prompts_of, write_captions
from seggen_d2.captions.attributes import Attributes, Slots
from seggen_d2.captions.coverage import variety
from seggen_d2.captions.edits import EditOptions, Editor, rare_weights
from seggen_d2.captions.redraw import Redraw
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.naming import named_categories
from seggen_d2.sources.caption_words import list_caption
from seggen_d2.sources.toy import CATEGORIES, toy_scene

STREET = Categories.from_names(["person", "horse", "street", "building", "bus", "sky", "sky-light", "car"])


def toy_caption(number: int) -> str:
    scene = toy_scene(number, size=16)
    looks = scene.attributes["categories"]
    return list_caption(f"a scene {scene.attributes['scene']}", {name: scene.counts.get(name, 1) for name in looks}, looks)


@pytest.fixture(scope="module")
def toy():
    """Slots of the toy world, what 80 unlabelled scenes say, and the captions of 6 others."""
    slots = Slots(CATEGORIES)
    return slots, Attributes.of([toy_caption(1_000_000 + i) for i in range(80)], slots), {str(i): (toy_caption(i),) for i in range(6)}


def found(caption: str, categories: Categories = STREET) -> list[tuple[str, str]]:
    return [(slot.of, slot.words) for slot in Slots(categories)(caption)]


def contents(caption: str) -> list[tuple[int, str]]:
    """The categories of a toy caption in order, and how many it counts."""
    phrases = caption.partition(" with ")[2].replace(" and a ", ", a ").replace(" and two ", ", two ").split(", ")
    return [(named_categories(phrase, CATEGORIES)[0], "one" if phrase.split()[0] in ("a", "an") else phrase.split()[0]) for phrase in phrases]


def test_a_label_list_s_looks_and_its_light_are_found():
    caption = "a scene at dusk with a brown and yellow checked grass, two blue and red barred balloons, a sky and an orange tree"
    assert found(caption, CATEGORIES) == [("light", "at dusk"), ("grass", "brown and yellow checked"), ("balloon", "blue and red barred"),
                                          ("sky", ""), ("tree", "orange")]


@pytest.mark.parametrize(("caption", "slots"), [
    ("a man riding a brown horse down a snowy street at night", [("horse", "brown"), ("street", "snowy"), ("light", "at night")]),
    ("A group of people in front of the old brick building on a bright sunny day.", [("building", "old brick"), ("light", "on a bright sunny day")]),
    ("two red and white buses in a city under a cloudy sky", [("bus", "red and white"), ("place", "in a city"), ("sky", "cloudy")]),
    ("cars and a person's horse in a field in the morning sun", [("person", ""), ("light", "in the morning sun")]),
    ("a man and a woman walking horse", []),  # no determiner: what stands before may be a verb
    ("a man and street", []),  # "man and" is no look
    ("his 3 red cars", [("car", "red")]),
    ("a skylight", []),
    ("in a day room there is a car", [("car", "")]),  # a day room is no day
])
def test_free_captions_slots_are_found(caption, slots):
    assert found(caption) == slots


def test_saying_nothing_counts_and_mistakes_are_left_out():
    slots = Slots(STREET)
    attributes = Attributes.of(["a red car at night", "a red car", "a car", "a blu car", "a woman holding car", "the bus"], slots, least=2)
    assert attributes.counts == {"car": {"red": 2, "": 1}} and attributes.words() == {"red"}
    assert Attributes.of(["a red car at night", "a car"], slots).counts["light"] == {"": 1, "at night": 1}


def test_words_are_drawn_as_often_as_they_are_said():
    attributes = Attributes({"car": {"red": 3, "": 1}})
    assert Counter(attributes.draw("car", i / 1000) for i in range(1000)) == {"red": 750, "": 250}


def test_light_is_drawn_from_what_is_said_beside_the_same_categories():
    slots = Slots(STREET)
    attributes = Attributes.of(["a bus in the snow"] * 9 + ["a horse at night", "a horse"], slots)
    drawn = {named: Counter(attributes.draw("light", i / 100, named) for i in range(100)) for named in (("bus",), ("horse",), ("bus", "horse"), ("car",), ())}
    assert drawn[("bus",)] == {"in the snow": 100} and drawn[("horse",)] == {"at night": 50, "": 50}
    assert drawn[("bus", "horse")] == {"in the snow": 50, "at night": 25, "": 25}
    assert drawn[("car",)] == drawn[()] and set(drawn[()]) == {"in the snow", "at night", ""}


def test_places_take_the_place_of_places_alone():
    slots = Slots(STREET)
    redraw = Redraw(Attributes.of(["a car in the city", "a car in a small village", "a car"], slots), slots)
    assert redraw.edits("a", ["a car"], 8) == () and redraw.edits("a", ["a car in a town"], 8)
    assert {text for text, _ in redraw.edits("a", ["a car in a town"], 8)} == {"a car in the city", "a car in a small village"}


def test_toy_edits_change_looks_and_light_alone(toy):
    slots, attributes, captions = toy
    redraw = Redraw(attributes, slots)
    for image_id, given in captions.items():
        edits = redraw.edits(image_id, given, 8)
        assert len(edits) == len(set(edits)) == 8 and all(number == 0 for _, number in edits)
        for text, _ in edits:
            assert contents(text) == contents(given[0]) and [s.of for s in slots(text)] == [s.of for s in slots(given[0])]
            assert all(slot.words in attributes.counts[slot.of] for slot in slots(text))


def test_draws_belong_to_the_image_and_spread_over_the_distribution(toy):
    slots, attributes, captions = toy
    redraw, (image_id, given) = Redraw(attributes, slots), next(iter(captions.items()))
    assert redraw.edits(image_id, given, 8) == Redraw(attributes, slots).edits(image_id, given, 8)
    assert redraw.edits(image_id, given, 8) != redraw.edits("other", given, 8) != Redraw(attributes, slots, 1).edits("other", given, 8)
    even = Attributes({"car": {word: 1 for word in ("red", "blue", "green", "grey")}})
    edits = Redraw(even, Slots(STREET)).edits("a", ["the grey car on a street", "a grey car"], 8)
    assert {text for text, number in edits if number == 0} == {f"the {word} car on a street" for word in ("red", "blue", "green")}
    assert {text for text, number in edits if number == 1} == {f"a {word} car" for word in ("red", "blue", "green")}


def test_unknown_words_stay_and_articles_follow():
    redraw = Redraw(Attributes({"car": {"orange": 1}, "building": {"old": 1}}), Slots(STREET))
    assert redraw.edits("a", ["A car near an electric car by the ornate building"], 1) == (("An orange car near an electric car by the ornate building", 0),)
    assert Redraw(Attributes({"car": {"": 1}}), Slots(STREET)).edits("a", ["A car"], 3) == ()


def test_circumstances_come_and_go():
    slots = Slots(STREET)
    never, always = Redraw(Attributes({"light": {"": 1}}), slots), Redraw(Attributes({"light": {"at night": 1}}), slots)
    for caption, without, with_one in (("a car at noon, in fog.", "a car,.", None), ("At dusk, a car is red", "a car is red", "At night, a car is red"),
                                       ("a red car.", None, "a red car at night.")):
        assert [text for text, _ in never.edits("a", [caption], 1)] == ([without] if without else [])
        assert with_one is None or [text for text, _ in always.edits("a", [caption], 1)] == [with_one]


def test_a_table_tells_edits_from_what_describes(tmp_path):
    path = tmp_path / "c.parquet"
    captions, edits = {"a": ("x", "y"), "b": ("z",)}, Edits({"a": (("p", 1), ("q", 0))}, {"b": 2.0}, {"seed": 3})
    write_captions(path, captions, {"captioner": "c"}, edits)
    assert read_captions(path) == captions and read_edits(path) == edits
    assert pq.read_table(path).column("made_from").to_pylist() == [None, None, 1, 0, None]

    class Both:
        def records(self):
            return [{"image_id": "a"}, {"image_id": "b"}]

    assert read_prompts_of(Both(), path, "d") == {"a": Prompts(("p", "q")), "b": Prompts(("z",), 2.0)}
    write_captions(path, captions)
    assert pq.read_schema(path).names == ["image_id", "number", "caption"] and read_edits(path) == Edits({}, {}, {})


@pytest.mark.parametrize(("columns", "message"), [
    ({"made_from": [0, None]}, "made from nothing"), ({"made_from": [None, 7]}, "made from nothing"), ({"made_from": [1, 0]}, "made from nothing"),
    ({"weight": [1.0, 2.0]}, "no weight of its own"), ({"weight": [0.0, 0.0]}, "no weight of its own"), ({"weight": [float("nan")] * 2}, "no weight"),
])
def test_bad_edits_are_refused(tmp_path, columns, message):
    pq.write_table(pa.table({"image_id": ["a", "a"], "number": [0, 1], "caption": ["x", "y"], **columns}), tmp_path / "c.parquet")
    with pytest.raises(SegGenError, match=message):
        read_captions(tmp_path / "c.parquet")


def test_images_of_rare_categories_weigh_more_and_have_more_edits(tmp_path):
    captions = {str(i): ("a red car and a bus" if i == 0 else "a red car",) for i in range(16)}
    assert rare_weights(captions, STREET, 0.25) == {"0": 2.0} and rare_weights(captions, STREET, 0.0) == {}
    write_captions(tmp_path / "u.parquet", {str(i): f"a {word} car" for i, word in enumerate(("tan", "red", "blue", "black", "white", "grey", "green"))})
    options = EditOptions(str(tmp_path / "u.parquet"), redraws=3, least=1, rare_below=0.25)
    edits = Editor(STREET, options)(captions)
    assert edits.weights == {"0": 2.0} and len(edits.texts["0"]) > 3 >= max(len(given) for name, given in edits.texts.items() if name != "0")
    assert Editor(STREET, EditOptions(rare_below=0.25))(captions) == Edits({}, {"0": 2.0}, EditOptions(rare_below=0.25).facts())
    assert Editor(STREET, EditOptions())(captions) is None


def test_a_table_that_says_nothing_of_looks_is_refused(tmp_path):
    write_captions(tmp_path / "u.parquet", {"a": "a car", "b": "cats"})
    with pytest.raises(SegGenError, match="say nothing of how things look"):
        Editor(STREET, EditOptions(str(tmp_path / "u.parquet"), least=1))


def test_variety_tells_what_edits_cover_and_what_rare_images_are_worth(tmp_path):
    write_captions(tmp_path / "u.parquet", {"u1": ("a red car at night", "a red car at noon"), "u2": ("a blue car at noon",), "u3": ("an odd car",)})
    write_captions(tmp_path / "c.parquet", {"1": ("a red car at noon",), "2": ("a bus",)}, {},
                   Edits({"1": (("a red car at night", 0), ("a blue car at noon", 0))}, {"2": 3.0}))
    found = variety(tmp_path / "c.parquet", STREET, tmp_path / "u.parquet", least=1)
    car, bus, light = found.of[1], found.of[0], found.of[2]
    assert (found.images, found.captions, found.edits) == (2, (2, 2), (2, 2)) and [each.of for each in found.of] == ["bus", "car", "light"]
    assert (car.images, car.samples, bus.samples, light.samples, car.words) == (0.5, 0.25, 0.75, 1.0, 3)
    assert (car.captions.words, car.captions.covered, car.captions.lit) == (1, 0.5, 0.25)  # red of red, red, blue, odd; red at noon of four
    assert (car.edits.words, car.edits.covered, car.edits.lit) == (2, 0.75, 0.5)
    assert (light.captions.covered, light.edits.covered) == (2 / 3, 1.0) and bus.words == 0
    assert "mean" in found.text() and found.to_json()["of"][1]["edits"]["words"] == 2


def test_a_run_makes_edits_anew_and_captions_no_image_twice(toy_folder, tmp_path):
    from seggen_d2.captions.job import CaptionOptions, make_captions, told

    write_captions(tmp_path / "u.parquet", {str(i): toy_caption(1_000_000 + i) for i in range(20)})
    dataset, table = str(toy_folder / "dataset.yaml"), tmp_path / "out" / "captions.parquet"
    edits = EditOptions(str(tmp_path / "u.parquet"), redraws=3)
    plain = make_captions(CaptionOptions(dataset), tmp_path / "out", device="cpu")
    assert make_captions(CaptionOptions(dataset, edits=edits), tmp_path / "out", device="cpu") == plain == read_captions(table)
    assert {len(given) for given in read_edits(table).texts.values()} == {3} and "18 edits of them" in told(table)
    first = table.read_bytes()
    make_captions(CaptionOptions(dataset, edits=edits), tmp_path / "out", device="cpu")
    assert table.read_bytes() == first
    make_captions(CaptionOptions(dataset), tmp_path / "out", device="cpu")
    assert not read_edits(table).texts and "drawn again" not in told(table)
