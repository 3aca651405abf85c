"""A peer outlives its holder by its lease, and not longer. Time is an argument here."""

from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.strategies import sampled_from

from sfu.worker.leases import Leases

WEB1, WEB2 = "web-1", "web-2"


def test_a_held_peer_is_never_due():
    leases = Leases(lease=60)
    leases.claim("algebra", "sam", WEB1)
    assert leases.due(now=1e9) == []


def test_a_released_peer_is_due_after_its_lease():
    leases = Leases(lease=60)
    leases.claim("algebra", "sam", WEB1)
    assert leases.release("algebra", "sam", WEB1, now=100)
    assert leases.due(now=159.9) == []
    assert leases.due(now=160) == [("algebra", "sam")]


def test_a_lease_that_ran_out_is_told_once():
    leases = Leases(lease=60)
    leases.claim("algebra", "sam", WEB1)
    leases.release("algebra", "sam", WEB1, now=0)
    assert leases.due(now=60) == [("algebra", "sam")]
    assert leases.due(now=61) == []


def test_a_claim_in_time_keeps_the_peer():
    leases = Leases(lease=60)
    leases.claim("algebra", "sam", WEB1)
    leases.release("algebra", "sam", WEB1, now=0)
    leases.claim("algebra", "sam", WEB2)
    assert leases.due(now=1000) == []
    assert leases.holder("algebra", "sam") == WEB2


def test_the_last_who_claimed_holds_and_the_former_cannot_release():
    leases = Leases(lease=60)
    leases.claim("algebra", "sam", WEB1)
    leases.claim("algebra", "sam", WEB2)
    assert not leases.release("algebra", "sam", WEB1, now=0)
    assert leases.release_all(WEB1, now=0) == []
    assert leases.due(now=1000) == []


def test_a_dead_connection_releases_all_it_held_and_nothing_else():
    leases = Leases(lease=60)
    leases.claim("algebra", "sam", WEB1)
    leases.claim("algebra", "tina", WEB2)
    leases.claim("history", "sam", WEB1)
    assert set(leases.release_all(WEB1, now=0)) == {("algebra", "sam"), ("history", "sam")}
    assert set(leases.due(now=60)) == {("algebra", "sam"), ("history", "sam")}


def test_a_closed_peer_is_forgotten():
    leases = Leases(lease=60)
    leases.claim("algebra", "sam", WEB1)
    leases.release("algebra", "sam", WEB1, now=0)
    leases.forget("algebra", "sam")
    leases.forget("algebra", "sam")
    assert leases.due(now=1000) == []


def test_a_second_release_does_not_lengthen_the_lease():
    leases = Leases(lease=60)
    leases.claim("algebra", "sam", WEB1)
    leases.release("algebra", "sam", WEB1, now=0)
    assert not leases.release("algebra", "sam", WEB1, now=50)
    assert leases.due(now=60) == [("algebra", "sam")]


def test_a_closed_room_takes_its_leases_along():
    leases = Leases(lease=60)
    leases.claim("algebra", "sam", WEB1)
    leases.claim("history", "sam", WEB1)
    leases.release("algebra", "sam", WEB1, now=0)
    leases.forget_room("algebra")
    assert not leases.has_peers("algebra")
    assert leases.has_peers("history")
    assert leases.due(now=1000) == []


PEERS = sampled_from(["sam", "tina", "olga"])
WEBS = sampled_from([WEB1, WEB2])


class LeasesAgainstAModel(RuleBasedStateMachine):
    """The same told in the plainest way: for each peer its holder or the moment it was let go."""

    def __init__(self):
        super().__init__()
        self.leases = Leases(lease=60)
        self.model: dict[str, str | float] = {}
        self.now = 0.0

    @rule(peer=PEERS, web=WEBS)
    def claim(self, peer, web):
        self.leases.claim("room", peer, web)
        self.model[peer] = web

    @rule(peer=PEERS, web=WEBS)
    def release(self, peer, web):
        released = self.leases.release("room", peer, web, self.now)
        assert released == (self.model.get(peer) == web)
        if released:
            self.model[peer] = self.now

    @rule(web=WEBS)
    def die(self, web):
        self.leases.release_all(web, self.now)
        for peer, holder in self.model.items():
            if holder == web:
                self.model[peer] = self.now

    @rule(peer=PEERS)
    def close(self, peer):
        self.leases.forget("room", peer)
        self.model.pop(peer, None)

    @rule(seconds=sampled_from([1.0, 30.0, 59.0, 60.0]))
    def wait(self, seconds):
        self.now += seconds
        over = {peer for peer, since in self.model.items() if isinstance(since, float) and since + 60 <= self.now}
        assert {key.peer for key in self.leases.due(self.now)} == over
        for peer in over:
            del self.model[peer]

    @invariant()
    def holders_agree(self):
        for peer in ("sam", "tina", "olga"):
            holder = self.model.get(peer)
            assert self.leases.holder("room", peer) == (holder if isinstance(holder, str) else None)


TestLeasesAgainstAModel = LeasesAgainstAModel.TestCase
