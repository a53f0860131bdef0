"""The closed word classes of English that tell where a description begins and ends; no list of adjectives is needed."""

from __future__ import annotations

from seggen_d2.sources.caption_words import NUMBERS


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DETERMINERS = frozenset((*NUMBERS[1:], "a", "an", "the", "ten", "eleven", "twelve", "many", "several", "some", "few", "various", "both", "all",
                         "this", "that", "these", "those", "his", "her", "its", "their", "your", "my", "our", "another", "each", "every"))
ARTICLES = frozenset(("a", "an"))
JOIN = "and"  # inside a look: "red and white"
CLOSED = _words("""
    about above across after against along alongside among amongst amid around as at atop behind before below beneath beside besides between
    beyond by down during for from in inside into like near next of off on onto opposite out outside over past through throughout to toward
    towards under underneath until up upon via with within without
    and or but nor so than then while where when which who whom whose that there here if because
    is are was were be been being am has have had having do does did can could will would shall should may might must
    he she it they him them we you i me us not no very
""")
# What stands at the end of a phrase such as "at dusk", "on a sunny day", "in heavy rain" or "in the city".
HEADS = {
    "light": _words("""
        dawn daybreak sunrise morning noon midday afternoon dusk twilight sunset evening night nighttime midnight day daytime daylight sunlight
        sunshine moonlight dark darkness sun fog mist haze smog cloud clouds overcast rain drizzle rainstorm storm thunderstorm snow snowstorm
        snowfall blizzard hail wind weather winter spring summer autumn fall
        """),
    "place": _words("""
        city town village suburb suburbs downtown countryside desert mountains wilderness tropics jungle outdoors indoors
        """),
}
ADDED = ("light",)  # may be said of a caption that says nothing of it; a place is only put in the place of another
PREPOSITIONS = ("at", "in", "on", "during", "under", "through", "by", "amid")
