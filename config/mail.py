"""EMAIL_URL as Django's settings: `smtp+tls://user:password@mail.example.org:587?from=school@example.org`.

smtp sends in the clear (25), smtp+tls by STARTTLS (587), smtps by TLS from the first byte (465). Special characters of
a user and a password are written as in any address (%40 for @). Without EMAIL_URL, mail is written to the console.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

PORTS = {"smtp": 25, "smtp+tls": 587, "smtps": 465}
TIMEOUT = 10  # seconds: somebody waits for the page that sends the mail


def settings_of(url: str) -> dict[str, Any]:
    """The EMAIL_ settings and DEFAULT_FROM_EMAIL. Raises ValueError, without the address: it holds a password."""
    if not url or url.startswith("console:"):
        return {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}
    parts = urlsplit(url)
    if parts.scheme not in PORTS:
        raise ValueError(f"it must begin with {', '.join(f'{scheme}://' for scheme in PORTS)} or console:")
    if not parts.hostname:
        raise ValueError("it names no host")
    user, sender = unquote(parts.username or ""), parse_qs(parts.query).get("from", [""])[0]
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or PORTS[parts.scheme],
        "EMAIL_HOST_USER": user,
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_TLS": parts.scheme == "smtp+tls",
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_TIMEOUT": TIMEOUT,
        "DEFAULT_FROM_EMAIL": sender or (user if "@" in user else f"lectern@{parts.hostname}"),
    }
