"""Make one line of what somebody typed: the name in a picture, a chapter's title, a message beside the film. Pure."""

from __future__ import annotations

import unicodedata


def one_line(text: str, longest: int) -> str:
    """Visible characters alone, at most `longest` of them; may be empty."""
    # Cc: line breaks and NUL; Cf: marks that turn the writing around; Cs: halves of characters; Co, Cn: unassigned.
    kept = "".join(" " if unicodedata.category(each)[0] in "CZ" else each for each in text[: longest * 4])
    line = " ".join(kept.split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
