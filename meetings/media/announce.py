"""Tell the room about producers and shared screens: listed for latecomers, numbered for all, each news once.

Several processes may learn of the same end (each hears the worker). The list in Redis decides: who takes the entry off
it tells the room, the others keep silent.
"""

from __future__ import annotations

from typing import Any

from meetings.hub import Hub
from sfu.protocol import Kind, Source


class Announcer:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.live = hub.live

    async def new_producer(
        self, participant_id: str, producer_id: str, kind: Kind, source: Source, *, paused: bool
    ) -> None:
        producer = {"producer_id": producer_id, "kind": kind, "source": source, "paused": paused}
        await self.live.set_producer(participant_id, producer)
        await self.hub.publish("new-producer", {**producer, "participant_id": participant_id})
        if source == "screen":
            await self._screen(participant_id, True)

    async def producer_closed(self, participant_id: str, producer_id: str, reason: str, *, tell: bool = True) -> None:
        """`tell` False: the clients learn it by another event."""
        listed = await self.live.producer(producer_id)
        if not await self.live.remove_producer(producer_id) or listed is None:
            return
        if tell:
            data = {"producer_id": producer_id, "participant_id": participant_id, "reason": reason}
            await self.hub.publish("producer:closed", data)
        if listed["source"] == "screen":
            await self._screen(participant_id, False)

    async def paused(self, producer_id: str, paused: bool) -> None:
        """Nothing is told when it was so already, or is gone."""
        listed = await self.live.producer(producer_id)
        if listed is None or listed["paused"] == paused:
            return
        if changed := await self.live.update_producer(producer_id, paused=paused):
            data: dict[str, Any] = {"producer_id": producer_id, "participant_id": changed["participant_id"]}
            await self.hub.publish("producer:paused" if paused else "producer:resumed", data)

    async def _screen(self, participant_id: str, shared: bool) -> None:
        await self.live.update_person(participant_id, screen=shared)
        await self.hub.publish("screen:started" if shared else "screen:stopped", {"participant_id": participant_id})
