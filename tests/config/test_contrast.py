"""The colours of static/css/site.css can be read by everybody (WCAG 2.2 AA, 1.4.3 and 1.4.11)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings

CSS = (Path(settings.BASE_DIR) / "static" / "css" / "site.css").read_text()
WHITE = "#ffffff"
TEXT = [
    (text, ground)
    for ground in ["paper", "surface", "surface-2"]
    for text in ["ink", "ink-soft", "brand", "brand-strong", "accent", "danger", "success"]
] + [
    ("on-brand", "brand"),
    ("on-brand", "brand-strong"),
    ("on-danger", "danger"),
    ("ink", "brand-tint"),
    ("brand-strong", "brand-tint"),
    ("ink", "accent-tint"),
    ("accent", "accent-tint"),
    ("ink", "danger-tint"),
    ("ink", "success-tint"),
]
EDGES = [
    ("line-strong", "paper"),
    ("line-strong", "surface"),
    ("brand", "paper"),
    ("brand", "surface"),
    ("danger", "surface"),
]


def theme(name: str) -> dict[str, str]:
    block = re.search(rf'\[data-bs-theme="{name}"\] {{(.*?)}}', CSS, re.DOTALL)
    assert block
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block[1]))


def luminance(colour: str) -> float:
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted([luminance(one), luminance(other)], reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXT)
def test_text_stands_out(name, text, ground):
    colours = theme(name)
    assert contrast(colours[text], colours[ground]) >= 4.5


@pytest.mark.parametrize("name", ["light", "dark"])
@pytest.mark.parametrize(("edge", "ground"), EDGES)
def test_the_edge_of_a_control_stands_out(name, edge, ground):
    colours = theme(name)
    assert contrast(colours[edge], colours[ground]) >= 3


def test_white_can_be_read_on_every_course():
    tones = re.findall(r"\.tone-(\d) { --tone: (#[0-9a-f]{6});", CSS)
    assert [number for number, _ in tones] == list("01234567")
    for _, tone in tones:
        assert contrast(WHITE, tone) >= 5.5, "the pattern takes a little of it away"


def test_the_measure_is_right():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
