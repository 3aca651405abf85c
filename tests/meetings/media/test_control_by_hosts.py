"""What a host takes away: muting, locks, roles, removal, the end. And screens, which are told by their producers."""

from __future__ import annotations

import pytest
from asgiref.sync import sync_to_async

from meetings.models import Participant, Room
from sfu.manifest import MANIFEST
from sfu.protocol import GetStats, InvalidRequest, OpenPeer, OpenRoom
from tests.meetings.media.conftest import WorkerProcess

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def worker(steady_worker: WorkerProcess) -> WorkerProcess:
    return steady_worker


async def in_worker(media, world, person):
    """{source: paused} of what the worker really has of that person"""
    client = media.rooms[world.room.code].client
    state = await client.request(OpenPeer(room=world.room.code, peer=person.id))
    return {producer.source: producer.paused for producer in state.producers}


# --- muting ----------------------------------------------------------------------------------------------------------


async def test_a_muted_microphone_is_paused_in_the_worker_before_the_host_is_answered(worker, come, media, world):
    tina, sam, sue = await come("tina"), await come("sam"), await come("sue")
    microphone, camera = await sam.produce("microphone"), await sam.produce("camera")
    consumer = await sue.consume(microphone)
    await tina.client.do("participant:mute", {"participant_id": sam.id, "kind": "audio"})
    assert await in_worker(media, world, sam) == {"microphone": True, "camera": False}
    assert consumer["producer_paused"] is False
    for person in (sam, sue):
        told = await person.client.event("producer:paused")
        assert (told["producer_id"], told["participant_id"]) == (microphone, sam.id)
    assert (await sam.client.event("muted:by-host"))["kind"] == "audio"
    await tina.client.do("participant:mute", {"participant_id": sam.id, "kind": "video"})
    assert (await sue.client.event("producer:paused"))["producer_id"] == camera
    assert await in_worker(media, world, sam) == {"microphone": True, "camera": True}


async def test_whoever_was_muted_without_a_lock_may_unmute_and_a_host_cannot_do_it_for_them(worker, come, media, world):
    tina, sam = await come("tina"), await come("sam")
    microphone = await sam.produce("microphone")
    await tina.client.do("participant:mute", {"participant_id": sam.id, "kind": "audio"})
    assert await tina.ask("produce:resume", producer_id=microphone) == "not_found"
    assert await sam.ask("produce:resume", producer_id=microphone) == "ok"
    assert (await tina.client.event("producer:resumed"))["producer_id"] == microphone
    assert await in_worker(media, world, sam) == {"microphone": False}


async def test_muting_somebody_in_another_web_process(worker, come, another_web, media, world):
    tina, sam = await come("tina"), await come("sam", by=another_web)
    microphone = await sam.produce("microphone")
    await tina.client.do("participant:mute", {"participant_id": sam.id, "kind": "audio"})
    assert (await sam.client.event("producer:paused"))["producer_id"] == microphone
    assert await sam.ask("produce:resume", producer_id=microphone) == "ok"


async def test_muting_all_spares_those_who_lead_the_class(worker, come, come_as, media, world):
    tina, asa, pia = await come("tina"), await come("asa"), await come_as("presenter")
    tina = await come("tina")  # the presenter was made by another tab of hers
    sam = await come("sam")
    for person in (tina, asa, pia, sam):
        await person.produce("microphone")
    await tina.client.do("participant:mute", {"participant_id": "all", "kind": "audio"})
    paused = {person.id: await in_worker(media, world, person) for person in (tina, asa, pia, sam)}
    assert [paused[person.id]["microphone"] for person in (tina, asa, pia, sam)] == [False, False, True, True]


async def test_muting_a_screen_ends_it_with_its_sound(worker, come, media, world):
    tina, asa, sam = await come("tina"), await come("asa"), await come("sam")
    screen, sound = await asa.produce("screen"), await asa.produce("screen_audio")
    await asa.produce("microphone")
    await sam.client.event("screen:started")
    await tina.client.do("participant:mute", {"participant_id": asa.id, "kind": "screen"})
    closed = {(await sam.client.event("producer:closed"))["producer_id"] for _ in range(2)}
    assert closed == {screen, sound}
    await sam.client.event("screen:stopped", participant_id=asa.id)
    assert await in_worker(media, world, asa) == {"microphone": False}
    assert await sam.client.quiet("screen:stopped")  # told once


async def test_muting_what_is_not_there_is_no_error(worker, come):
    tina, sam = await come("tina"), await come("sam")
    await tina.client.do("participant:mute", {"participant_id": sam.id, "kind": "video"})


# --- locks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lock", "source"), [("unmute", "microphone"), ("camera", "camera"), ("share", "screen"), ("share", "screen_audio")]
)
async def test_under_a_lock_of_ones_own_nothing_is_sent_or_resumed(worker, come, world, lock, source):
    await Room.objects.filter(pk=world.room.pk).aupdate(settings={"allow": {"share": True}})
    sam = await come("sam")
    producer = await sam.produce(source)
    await sam.client.do("produce:pause", {"producer_id": producer})
    sam.client_session().locks[lock] = False
    assert await sam.ask("produce:resume", producer_id=producer) == "forbidden"
    assert await sam.ask("produce:close", producer_id=producer) == "ok"
    assert await sam.ask("produce", **await sam.produce_request(source)) == "forbidden"


async def test_a_lock_outlives_a_reload(worker, come, world):
    sam = await come("sam")
    await Participant.objects.filter(public_id=sam.id).aupdate(locks={"unmute": False})
    again = await come("sam")
    assert await again.ask("produce", **await again.produce_request("microphone")) == "forbidden"
    assert await again.produce("camera")


async def test_the_rooms_settings_lock_attendees_and_not_those_who_lead(worker, come, world):
    await Room.objects.filter(pk=world.room.pk).aupdate(settings={"allow": {"unmute": False, "camera": False}})
    sam, tina = await come("sam"), await come("tina")
    for source in ("microphone", "camera"):
        assert await sam.ask("produce", **await sam.produce_request(source)) == "forbidden"
        assert await tina.produce(source)


# --- roles -----------------------------------------------------------------------------------------------------------


async def test_a_demoted_persons_forbidden_tracks_end_before_the_host_is_answered(worker, come, media, world):
    tina, asa = await come("tina"), await come("asa")
    for source in ("microphone", "camera", "screen", "screen_audio"):
        await asa.produce(source)
    await tina.client.do("participant:role:update", {"participant_id": asa.id, "role": "attendee"})
    assert await in_worker(media, world, asa) == {"microphone": False, "camera": False}
    await asa.client.event("screen:stopped")
    await tina.client.do("participant:role:update", {"participant_id": asa.id, "role": "guest"})
    assert await in_worker(media, world, asa) == {}
    assert await asa.ask("produce", **await asa.produce_request("microphone")) == "forbidden"
    assert await media.rooms[world.room.code].hub.live.producers() == {}


async def test_a_demotion_reaches_tracks_in_another_web_process(worker, come, another_web, media, world):
    tina, asa = await come("tina"), await come("asa", by=another_web)
    screen = await asa.produce("screen")
    await tina.client.do("participant:role:update", {"participant_id": asa.id, "role": "attendee"})
    assert (await tina.client.event("producer:closed"))["producer_id"] == screen
    await asa.client.event("participant:role:changed")
    assert await asa.ask("produce:resume", producer_id=screen) in {"not_found", "forbidden"}
    assert await in_worker(media, world, asa) == {}


async def test_a_lock_of_ones_own_counts_also_in_a_new_role(worker, come, media, world):
    await Room.objects.filter(pk=world.room.pk).aupdate(settings={"allow": {"share": True}})
    tina, asa = await come("tina"), await come("asa")
    await asa.produce("screen")
    await asa.produce("camera")
    await Participant.objects.filter(public_id=asa.id).aupdate(locks={"share": False})
    await tina.client.do("participant:role:update", {"participant_id": asa.id, "role": "attendee"})
    assert await in_worker(media, world, asa) == {"camera": False}


async def test_a_promoted_person_may_send_at_once(worker, come):
    tina, sam = await come("tina"), await come("sam")
    assert await sam.ask("screen:start") == "forbidden"
    await tina.client.do("participant:role:update", {"participant_id": sam.id, "role": "presenter"})
    await sam.client.event("participant:role:changed")
    assert await sam.ask("screen:start") == "ok"
    assert await sam.produce("screen")


# --- screens ---------------------------------------------------------------------------------------------------------


async def test_a_screen_is_told_by_its_producer_and_ends_with_it(worker, come):
    tina, sam = await come("tina"), await come("sam")
    await tina.client.do("screen:start")
    assert await sam.client.quiet("screen:started")  # the browser still asks which
    screen, _ = await tina.produce("screen"), await tina.produce("screen_audio")
    await sam.client.event("new-producer", producer_id=screen)
    assert await sam.client.event("screen:started") == {"participant_id": tina.id}
    latecomer = await come("sue")
    [teacher] = [one for one in latecomer.answer["participants"] if one["participant_id"] == tina.id]
    assert teacher["screen"] is True
    await tina.client.do("screen:stop")
    assert await sam.client.event("screen:stopped") == {"participant_id": tina.id}
    for _ in range(2):
        await sam.client.event("producer:closed")
    await tina.client.do("screen:stop")  # nothing to do
    assert await sam.client.quiet("screen:stopped")


# --- going -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["leave", "remove"])
async def test_who_leaves_or_is_removed_has_no_peer_any_more(worker, come, media, world, how):
    tina, sam = await come("tina"), await come("sam")
    producer = await sam.produce("microphone")
    consumer = await tina.consume(producer)
    if how == "leave":
        await sam.client.do("room:leave")
    else:
        await tina.client.do("participant:remove", {"participant_id": sam.id})
        assert await sam.client.until_closed() == 4003
    assert (await tina.client.event("consumer:closed"))["consumer_id"] == consumer["consumer_id"]
    room = media.rooms[world.room.code]
    with pytest.raises(InvalidRequest) as refused:
        await room.client.request(GetStats(room=world.room.code, peer=sam.id))
    assert refused.value.code == "not_found"
    assert await room.hub.live.producers() == {}
    assert sam.id not in room.peers


async def test_the_end_of_the_class_closes_its_room_in_the_worker_and_completes_its_recording(
    worker, come, media, world
):
    from meetings.media.recording import start_recording, stop_recording

    code = world.room.code
    tina, sam = await come("tina"), await come("sam")
    await sam.produce("microphone")
    await start_recording(code, "rec-1")
    client = media.rooms[code].client
    await tina.client.do("room:end")
    assert (worker.data / "recordings" / "rec-1" / MANIFEST).exists()
    assert await stop_recording(code, "rec-1") is False  # no worker has the room; the recording is complete
    if not client.closed:  # the last socket may have closed it already
        state = await client.request(OpenRoom(room=code))
        assert (state.producers, state.recording) == ([], None)
    assert await media.placements.current(code) is None
    assert await sam.client.until_closed() == 4004


async def test_a_room_that_is_always_open_takes_the_next_class(worker, come, media, world):
    await sync_to_async(Room.objects.filter(pk=world.room.pk).update)(always_open=True)
    tina, sam = await come("tina"), await come("sam")
    await sam.produce("microphone")
    await tina.client.do("room:end")
    assert await sam.client.until_closed() == 4004
    again = await come("sam")
    assert again.answer["media"]["producers"] == []
    assert await again.produce("microphone")
