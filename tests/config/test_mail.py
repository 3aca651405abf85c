"""Where mail goes: EMAIL_URL."""

from __future__ import annotations

import socketserver
import threading

import pytest
from django.core.mail import send_mail

from config.mail import settings_of


def test_without_an_address_mail_is_written_to_the_console():
    assert settings_of("") == settings_of("console:")
    assert settings_of("")["EMAIL_BACKEND"].endswith("console.EmailBackend")


@pytest.mark.parametrize(
    ("url", "port", "tls", "ssl"),
    [
        ("smtp://mail.example.org", 25, False, False),
        ("smtp+tls://mail.example.org", 587, True, False),
        ("smtps://mail.example.org", 465, False, True),
        ("smtps://mail.example.org:4650", 4650, False, True),
    ],
)
def test_the_scheme_says_how(url, port, tls, ssl):
    found = settings_of(url)
    assert (found["EMAIL_PORT"], found["EMAIL_USE_TLS"], found["EMAIL_USE_SSL"]) == (port, tls, ssl)
    assert found["EMAIL_HOST"] == "mail.example.org"


def test_user_password_and_sender_are_read():
    found = settings_of("smtps://post%40example.org:p%3Aa%2Fs@mail.example.org")
    assert (found["EMAIL_HOST_USER"], found["EMAIL_HOST_PASSWORD"]) == ("post@example.org", "p:a/s")
    assert found["DEFAULT_FROM_EMAIL"] == "post@example.org"
    named = settings_of("smtp://mail.example.org?from=School%20<school@example.org>")
    assert named["DEFAULT_FROM_EMAIL"] == "School <school@example.org>"


@pytest.mark.parametrize(
    "url", ["mail.example.org", "http://user:secret@x", "smtp://", "smtp://:secret@", "smtp://x:99999"]
)
def test_an_address_that_is_none_is_refused_without_its_password(url):
    with pytest.raises(ValueError, match=r"\w") as refused:
        settings_of(url)
    assert "secret" not in str(refused.value)


class Postbox(socketserver.StreamRequestHandler):
    """As much of SMTP (RFC 5321) as one message needs."""

    got: list[bytes] = []

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        in_message = False
        for line in self.rfile:
            self.got.append(line)
            if in_message and line != b".\r\n":
                continue
            in_message = line.upper().startswith(b"DATA")
            self.wfile.write(b"354 go on\r\n" if in_message else b"250 fine\r\n")


def test_a_message_reaches_the_server(settings):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Postbox) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, value in settings_of(f"smtp://127.0.0.1:{server.server_address[1]}?from=school@example.org").items():
            setattr(settings, name, value)
        assert send_mail("Hello", "Good morning!", None, ["sam@example.com"]) == 1
        server.shutdown()
    assert any(line.upper().startswith(b"RCPT TO:<SAM@EXAMPLE.COM>") for line in Postbox.got)
    assert b"From: school@example.org\n" in b"".join(Postbox.got).replace(b"\r\n", b"\n")
    assert b"Good morning!" in b"".join(Postbox.got)
