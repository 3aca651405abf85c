"""Negotiation: from what browsers say they send to what others receive."""

import copy
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.core import ortc
from sfu.core.capabilities import (
    ABS_CAPTURE_TIME,
    ABS_SEND_TIME,
    AUDIO_LEVEL,
    MID,
    REPAIRED_RID,
    RID,
    TRANSPORT_CC,
    router_rtp_capabilities,
)
from sfu.protocol import InvalidRequest

ROUTER = router_rtp_capabilities()


def opus(**changes) -> dict:
    return {"mimeType": "audio/opus", "payloadType": 111, "clockRate": 48000, "channels": 2, **changes}


def vp8(**changes) -> dict:
    return {"mimeType": "video/VP8", "payloadType": 96, "clockRate": 90000, **changes}


def h264(profile: object = "42e01f", mode: int = 1, **changes) -> dict:
    parameters = {"packetization-mode": mode, "profile-level-id": profile, "level-asymmetry-allowed": 1}
    return {"mimeType": "video/H264", "payloadType": 106, "clockRate": 90000, "parameters": parameters, **changes}


def rtx(apt: object, payload_type: int, **changes) -> dict:
    return {
        "mimeType": "video/rtx", "payloadType": payload_type, "clockRate": 90000, "parameters": {"apt": apt}, **changes,
    }  # fmt: skip


def extensions(*uris: str) -> list[dict]:
    return [{"uri": uri, "id": 14 - index} for index, uri in enumerate(uris)]


def sent(*codecs: dict, **changes) -> dict:
    return {"mid": "0", "codecs": list(codecs), "encodings": [{"ssrc": 1111}], **changes}


# As Chrome sends a camera in three layers: RIDs without SSRCs, and an empty cname.
CHROME_CAMERA = sent(
    vp8(rtcpFeedback=[{"type": "nack"}, {"type": "nack", "parameter": "pli"}, {"type": "transport-cc"}]),
    rtx(96, 97),
    headerExtensions=extensions(MID, RID, REPAIRED_RID, TRANSPORT_CC, ABS_SEND_TIME),
    encodings=[
        {"rid": "r0", "active": True, "scaleResolutionDownBy": 4, "maxBitrate": 100_000, "scalabilityMode": "L1T3"},
        {"rid": "r1", "active": True, "scaleResolutionDownBy": 2, "maxBitrate": 300_000, "scalabilityMode": "L1T3"},
        {"rid": "r2", "active": True, "scaleResolutionDownBy": 1, "maxBitrate": 900_000, "scalabilityMode": "L1T3"},
    ],
    rtcp={"cname": "", "reducedSize": True, "mux": True},
    msid="stream track",
)
# As Safari sends it: SSRCs without RIDs.
SAFARI_CAMERA = sent(
    h264(),
    rtx(106, 107),
    headerExtensions=extensions(MID, ABS_SEND_TIME),
    encodings=[{"ssrc": 10, "rtx": {"ssrc": 20}}, {"ssrc": 11, "rtx": {"ssrc": 21}}],
    rtcp={"cname": "safari"},
)
VOICE = sent(opus(parameters={"minptime": 10, "useinbandfec": 1}), headerExtensions=extensions(MID, AUDIO_LEVEL))


def kind_of(parameters: dict) -> str:
    return parameters["codecs"][0]["mimeType"].split("/")[0].lower()


def consumable(parameters: dict, cname: str = "peer") -> dict:
    kind = kind_of(parameters)
    validated = ortc.validate_rtp_parameters(kind, parameters)
    mapping = ortc.producer_mapping(validated, ROUTER, ssrc=500)
    return ortc.consumable_rtp_parameters(kind, validated, mapping, ROUTER, cname=cname)


def consumer(parameters: dict, capabilities: dict = ROUTER, mid: int = 0) -> dict:
    return ortc.consumer_rtp_parameters(consumable(parameters), capabilities, mid=mid, ssrc=7000)


def receiver(*, without: tuple[str, ...] = (), without_uris: tuple[str, ...] = ()) -> dict:
    capabilities = router_rtp_capabilities()
    capabilities["codecs"] = [codec for codec in capabilities["codecs"] if codec["mimeType"] not in without]
    capabilities["headerExtensions"] = [
        extension for extension in capabilities["headerExtensions"] if extension["uri"] not in without_uris
    ]
    return capabilities


def refused(parameters: object, kind: str = "video") -> str:
    with pytest.raises(InvalidRequest) as caught:
        ortc.producer_mapping(ortc.validate_rtp_parameters(kind, parameters), ROUTER, ssrc=500)
    assert caught.value.code == "bad_request"
    return caught.value.message


def feedback_of(codec: dict) -> set[tuple[str, str]]:
    return {(entry["type"], entry["parameter"]) for entry in codec["rtcpFeedback"]}


# --- the router ---


def test_payload_types_begin_at_100_and_leave_the_probators_alone():
    payload_types = [codec["preferredPayloadType"] for codec in ROUTER["codecs"]]
    assert payload_types == [100, *range(101, 109)]


def test_every_video_codec_is_followed_by_its_repair_format():
    video = [codec for codec in ROUTER["codecs"] if codec["kind"] == "video"]
    for codec, repair in zip(video[::2], video[1::2], strict=True):
        assert repair["mimeType"] == "video/rtx"
        assert repair["parameters"] == {"apt": codec["preferredPayloadType"]}


def test_an_extension_has_one_id_whatever_the_kind():
    ids = {(extension["uri"], extension["preferredId"]) for extension in ROUTER["headerExtensions"]}
    assert len(ids) == len({uri for uri, _ in ids}) == len({identifier for _, identifier in ids})


def test_the_capabilities_are_the_callers_own_copy():
    router_rtp_capabilities()["codecs"].clear()
    assert router_rtp_capabilities() == ROUTER


# --- what a producer says ---


def test_chromes_simulcast_is_taken_and_what_is_not_used_is_left_out():
    parameters = ortc.validate_rtp_parameters("video", CHROME_CAMERA)
    assert ortc.producer_type(parameters) == "simulcast"
    assert ortc.producer_type({**parameters, "encodings": [{"scalabilityMode": "L3T3"}]}) == "simple", "VP8 has no such"
    assert [encoding["rid"] for encoding in parameters["encodings"]] == ["r0", "r1", "r2"]
    assert "active" not in parameters["encodings"][0]
    assert parameters["rtcp"] == {"cname": "", "reducedSize": True}


def test_missing_encodings_are_one():
    for encodings in ([], None):
        parameters = {**VOICE, "encodings": encodings}
        if encodings is None:
            del parameters["encodings"]
        assert ortc.validate_rtp_parameters("audio", parameters)["encodings"] == [{}]


@pytest.mark.parametrize(
    "parameters",
    [
        None,
        [],
        {},
        sent(),
        sent(rtx(96, 97)),
        sent(opus()),
        sent(vp8(payloadType=128)),
        sent(vp8(payloadType=True)),
        sent(vp8(payloadType=72)),
        sent(vp8(clockRate=-1)),
        sent(vp8(mimeType="video/")),
        sent(vp8(mimeType="text/plain")),
        sent(vp8(), vp8()),
        sent(vp8(), rtx("96", 97)),
        sent(vp8(), rtx(98, 97)),
        sent(vp8(), rtx(97, 97)),
        sent(vp8(parameters={"key": []})),
        sent(vp8(parameters={"x": "1\r\na=ice-ufrag:mine"})),
        sent(vp8(parameters={"x\n": 1})),
        sent(vp8(), headerExtensions=[{"uri": MID, "id": 0}]),
        sent(vp8(), headerExtensions=[{"uri": MID, "id": 1}, {"uri": RID, "id": 1}]),
        sent(vp8(), encodings=[{"rid": "a"}, {"rid": "a"}]),
        sent(vp8(), encodings=[{"rid": "no spaces"}]),
        sent(vp8(), encodings=[{"rid": "line\n"}]),
        sent(vp8(), encodings=[{"ssrc": 1}, {"ssrc": 1}]),
        sent(vp8(), encodings=[{"ssrc": 1, "rtx": {"ssrc": 1}}]),
        sent(vp8(), encodings=[{"ssrc": 2**32}]),
        sent(vp8(), encodings=[{}, {}]),
        sent(vp8(), encodings=[{"rid": f"r{index}"} for index in range(10_000)]),
        {"codecs": [vp8()], "encodings": [{}]},
        sent(vp8(), rtcp={"cname": "x" * 10_000}),
        sent(vp8(), rtcp={"cname": "x\r\n"}),
        sent(*[vp8(payloadType=index % 64) for index in range(100)]),
        sent({"mimeType": "video/H265", "payloadType": 45, "clockRate": 90000}),
        sent(h264(profile="640032")),
        sent(h264(profile="nonsense")),
        sent(h264(mode=0)),
    ],
)
def test_parameters_that_make_no_sense_or_are_not_supported_are_a_bad_request(parameters):
    refused(parameters)


def test_a_voice_in_one_channel_is_not_the_routers_opus():
    refused(sent(opus(channels=1)), kind="audio")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["codecs", "mid", "encodings", "headerExtensions", "rtcp", "mimeType", "parameters", "apt"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
FIELDS = [
    (field, inner)
    for field in ("mid", "codecs", "headerExtensions", "encodings", "rtcp")
    for inner in (None, "parameters", "payloadType", "rtcpFeedback", "id", "ssrc", "rid", "rtx", "scalabilityMode")
]


@given(st.sampled_from([CHROME_CAMERA, SAFARI_CAMERA, VOICE]), st.sampled_from(FIELDS), json_values)
def test_any_json_in_any_place_is_negotiated_or_a_bad_request(base, place, value):
    parameters = copy.deepcopy(base)
    field, inner = place
    if inner is None or not isinstance(parameters.get(field), list):
        parameters[field] = value
    else:
        parameters[field][0][inner] = value
    made = outcome(
        lambda: ortc.consumer_rtp_parameters(consumable_of(kind_of(base), parameters), ROUTER, mid=0, ssrc=7000)
    )
    assert made == "bad_request" or json.loads(json.dumps(made)) == made


def outcome(negotiate: Callable[[], object]) -> object:
    """What was negotiated, or the code of the refusal."""
    try:
        return negotiate()
    except InvalidRequest as refusal:
        return refusal.code


def consumable_of(kind: str, parameters: dict) -> dict:
    validated = ortc.validate_rtp_parameters(kind, parameters)
    mapping = ortc.producer_mapping(validated, ROUTER, ssrc=500)
    return ortc.consumable_rtp_parameters(kind, validated, mapping, ROUTER, cname="peer")


@given(json_values)
def test_any_json_as_capabilities_is_taken_or_a_bad_request(value):
    assert outcome(lambda: ortc.can_consume(consumable(VOICE), value)) in (True, False, "bad_request")


# --- mapping and the router's terms ---


def test_payload_types_map_to_the_routers_and_repair_follows_its_codec():
    parameters = ortc.validate_rtp_parameters("video", sent(h264(), rtx(106, 107), vp8(), rtx(96, 97)))
    mapping = ortc.producer_mapping(parameters, ROUTER, ssrc=500)
    assert ortc.payload_type_map(mapping) == {106: 103, 107: 104, 96: 101, 97: 102}


def test_each_encoding_has_an_ssrc_of_the_router():
    parameters = ortc.validate_rtp_parameters("video", CHROME_CAMERA)
    mapping = ortc.producer_mapping(parameters, ROUTER, ssrc=500)
    assert [(encoding["mappedSsrc"], encoding["rid"]) for encoding in mapping["encodings"]] == [
        (500, "r0"),
        (501, "r1"),
        (502, "r2"),
    ]


def test_a_consumable_camera_has_the_routers_numbers_and_no_rids():
    made = consumable(CHROME_CAMERA, cname="sam")
    assert [codec["payloadType"] for codec in made["codecs"]] == [101, 102]
    assert [encoding["ssrc"] for encoding in made["encodings"]] == [500, 501, 502]
    assert not any({"rid", "rtx"} & encoding.keys() for encoding in made["encodings"])
    assert made["rtcp"] == {"cname": "sam", "reducedSize": True}
    ids = ortc.extension_ids(made)
    assert ids[MID] == 1
    assert RID not in ids
    assert REPAIRED_RID not in ids


def test_the_producers_own_format_parameters_are_passed_on():
    assert consumable(sent(h264(profile="42e034")))["codecs"][0]["parameters"]["profile-level-id"] == "42e034"


def test_a_codec_without_repair_gets_it_from_the_router():
    assert [codec["payloadType"] for codec in consumable(sent(vp8()))["codecs"]] == [101, 102]


def test_two_codecs_that_are_one_to_the_router_are_received_as_one():
    made = consumable(sent(h264(), rtx(106, 107), h264(payloadType=108), rtx(108, 109)))
    assert [codec["payloadType"] for codec in made["codecs"]] == [103, 104]


def test_the_capture_time_is_passed_on_only_if_the_producer_sends_it():
    assert ABS_CAPTURE_TIME not in ortc.extension_ids(consumable(VOICE))
    with_it = sent(opus(), headerExtensions=extensions(ABS_CAPTURE_TIME))
    assert ABS_CAPTURE_TIME in ortc.extension_ids(consumable(with_it))


def test_audio_takes_no_part_in_congestion_control_downwards():
    assert TRANSPORT_CC not in ortc.extension_ids(consumable(VOICE))


# --- what a receiver gets ---


def test_a_receiver_gets_one_stream_with_repair():
    made = consumer(CHROME_CAMERA, mid=7)
    assert made["mid"] == "007"
    assert made["encodings"] == [
        {"ssrc": 7000, "rtx": {"ssrc": 7001}, "scalabilityMode": "L3T3", "maxBitrate": 900_000}
    ]


def test_a_simulcast_without_a_mode_has_one_temporal_layer():
    assert consumer(SAFARI_CAMERA)["encodings"][0]["scalabilityMode"] == "L2T1"


def test_a_single_stream_keeps_its_mode_or_has_none():
    assert "scalabilityMode" not in consumer(VOICE)["encodings"][0]
    one = sent(vp8(), encodings=[{"ssrc": 1, "scalabilityMode": "L1T3"}])
    assert consumer(one)["encodings"][0]["scalabilityMode"] == "L1T3"


def test_mids_are_three_digits_and_end_at_999():
    assert [consumer(VOICE, mid=mid)["mid"] for mid in (0, 12, 999)] == ["000", "012", "999"]
    with pytest.raises(InvalidRequest):
        consumer(VOICE, mid=1000)


def test_a_receiver_without_repair_gets_no_repair_stream_and_keeps_its_nack():
    made = consumer(CHROME_CAMERA, receiver(without=("video/rtx",)))
    assert [codec["payloadType"] for codec in made["codecs"]] == [101]
    assert "rtx" not in made["encodings"][0]
    assert ("nack", "") in feedback_of(made["codecs"][0])


def test_repair_of_a_codec_that_the_receiver_lacks_is_left_out():
    both = sent(h264(), rtx(106, 107), vp8(), rtx(96, 97))
    made = consumer(both, receiver(without=("video/H264",)))
    assert [codec["payloadType"] for codec in made["codecs"]] == [101, 102]


def test_a_receiver_without_the_codec_cannot_consume():
    deaf = receiver(without=("video/VP8",))
    assert not ortc.can_consume(consumable(CHROME_CAMERA), deaf)
    assert ortc.can_consume(consumable(SAFARI_CAMERA), deaf)
    with pytest.raises(InvalidRequest):
        consumer(CHROME_CAMERA, deaf)


def test_a_receivers_h264_of_another_level_is_the_same_codec():
    other = receiver()
    for codec in other["codecs"]:
        if codec["mimeType"] == "video/H264":
            codec["parameters"]["profile-level-id"] = "42e034"
    assert ortc.can_consume(consumable(SAFARI_CAMERA), other)


def test_voice_may_be_asked_for_again_though_it_has_no_repair_stream():
    made = consumer(VOICE)
    assert ("nack", "") in feedback_of(made["codecs"][0])
    assert "rtx" not in made["encodings"][0]


def test_an_extension_goes_where_id_and_uri_match():
    other = receiver()
    for extension in other["headerExtensions"]:
        if extension["uri"] == MID:
            extension["preferredId"] = 9
    made = ortc.extension_ids(consumer(CHROME_CAMERA, other))
    assert MID not in made
    assert made[TRANSPORT_CC] == 5


@pytest.mark.parametrize(
    ("without", "kept"),
    [((), "transport-cc"), ((TRANSPORT_CC,), "goog-remb"), ((TRANSPORT_CC, ABS_SEND_TIME), None)],
)
def test_one_bandwidth_feedback_remains(without, kept):
    [codec, _] = consumer(CHROME_CAMERA, receiver(without_uris=without))["codecs"]
    found = {kind for kind, _ in feedback_of(codec)} & {"transport-cc", "goog-remb"}
    assert found == ({kept} if kept else set())


def test_consumers_do_not_share_what_they_were_made_of():
    made = consumable(CHROME_CAMERA)
    before = copy.deepcopy(made)
    first = ortc.consumer_rtp_parameters(made, ROUTER, mid=0, ssrc=1)
    first["codecs"][0]["parameters"]["x"] = 1
    first["headerExtensions"][0]["id"] = 99
    first["rtcp"]["cname"] = "other"
    assert made == before


# --- the client as judge ---

CLIENT = Path(__file__).with_name("mediasoup_client.mjs")


def mediasoup_client(consume: list[dict]) -> dict:
    request = json.dumps({"routerRtpCapabilities": ROUTER, "consume": consume})
    done = subprocess.run(["node", CLIENT], input=request, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_mediasoup_client_loads_the_router_and_consumes_what_another_produced():
    client = mediasoup_client([])
    offers = [
        {
            "kind": kind,
            "rtpParameters": ortc.consumer_rtp_parameters(
                consumable(client["produced"][name]), client["rtpCapabilities"], mid=mid, ssrc=7000 + 2 * mid
            ),
        }
        for mid, (name, kind) in enumerate([("audio", "audio"), ("camera", "video")])
    ]
    assert mediasoup_client(offers)["consumed"] == ["audio/opus", "video/VP8"]
