"""TURN credentials are made for one person and run out."""

import base64
import hashlib
import hmac

from meetings.media.ice_servers import LIFETIME, ice_servers

URLS = ["turn:turn.example.org:3478?transport=udp", "turns:turn.example.org:5349", "stun:stun.example.org"]


def test_turn_servers_get_a_password_that_the_shared_secret_proves():
    stun, turn = ice_servers("sam", URLS, "shared", now=1_700_000_000.9)
    assert stun == {"urls": ["stun:stun.example.org"]}
    assert turn["urls"] == URLS[:2]
    assert turn["username"] == f"{1_700_000_000 + LIFETIME}:sam"
    proof = hmac.new(b"shared", turn["username"].encode(), hashlib.sha1).digest()
    assert base64.b64decode(turn["credential"]) == proof


def test_no_servers_are_told_when_none_are_set():
    assert ice_servers("sam", [], "shared", now=0) == []


def test_a_turn_server_without_a_secret_is_left_out_because_nobody_could_sign_in_there():
    assert ice_servers("sam", URLS, "", now=0) == [{"urls": ["stun:stun.example.org"]}]
