"""What was found of a bank, as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from seggen_d2.evaluation.tables import number, text_table


def summary_text(found: Mapping[str, Any]) -> str:
    """The figures of :func:`.run.score_bank`."""
    parts = [f"bank {found['bank']}, {found['samples']} samples scored"]
    return "\n\n".join([*parts, *(_TEXTS[kind](value) for kind, value in found.items() if kind in _TEXTS)])


def _alignment(found: Mapping[str, Any]) -> str:
    real = found.get("real")
    header = ["alignment, %", "bank", *([real["dataset"]] if real else [])]
    sides = [found, real] if real else [found]
    rows = [[name, *(number(side["figures"][name], 2) for side in sides)] for name in found["figures"]]
    column, values = next(iter(found["per_class"].items()))
    classes = [[f"{column} {name}", *(number(side["per_class"][column].get(name), 1) for side in sides)] for name in values
               if any(side["per_class"][column].get(name) is not None for side in sides)]
    return text_table(header, [*rows, *classes])


def _photos(found: Mapping[str, Any], title: str = "nearest real photo, 16 x 16 pixels") -> str:
    rows = [("median distance", number(found["median"], 3)), ("median distance of real photos to each other", number(found["real_median"], 3)),
            (f"threshold ({found['quantile']:.0%} of real photos are nearer)", number(found["threshold"], 3)),
            ("samples nearer than that", f"{found['flagged']} ({found['share']:.1%})")]
    nearest = [(f"  {pair['key']} and {pair['photo']}", number(pair["distance"], 3)) for pair in found["nearest"][:3]]
    return text_table((title, ""), [*rows, *nearest])


def _features(found: Mapping[str, Any]) -> str:
    apart = found["distances"]
    rows = [(f"{name.upper()}-like", _spread(apart, f"{name}_like"), _spread(apart, f"real_halves_{name}_like")) for name in ("fid", "kid")]
    table = text_table((f"features ({apart['dimensions']} dimensions)", "bank against real", "half of real against half"), rows)
    return "\n\n".join([table, *(f"note: {note}" for note in apart["notes"]), _photos(found, "nearest real photo, in features")])


def _spread(apart: Mapping[str, Any], name: str) -> str:
    spread = apart.get(f"{name}_sd")
    return number(apart[name], 4) + ("" if spread is None else f" ± {spread:.4f}")


def _layouts(found: Mapping[str, Any]) -> str:
    return text_table(("layouts (the own source left out)", ""), [
        ("mean IoU with the nearest real layout, %", number(found["mean_iou"], 1)),
        (f"copies (from {found['copy_from']:.0f}% on)", f"{found['copies']} of {found['samples']}"),
        ("nearest other layout in the bank, mean IoU, %", number(found["within_bank"], 1)),
        ("the same among real layouts, %", number(found["within_real"], 1)),
        ("distinct layouts", f"{found['distinct']} of {found['samples']}"),
    ])


def _histogram(found: Mapping[str, Any]) -> str:
    head = text_table(("classes, share of labelled pixels", "0 to 1"), [("total variation", number(found["total_variation"], 3)),
                                                                         ("Jensen-Shannon distance", number(found["jensen_shannon"], 3))])
    rows = [(name, number(own["bank"], 2), number(own["real"], 2), number(own["ratio"], 2)) for name, own in found["classes"].items()]
    return head + "\n" + text_table(("class", "bank, %", "real, %", "ratio"), rows)


def _captions(found: Mapping[str, Any]) -> str:
    return text_table(("captions and masks, %", ""), [("classes named that the mask holds (precision)", number(found["precision"], 1)),
                                                      ("classes held that the caption names (recall)", number(found["recall"], 1)),
                                                      ("captions that name no class", f"{found['naming_no_class']} of {found['samples']}")])


def _filter(found: Mapping[str, Any]) -> str:
    real = found.get("real")
    sides = [found, real] if real else [found]
    head = text_table((f"filter ({found['marks']}, from {found['tolerance']:g} times the class's mean loss ({found['reference']}) on)", ""), [
        ("samples kept", f"{found['kept']} of {found['samples']}"),
        ("samples with corrected masks", str(found["changed"])),
        ("pixels marked, %", number(100 * found["marked"], 2)),
        *([(f"pixels of {real['dataset']} that the same would mark, %", number(100 * real["marked"], 2))] if real else []),
        ("largest weight (1 is the mean)", number(found["most_weight"], 2)),
    ])
    columns = [(side["per_class"][key], scale) for key, scale in (("mean_loss", 1), ("marked", 100)) for side in sides]
    titles = [f"{what}, {side}" for what in ("mean loss", "marked, %") for side in ("bank", *([real["dataset"]] if real else []))]
    rows = [(name, *(number(None if column[name] is None else scale * column[name], 2) for column, scale in columns))
            for name in found["per_class"]["marked"] if any(column[name] is not None for column, _ in columns)]
    return head + "\n" + text_table(("class", *titles), rows)


_TEXTS: dict[str, Callable[[Mapping[str, Any]], str]] = {"alignment": _alignment, "features": _features, "photos": _photos, "layouts": _layouts,
                                                         "histogram": _histogram, "captions": _captions, "filter": _filter}
