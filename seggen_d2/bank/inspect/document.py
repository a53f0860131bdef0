"""The page as text: markup, style, script and data in one HTML document that may load nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import string
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import seggen_d2
from seggen_d2.foundation.markup import Markup, join, table, tag

from .survey import Frequencies, Survey

if TYPE_CHECKING:
    from ..reader import Bank

_DECADES = 5  # bars of shares span 0.001% to 100%


def document(
    bank: Bank,
    survey: Survey,
    samples: list[dict[str, Any]],
    reals: dict[str, dict[str, Any]],
    real: Frequencies | None,
    scores: Sequence[str],
    notes: Sequence[str],
) -> str:
    """The whole page.

    Args:
        bank: told of in the page's head.
        survey: of the bank.
        samples: the pictures and facts of each that is shown.
        reals: pictures of the real images, by source id.
        real: class frequencies of the real data.
        scores: names to filter by.
        notes: what the reader must know of what is not shown.
    """
    script = _resource("inspect.js")
    return string.Template(_resource("inspect.html")).substitute(
        policy=content_policy(script),
        title=join(f"Bank {bank.name}"),
        style=_resource("inspect.css"),
        facts=_facts(bank, survey),
        drawn=_drawn(bank, samples, notes),
        licences=_licences(bank),
        frequencies=_frequencies(bank.info.categories.names, survey.frequencies, real),
        rejected=_rejected(survey),
        version=join(seggen_d2.__version__),
        data=embedded({**_colours(bank), "scores": list(scores), "samples": samples, "reals": reals}),
        script=script,
    )


def content_policy(script: str) -> str:
    """A Content-Security-Policy under which nothing is loaded and no script runs but ``script``."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def embedded(value: Any) -> Markup:
    """JSON that can stand in a ``script`` element whatever its texts hold."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def _colours(bank: Bank) -> dict[str, Any]:
    """What the script paints by; ``parts`` tells whether masks hold segments or objects."""
    palette = bank.info.palette
    return {"names": list(bank.info.categories.names), "colors": palette.colors.tolist(), "ignored": palette.ignore_color.tolist(),
            "parts": bank.info.task != "semantic"}


def _facts(bank: Bank, survey: Survey) -> Markup:
    rows = [(f"{len(bank):,}", "samples"), (bank.info.task, "task"), (str(len(bank.info.categories)), "classes")]
    rows += [(f"{count:,}", name) for name, count in survey.strategies.items()]
    rows.append((f"{survey.reasons.total():,}", "rejected"))
    return join(*(tag("div", tag("b", figure), tag("span", words)) for figure, words in rows))


def _drawn(bank: Bank, samples: Sequence[dict[str, Any]], notes: Sequence[str]) -> Markup:
    if len(samples) < len(bank):
        words = (f"The bank holds {len(bank):,} samples; this page shows {len(samples):,} of them, drawn at random within each strategy "
                 "and so that each class is seen where it can be. The frequencies below are of all samples.")
        return join(tag("p", words, class_="drawn"), *(tag("p", note, class_="drawn") for note in notes))
    return join(*(tag("p", note, class_="drawn") for note in notes))


def _licences(bank: Bank) -> Markup:
    told = [f"{kind} ({licence})" for kind, licence in bank.info.licences.items()]
    return tag("p", "Made by " + " · ".join(told), class_="quiet") if told else Markup("")


def _frequencies(names: Sequence[str], made: Frequencies, real: Frequencies | None) -> Markup:
    """A row a class: pixels and images, real beside synthetic, the most frequent first."""
    sides = {"real": real, "synthetic": made} if real else {"synthetic": made}
    shares = {kind: _shares(each) for kind, each in sides.items()}
    header = ["class", *(cell for kind in sides for cell in (f"{kind} pixels", _right("in images"))), *([_right("synthetic / real")] if real else [])]
    order = sorted(range(len(names)), key=lambda i: ([-each[i][0] for each in shares.values()], i))
    rows, absent = [], [names[i] for i in order if not any(each[i][0] for each in shares.values())]
    for i in order[: len(order) - len(absent)]:
        ratio = [_ratio(shares["real"][i][0], shares["synthetic"][i][0])] if real else []
        rows.append([_named(names[i]), *(cell for kind in sides for cell in _pair(shares[kind][i], kind)), *ratio])
    note = tag("p", f"Real: {real.note}.", class_="quiet") if real and real.note else ""
    rest = tag("p", f"{len(absent)} classes occur nowhere: {', '.join(absent)}.", class_="quiet") if absent else ""
    return join(note, table(header, rows, "frequencies"), rest)


def _named(name: str) -> Markup:
    return tag("th", tag("button", name, type="button", class_="link", data_class=name), scope="row")


def _shares(frequencies: Frequencies) -> list[tuple[float, float]]:
    """Of each class: its share of the labelled pixels, and of the images."""
    pixels, count = max(1, int(frequencies.pixels.sum())), max(1, frequencies.count)
    return [(int(p) / pixels, int(n) / count) for p, n in zip(frequencies.pixels, frequencies.images, strict=True)]


def _pair(shares: tuple[float, float], kind: str) -> list[Markup]:
    length = max(0.0, 1 + math.log10(shares[0]) / _DECADES) if shares[0] else 0.0
    bar = tag("div", tag("i", style=f"width:{100 * length:.1f}%"), class_=f"bar {kind}")
    return [tag("td", tag("div", bar, tag("span", _percent(shares[0])), class_="share")), tag("td", _percent(shares[1]), class_="figure")]


def _ratio(real: float, made: float) -> Markup:
    words = "–" if not real and not made else "only synthetic" if not real else "never" if not made else f"× {made / real:.2f}"
    far = real and (made < real / 3 or made > real * 3)
    return tag("td", words, class_="figure far" if far else "figure")


def _percent(share: float) -> str:
    return "0" if not share else "< 0.01 %" if share < 1e-4 else f"{100 * share:.2f} %"


def _rejected(survey: Survey) -> Markup:
    if not survey.reasons:
        return tag("p", "No sample was rejected.", class_="quiet")
    total, listed = survey.reasons.total(), len(survey.rejected)
    kinds = [[tag("td", f"{count:,}", class_="figure"), tag("td", reason)] for reason, count in survey.reasons.most_common()]
    rows = [[each.key, tag("td", each.source_id), tag("td", each.reason)] for each in survey.rejected]
    words = f"All {total:,}, one by one" if listed == total else f"The first {listed:,} of {total:,}, one by one"
    each = tag("details", tag("summary", words), table(["sample", "from", "reason"], rows))
    return join(table([_right("count"), "reason"], kinds, "reasons"), each)


def _right(words: str) -> Markup:
    return tag("th", words, scope="col", class_="figure")


def _resource(name: str) -> str:
    return (resources.files(__package__) / "page" / name).read_text(encoding="utf-8")
