"""ICE-lite: who is answered, whose address is believed, and for how long."""

import struct
from contextlib import suppress

import pytest
from aioice import stun
from hypothesis import assume, example, given
from hypothesis import strategies as st

from sfu.core.errors import ParseError
from sfu.core.ice import MAX_ADDRESSES, IceLite
from sfu.core.stun import is_stun, username_fragment
from sfu.core.stun import parse as parse_stun

SAM = ("192.0.2.7", 50_000)
SAM_ON_MOBILE = ("198.51.100.4", 41_000)
TRANSACTION = b"twelve bytes"
PASSWORD = "secret"


def check(username="ours:theirs", password=PASSWORD, *, leave_out=(), role="ICE-CONTROLLING", **more) -> bytes:
    attributes = {"USERNAME": username, role: 1, "PRIORITY": 1, **more}
    for name in leave_out:
        attributes.pop(name, None)
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, TRANSACTION, attributes)
    if "MESSAGE-INTEGRITY" not in leave_out:
        request.add_message_integrity(password.encode())
    elif "FINGERPRINT" not in leave_out:
        request.add_fingerprint()
    if "FINGERPRINT" in leave_out:
        request.attributes.pop("FINGERPRINT", None)
    return bytes(request)


def nominating(**fields) -> bytes:
    return check(**fields, **{"USE-CANDIDATE": None})


@pytest.fixture
def ice() -> IceLite:
    return IceLite("ours", "secret")


def answer(result) -> stun.Message:
    return stun.parse_message(result.response)


def assert_nothing_changed(ice):
    assert (ice.addresses, ice.selected, ice.consent_at) == ([], None, None)


def with_attribute(kind: int, size: int, value: bytes = b"") -> bytes:
    body = struct.pack("!HH", kind, size) + value
    return struct.pack("!HHI12s", 1, len(body), stun.COOKIE, TRANSACTION) + body


HOSTILE = {
    "nothing": b"",
    "nineteen bytes": check()[:19],
    "truncated in an attribute": check()[:31],
    "truncated by one byte": check()[:-1],
    "header length too large": check()[:2] + b"\xff\xfc" + check()[4:],
    "attribute longer than the message": with_attribute(0x0006, 0xFFFF, b"ours:theirs!"),
    "priority of three bytes": with_attribute(0x0024, 3, b"abc\0"),
    "priority without a value": with_attribute(0x0024, 0),
    "username that is not utf-8": with_attribute(0x0006, 4, b"\xff\xfe:a"),
    "wrong fingerprint": with_attribute(0x8028, 4, bytes(4)),
    "fingerprint longer than the message": check()[:-8] + b"\x80\x28\x01\x04" + check()[-4:],
    "three bytes after the last attribute": check()[:2] + struct.pack("!H", len(check()) - 17) + check()[4:] + b"abc",
    "unknown method": b"\x00\x0f" + check()[2:],
    "wrong cookie": check()[:4] + b"\0\0\0\0" + check()[8:],
    "larger than a datagram on any network": check(SOFTWARE="x" * 2000),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_malformed_check_is_dropped_without_an_answer(ice, data):
    with pytest.raises(ParseError):
        parse_stun(data)
    result = ice.handle(data, SAM, now=0.0)
    assert (result.response, result.authenticated) == (None, False)
    assert_nothing_changed(ice)


@pytest.mark.parametrize("data", [with_attribute(0x0009, 1, b"a\0\0\0"), with_attribute(0x0020, 8, b"\0\7" + bytes(6))])
def test_what_no_check_has_is_not_looked_into(ice, data):
    assert ice.handle(data, SAM, now=0.0).error == 400
    assert_nothing_changed(ice)


def with_hostile_examples(test):
    for data in HOSTILE.values():
        test = example(data)(test)
    return test


STUN_HEADER = st.builds(
    lambda kind, body: struct.pack("!HHI12s", kind, len(body) & 0xFFFF, stun.COOKIE, TRANSACTION) + body,
    st.sampled_from([0x0001, 0x0011, 0x0101, 0x0111, 0x3FFF]),
    st.binary(max_size=200)
    | st.lists(st.sampled_from(sorted(stun.ATTRIBUTES_BY_TYPE)), max_size=4).map(
        lambda kinds: b"".join(struct.pack("!HH", kind, 4) + b"ab:c" for kind in kinds)
    ),
)


@given(st.binary(max_size=200) | STUN_HEADER)
@with_hostile_examples
def test_arbitrary_bytes_are_parsed_or_refused_and_never_believed(data):
    with suppress(ParseError):
        parse_stun(data)
    fragment = username_fragment(data)
    assert fragment is None or fragment
    ice = IceLite("ours", "secret")
    result = ice.handle(data, SAM, now=0.0)
    assert not result.authenticated
    assert result.response is None or len(result.response) <= 10 * len(data)
    assert_nothing_changed(ice)


@given(st.integers(0, len(check()) - 1), st.integers(1, 255))
def test_one_changed_byte_anywhere_is_never_believed(position, change):
    data = bytearray(check())
    data[position] ^= change
    ice = IceLite("ours", "secret")
    assert not ice.handle(bytes(data), SAM, now=0.0).authenticated
    assert_nothing_changed(ice)


def test_a_valid_check_is_answered_with_the_senders_address_and_our_signature(ice):
    result = ice.handle(check(), SAM, now=0.0)
    response = answer(result)
    assert result.authenticated
    assert result.remote_ufrag == "theirs"
    assert response.message_class == stun.Class.RESPONSE
    assert response.transaction_id == TRANSACTION
    assert response.attributes["XOR-MAPPED-ADDRESS"] == SAM
    assert response.check_message_integrity(b"secret")


def test_an_address_that_a_dual_stack_socket_widened_is_answered_as_ipv4(ice):
    result = ice.handle(check(), ("::ffff:192.0.2.7", 50_000, 0, 0), now=0.0)
    assert answer(result).attributes["XOR-MAPPED-ADDRESS"] == SAM


def test_an_ipv6_address_is_answered(ice):
    result = ice.handle(check(), ("2001:db8::7", 50_000, 0, 0), now=0.0)
    assert answer(result).attributes["XOR-MAPPED-ADDRESS"] == ("2001:db8::7", 50_000)


@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
def test_a_check_is_read_from_any_buffer(ice, buffer):
    data = buffer(check())
    assert is_stun(data)
    assert username_fragment(data) == "ours"
    assert ice.handle(data, SAM, now=0.0).authenticated


@pytest.mark.parametrize("missing", ["USERNAME", "MESSAGE-INTEGRITY", "FINGERPRINT", "PRIORITY"])
def test_a_check_without_a_required_attribute_is_a_bad_request(ice, missing):
    result = ice.handle(check(leave_out=[missing]), SAM, now=0.0)
    assert answer(result).error_code == result.error == 400
    assert_nothing_changed(ice)


@pytest.mark.parametrize(
    "data",
    [
        check(password="guessed"),
        check("someone:theirs"),
        check("ours"),
        check("ours:"),
        nominating(password="guessed"),
    ],
    ids=["wrong password", "wrong ufrag", "no remote ufrag", "empty remote ufrag", "spoofed USE-CANDIDATE"],
)
def test_a_check_that_proves_nothing_is_unauthorized(ice, data):
    result = ice.handle(data, SAM, now=0.0)
    assert answer(result).error_code == result.error == 401
    assert_nothing_changed(ice)


def test_anothers_ufrag_from_a_new_address_moves_nothing(ice):
    ice.handle(check(), SAM, now=0.0)
    ice.handle(nominating(password="guessed"), ("203.0.113.9", 6666), now=5.0)
    assert (ice.addresses, ice.selected, ice.consent_at) == ([SAM], SAM, 0.0)


def test_a_controlled_agent_hears_of_a_role_conflict_under_our_signature(ice):
    result = ice.handle(check(role="ICE-CONTROLLED"), SAM, now=0.0)
    assert answer(result).error_code == 487
    assert answer(result).check_message_integrity(b"secret")
    assert_nothing_changed(ice)


@pytest.mark.parametrize("message_class", [stun.Class.INDICATION, stun.Class.RESPONSE, stun.Class.ERROR])
def test_what_is_no_request_is_dropped(ice, message_class):
    message = stun.Message(stun.Method.BINDING, message_class, TRANSACTION, {"USERNAME": "ours:theirs", "PRIORITY": 1})
    message.add_message_integrity(b"secret")
    assert ice.handle(bytes(message), SAM, now=0.0).response is None
    assert_nothing_changed(ice)


def test_a_request_of_another_method_is_dropped(ice):
    message = stun.Message(stun.Method.ALLOCATE, stun.Class.REQUEST, TRANSACTION, {"USERNAME": "ours:theirs"})
    message.add_message_integrity(b"secret")
    assert ice.handle(bytes(message), SAM, now=0.0).response is None


def test_the_first_valid_check_selects_and_a_second_does_not(ice):
    assert ice.handle(check(), SAM, now=0.0).nominated
    assert not ice.handle(check(), SAM_ON_MOBILE, now=0.1).nominated
    assert ice.selected == SAM


def test_every_nomination_selects_again(ice):
    for address in (SAM, SAM_ON_MOBILE, SAM):
        assert ice.handle(nominating(), address, now=0.0).nominated
        assert ice.selected == address


def test_media_from_another_known_address_is_followed_and_from_a_stranger_not(ice):
    ice.handle(check(), SAM, now=0.0)
    ice.handle(check(), SAM_ON_MOBILE, now=0.0)
    assert not ice.select(SAM)
    assert ice.select(SAM_ON_MOBILE)
    assert not ice.select(("203.0.113.9", 6666))
    assert ice.selected == SAM_ON_MOBILE


def test_udp_and_tcp_of_one_address_are_two(ice):
    ice.handle(check(), SAM, now=0.0)
    ice.handle(check(), (*SAM, "tcp"), now=0.0)
    assert ice.addresses == [SAM, (*SAM, "tcp")]


def test_a_ninth_address_takes_the_place_of_the_longest_unverified_that_is_not_selected(ice):
    addresses = [("192.0.2.7", port) for port in range(1000, 1000 + MAX_ADDRESSES)]
    for address in addresses:
        ice.handle(check(), address, now=0.0)
    ice.handle(check(), addresses[1], now=1.0)
    result = ice.handle(check(), SAM_ON_MOBILE, now=2.0)
    assert ice.selected == addresses[0]
    assert result.evicted == addresses[2]
    assert len(ice.addresses) == MAX_ADDRESSES
    assert addresses[0] in ice.addresses
    assert addresses[2] not in ice.addresses


def test_a_known_address_evicts_nobody_when_it_is_verified_again(ice):
    addresses = [("192.0.2.7", port) for port in range(1000, 1000 + MAX_ADDRESSES)]
    for address in [*addresses, *addresses]:
        assert ice.handle(check(), address, now=0.0).evicted is None


def test_a_forgotten_selection_falls_back_to_the_most_recently_verified(ice):
    for address in (SAM, SAM_ON_MOBILE):
        ice.handle(check(), address, now=0.0)
    ice.forget(SAM)
    assert ice.selected == SAM_ON_MOBILE
    ice.forget(SAM_ON_MOBILE)
    ice.forget(SAM_ON_MOBILE)
    assert ice.selected is None


def test_consent_runs_out_thirty_seconds_after_the_last_valid_check(ice):
    assert not ice.consent_expired(now=1000.0)
    ice.handle(check(), SAM, now=0.0)
    ice.handle(check(), SAM, now=10.0)
    ice.handle(check(password="guessed"), SAM, now=35.0)
    assert not ice.consent_expired(now=40.0)
    assert ice.consent_expired(now=40.1)


def test_old_credentials_are_valid_until_the_new_are_used(ice):
    ice.handle(check(), SAM, now=0.0)
    ice.restart("fresh", "password")
    assert ice.local_ufrags == ("fresh", "ours")

    old = ice.handle(check(), SAM, now=1.0)
    assert old.authenticated
    assert answer(old).check_message_integrity(b"secret")

    new = ice.handle(check("fresh:theirs", "password"), SAM, now=2.0)
    assert new.retired_ufrag == "ours"
    assert answer(new).check_message_integrity(b"password")
    assert ice.handle(check(), SAM, now=3.0).error == 401
    assert ice.local_ufrags == ("fresh",)


def test_old_and_new_credentials_do_not_mix(ice):
    ice.handle(check(), SAM, now=0.0)
    ice.restart("fresh", "password")
    assert ice.handle(check("fresh:theirs", "secret"), SAM, now=1.0).error == 401
    assert ice.handle(check("ours:theirs", "password"), SAM, now=1.0).error == 401


def test_a_second_restart_before_the_first_was_used_keeps_the_credentials_in_use(ice):
    ice.handle(check(), SAM, now=0.0)
    ice.restart("lost", "reply")
    ice.restart("fresh", "password")
    assert ice.local_ufrags == ("fresh", "ours")
    assert ice.handle(check(), SAM, now=1.0).authenticated
    assert ice.handle(check("lost:theirs", "reply"), SAM, now=1.0).error == 401


def test_a_restart_keeps_the_selected_address(ice):
    ice.handle(check(), SAM, now=0.0)
    ice.restart("fresh", "password")
    assert ice.selected == SAM


@given(st.text(min_size=1, max_size=30), st.text(max_size=30))
def test_the_local_fragment_is_found_in_any_username(local, remote):
    assume(":" not in local)
    assert username_fragment(check(f"{local}:{remote}", leave_out=["MESSAGE-INTEGRITY"])) == local


def test_a_message_without_a_username_has_no_fragment():
    assert username_fragment(check(leave_out=["USERNAME"])) is None
    assert username_fragment(check("no colon")) is None
    assert username_fragment(b"\x80" + check()[1:]) is None
