"""Our negotiation beside mediasoup's own (`ortc.js`, run in Node): the same answers for hundreds of generated peers.

Where we mean to differ stands in `as_we_mean_it`, and nowhere else.
"""

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from sfu.core import ortc
from sfu.core.capabilities import MID, TRANSPORT_CC, router_rtp_capabilities
from sfu.protocol import InvalidRequest
from tests.sfu.ortc_cases import CNAME, cases

ORACLE = Path(__file__).with_name("mediasoup_ortc.mjs")
SSRC = 500

# --- both answers ---


def mediasoup(questions: list[dict]) -> list[dict]:
    done = subprocess.run(
        ["node", ORACLE], input=json.dumps(questions), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict] = json.loads(done.stdout)
    return answers


def attempt(negotiate):
    try:
        return negotiate()
    except InvalidRequest:
        return None


def ours(question: dict, capabilities: dict) -> dict:
    kind = question["kind"]

    def produce():
        validated = ortc.validate_rtp_parameters(kind, question["rtpParameters"])
        return validated, ortc.producer_mapping(validated, capabilities, ssrc=SSRC)

    produced = attempt(produce)
    if produced is None:
        return {"mapping": None}
    validated, mapping = produced
    consumable = ortc.consumable_rtp_parameters(kind, validated, mapping, capabilities, cname=CNAME)
    return {
        "mapping": mapping,
        "consumable": consumable,
        "receivers": [
            {
                "canConsume": attempt(lambda receiver=receiver: ortc.can_consume(consumable, receiver)),
                "consumer": attempt(
                    lambda receiver=receiver: ortc.consumer_rtp_parameters(consumable, receiver, mid=0, ssrc=7000)
                ),
            }
            for receiver in question["receivers"]
        ],
    }


def as_we_mean_it(answer: dict) -> dict:
    """mediasoup's answer with our SSRCs in place of its random ones, and the three things that we do otherwise.

    Two codecs of a producer that are one to the router are one to its receivers. A MID is always three digits. The
    `msid` is not passed on: streams are tied together by the peer's one cname.
    """
    if answer["mapping"] is None:
        return {"mapping": None}
    for index, encoding in enumerate(answer["mapping"]["encodings"]):
        encoding["mappedSsrc"] = SSRC + index
    for index, encoding in enumerate(answer["consumable"]["encodings"]):
        encoding["ssrc"] = SSRC + index
    for parameters in (answer["consumable"], *(receiver["consumer"] for receiver in answer["receivers"])):
        if parameters is not None:
            known: dict = {}
            for codec in parameters["codecs"]:
                known.setdefault(codec["payloadType"], codec)
            parameters["codecs"] = list(known.values())
    for receiver in answer["receivers"]:
        consumer = receiver["consumer"]
        if consumer is not None:
            consumer["mid"] = "000"
            [encoding] = consumer["encodings"]
            if "rtx" in encoding:
                assert encoding["rtx"]["ssrc"] == encoding["ssrc"] + 1
                encoding["rtx"]["ssrc"] = 7001
            encoding["ssrc"] = 7000
    return {name: answer[name] for name in ("mapping", "consumable", "receivers")}


def in_order(answer: dict) -> dict:
    """The mapping is a dictionary of payload types: its order says nothing."""
    if answer["mapping"] is not None:
        answer["mapping"]["codecs"].sort(key=lambda codec: codec["payloadType"])
    return answer


@pytest.fixture(scope="module")
def judged() -> list[tuple[dict, dict]]:
    questions = cases()
    return list(zip(questions, mediasoup(questions), strict=True))


def test_every_generated_peer_is_answered_as_mediasoup_answers_it(judged):
    for number, (question, answer) in enumerate(judged):
        mine = in_order(ours(question, answer["capabilities"]))
        expected = in_order(as_we_mean_it(answer))
        assert mine == expected, f"case {number}: {json.dumps(question, indent=1)}"


def test_the_generated_peers_try_every_way_that_a_negotiation_can_go(judged):
    seen: Counter[str] = Counter()
    for question, answer in judged:
        seen[question["kind"]] += 1
        seen["our router" if isinstance(question["router"], dict) else "another router"] += 1
        if answer["mapping"] is None:
            seen["refused"] += 1
            continue
        seen["produced"] += 1
        for codec in answer["consumable"]["codecs"]:
            seen[codec["mimeType"]] += 1
        for made in answer["receivers"]:
            seen["cannot consume" if made["canConsume"] is False else "can consume"] += 1
            if made["consumer"] is None:
                continue
            encoding = made["consumer"]["encodings"][0]
            seen["with repair" if "rtx" in encoding else "without repair"] += 1
            negotiated = {extension["uri"] for extension in made["consumer"]["headerExtensions"]}
            seen["with mid" if MID in negotiated else "without mid"] += 1
            seen["transport-cc" if TRANSPORT_CC in negotiated else "no transport-cc"] += 1
            seen["scalable" if "scalabilityMode" in encoding else "not scalable"] += 1
    ways = [
        "audio", "video", "our router", "another router", "refused", "produced", "can consume", "cannot consume",
        "video/VP8", "video/VP9", "video/H264", "video/AV1", "audio/opus", "audio/PCMU",
        "with repair", "without repair", "with mid", "without mid",
        "transport-cc", "no transport-cc", "scalable", "not scalable",
    ]  # fmt: skip
    assert min(seen[way] for way in ways) >= 20, seen


def test_our_router_offers_what_mediasoup_would_offer_for_the_same_codecs():
    own = router_rtp_capabilities()
    given = ("kind", "mimeType", "clockRate", "channels", "parameters")
    media = [
        {name: codec[name] for name in given if name in codec}
        for codec in own["codecs"]
        if not codec["mimeType"].endswith("/rtx")
    ]
    question = {"router": media, "kind": "audio", "rtpParameters": {"codecs": []}, "cname": CNAME, "receivers": []}
    [answer] = mediasoup([question])
    theirs = answer["capabilities"]
    assert theirs["codecs"] == own["codecs"]
    offered = [(e["kind"], e["uri"], e["preferredId"], e["direction"]) for e in theirs["headerExtensions"]]
    assert {(e["kind"], e["uri"], e["preferredId"], e["direction"]) for e in own["headerExtensions"]} <= set(offered)
