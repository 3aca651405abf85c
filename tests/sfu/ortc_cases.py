"""Generated peers for `test_ortc_oracle`: routers, producers and receivers as browsers make them, and some that err."""

import json
from random import Random

from sfu.core.capabilities import router_rtp_capabilities

PRODUCERS = 800
RECEIVERS = 3  # of each producer
SEED = 20_260_707
CNAME = "a-peer"


AUDIO = [
    {"mimeType": "audio/opus", "clockRate": 48_000, "channels": 2, "parameters": {"useinbandfec": 1, "minptime": 10}},
    {"mimeType": "audio/PCMU", "clockRate": 8_000},
    {"mimeType": "audio/G722", "clockRate": 8_000, "channels": 1},
]
# As browsers offer them: Chromium's, Firefox's (level as far as 1.3), Safari's.
H264_PROFILES = [
    "42e01f", "42001f", "4d001f", "64001f", "640c1f", "640c34", "42e034", "42E01F", "42c00b", "42d00b", "58c01f",
    "4d801f", "f4001f", "42e00d", "42e000", "640c3c", "nonsense", "",
]  # fmt: skip
FEEDBACK = [
    {"type": "nack"},
    {"type": "nack", "parameter": "pli"},
    {"type": "ccm", "parameter": "fir"},
    {"type": "goog-remb"},
    {"type": "transport-cc"},
]
MODES = ["L1T1", "L1T2", "L1T3", "L2T3", "L3T3", "L3T3_KEY", "S3T3", "S2T1h", "nonsense"]


def h264(random: Random) -> dict:
    parameters: dict = {}
    if random.random() < 0.9:
        parameters["profile-level-id"] = random.choice(H264_PROFILES if random.random() < 0.5 else H264_PROFILES[:8])
    if random.random() < 0.9:
        parameters["packetization-mode"] = random.choice([1, 1, 1, 0])
    if random.random() < 0.7:
        parameters["level-asymmetry-allowed"] = random.choice([1, 1, 0])
    return {"mimeType": "video/H264", "clockRate": 90_000, "parameters": parameters}


def vp9(random: Random) -> dict:
    parameters = random.choice([{}, {"profile-id": 0}, {"profile-id": 2}, {"profile-id": 1}])
    return {"mimeType": "video/VP9", "clockRate": 90_000, "parameters": dict(parameters)}


def media_codec(random: Random, kind: str) -> dict:
    if kind == "audio":
        codec = json.loads(json.dumps(random.choice([AUDIO[0], *AUDIO])))
    else:
        codec = random.choice(
            [
                lambda: {"mimeType": random.choice(["video/VP8", "video/vp8", "VIDEO/VP8"]), "clockRate": 90_000},
                lambda: h264(random),
                lambda: vp9(random),
                lambda: {"mimeType": "video/AV1", "clockRate": 90_000, "parameters": {"profile": 0}},
            ]
        )()
    if random.random() < 0.03:
        codec["clockRate"] = 16_000
    if random.random() < 0.03:
        codec["channels"] = 6
    if random.random() < 0.8:
        codec["rtcpFeedback"] = random.sample(FEEDBACK, random.randint(0, len(FEEDBACK)))
    return codec


def router(random: Random) -> dict | list:
    """Ours, or the media codecs of another one, of which mediasoup makes its capabilities."""
    if random.random() < 0.4:
        return router_rtp_capabilities()
    level = {"level-asymmetry-allowed": random.choice([0, 1])}
    codecs = [
        {"kind": "audio", "mimeType": "audio/opus", "clockRate": 48_000, "channels": 2},
        {"kind": "audio", "mimeType": "audio/PCMU", "clockRate": 8_000},
        {"kind": "video", "mimeType": "video/VP8", "clockRate": 90_000},
        *(
            {"kind": "video", "mimeType": "video/VP9", "clockRate": 90_000, "parameters": {"profile-id": profile}}
            for profile in (0, 2)
        ),
        *(
            {
                "kind": "video", "mimeType": "video/H264", "clockRate": 90_000,
                "parameters": {"packetization-mode": mode, "profile-level-id": profile, **level},
            }
            for mode, profile in ((1, "42e01f"), (0, "42e01f"), (1, "4d0032"), (1, "640c1f"), (1, "42000a"))
        ),
        {"kind": "video", "mimeType": "video/AV1", "clockRate": 90_000},
    ]  # fmt: skip
    return random.sample(codecs, random.randint(4, len(codecs)))


def numbers(random: Random) -> list[int]:
    """Payload types as browsers give them, in no order, none twice."""
    return random.sample([*range(35, 64), *range(96, 128)], 60)


def with_repairs(random: Random, codecs: list[dict], likely: float, name: str) -> list[dict]:
    """Payload types for the codecs, and repair formats for most of them; some repair what is not there."""
    free = numbers(random)
    made = []
    for codec in codecs:
        codec[name] = free.pop()
        made.append(codec)
        if codec["mimeType"].lower().startswith("video/") and random.random() < likely:
            apt = codec[name] if random.random() < 0.97 else free.pop()
            made.append({"mimeType": "video/rtx", "clockRate": 90_000, name: free.pop(), "parameters": {"apt": apt}})
    return made


def uris() -> list[str]:
    ours = {extension["uri"] for extension in router_rtp_capabilities()["headerExtensions"]}
    return [*sorted(ours), "urn:of:nobody"]


def encodings(random: Random) -> list[dict]:
    count = random.choice([0, 1, 1, 1, 2, 3, 3])
    by_rid = random.random() < 0.6
    mode = random.choice(MODES)
    made = []
    for index in range(count):
        encoding: dict = {"rid": f"r{index}"} if by_rid else {"ssrc": 1000 + index}
        if not by_rid and random.random() < 0.7:
            encoding["rtx"] = {"ssrc": 2000 + index}
        if random.random() < 0.6:
            encoding["scalabilityMode"] = mode
        if random.random() < 0.5:
            encoding["maxBitrate"] = random.choice([0, 100_000, 900_000.0, 1_500_000.5])
        if random.random() < 0.3:
            encoding["dtx"] = random.random() < 0.5
        made.append(encoding)
    return made


def producer(random: Random, kind: str) -> dict:
    count = random.choice([1, 1, 1, 2, 3])
    codecs = [media_codec(random, kind) for _ in range(count)]
    chosen = random.sample(uris(), random.randint(0, len(uris())))
    parameters: dict = {
        "mid": "0",
        "codecs": with_repairs(random, codecs, 0.8, "payloadType"),
        "headerExtensions": [{"uri": uri, "id": index + 1} for index, uri in enumerate(chosen)],
        "encodings": encodings(random),
    }
    if random.random() < 0.7:
        parameters["rtcp"] = {"cname": "the-browsers-own", "reducedSize": True}
    return parameters


def receiver(random: Random) -> dict:
    codecs = [media_codec(random, kind) for kind in ("audio", "video") for _ in range(random.randint(0, 6))]
    extensions = router_rtp_capabilities()["headerExtensions"]
    random.shuffle(extensions)
    for extension in extensions:
        if random.random() < 0.1:
            extension["preferredId"] = 14
    capabilities: dict = {
        "codecs": with_repairs(random, codecs, 0.7, "preferredPayloadType"),
        "headerExtensions": extensions[: random.randint(0, len(extensions))],
    }
    for codec in capabilities["codecs"]:
        codec["kind"] = codec["mimeType"].split("/")[0].lower()
    return capabilities


def cases() -> list[dict]:
    random = Random(SEED)
    made = []
    while len(made) < PRODUCERS:
        kind = random.choice(["audio", "video", "video", "video"])
        made.append(
            {
                "router": router(random),
                "kind": kind,
                "rtpParameters": producer(random, kind),
                "cname": CNAME,
                "receivers": [receiver(random) for _ in range(RECEIVERS)],
            }
        )
    return made
