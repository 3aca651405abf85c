"""Rooms are spread evenly over the workers, and stay where they are when others come and go."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from meetings.media.ring import HOT, SLACK, Candidate, HashRing, choose_worker, load_bound

ROOMS = [f"room-{number}" for number in range(2000)]
worker_ids = st.sets(st.text("abcdefghij0123456789-", min_size=1, max_size=12), min_size=1, max_size=12)


def owners(workers):
    ring = HashRing(workers)
    return {room: next(ring.walk(room)) for room in ROOMS}


@settings(max_examples=30, deadline=None)
@given(worker_ids)
def test_every_worker_gets_about_its_share_of_the_rooms(workers):
    shares = Counter(owners(workers).values())
    mean = len(ROOMS) / len(workers)
    assert set(shares) == workers
    assert max(shares.values()) < 1.6 * mean
    assert min(shares.values()) > 0.4 * mean


@settings(max_examples=30, deadline=None)
@given(worker_ids, st.data())
def test_when_a_worker_goes_only_its_own_rooms_move(workers, data):
    gone = data.draw(st.sampled_from(sorted(workers)))
    before = owners(workers)
    if len(workers) > 1:
        after = owners(workers - {gone})
        assert all(after[room] == worker for room, worker in before.items() if worker != gone)
        assert gone not in after.values()


@settings(max_examples=30, deadline=None)
@given(worker_ids)
def test_when_a_worker_comes_it_takes_its_share_and_nobody_else_gains(workers):
    before, after = owners(workers), owners(workers | {"newcomer"})
    moved = {room for room in ROOMS if before[room] != after[room]}
    assert all(after[room] == "newcomer" for room in moved)
    assert len(moved) < 1.6 * len(ROOMS) / (len(workers) + 1)


@settings(max_examples=50, deadline=None)
@given(worker_ids, st.text(max_size=30))
def test_a_walk_names_every_worker_once(workers, key):
    assert sorted(HashRing(workers).walk(key)) == sorted(workers)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 8), st.lists(st.integers(1, 40), min_size=1, max_size=150))
def test_no_worker_gets_a_room_when_it_is_over_its_bound(count, room_sizes):
    peers = dict.fromkeys((f"w{number}" for number in range(count)), 0)
    for number, size in enumerate(room_sizes):
        chosen = choose_worker(f"room-{number}", [Candidate(worker, peers=peers[worker]) for worker in peers])
        assert chosen is not None
        assert peers[chosen] + 1 <= load_bound(sum(peers.values()), count)
        peers[chosen] += size
    # So nobody is further above the mean than the slack and the last room that was put there.
    assert max(peers.values()) <= (1 + SLACK) * (sum(peers.values()) / count + 1) + 1 + max(room_sizes)


candidates = st.lists(
    st.builds(
        Candidate,
        st.sampled_from("abcdefgh"),
        st.integers(0, 5000),
        st.floats(0, 1),
        st.sampled_from(["eu", "us"]),
        st.booleans(),
    ),
    max_size=8,
    unique_by=lambda candidate: candidate.worker_id,
)


@settings(max_examples=300, deadline=None)
@given(candidates, st.sampled_from(["eu", "us", "asia"]), st.randoms(use_true_random=False))
def test_the_choice_is_the_same_in_every_process_and_never_a_draining_worker(workers, region, random):
    chosen = choose_worker("a-room", workers, region)
    shuffled = workers[:]
    random.shuffle(shuffled)
    assert choose_worker("a-room", shuffled, region) == chosen
    if all(worker.draining for worker in workers):
        assert chosen is None
    else:
        assert not next(worker for worker in workers if worker.worker_id == chosen).draining


def test_a_worker_of_the_own_region_is_preferred_until_it_is_hot():
    near, far = Candidate("near", region="eu", load=0.5), Candidate("far", region="us", load=0.1)
    assert {choose_worker(room, [near, far], "eu") for room in ROOMS[:50]} == {"near"}
    hot = Candidate("near", region="eu", load=HOT)
    assert {choose_worker(room, [hot, far], "eu") for room in ROOMS[:50]} == {"far"}
    assert {choose_worker(room, [hot, Candidate("far", region="us", load=HOT)], "eu") for room in ROOMS[:50]} == {
        "near"
    }


def test_a_worker_that_holds_a_large_class_is_passed_over():
    workers = [Candidate("a", peers=300), Candidate("b", peers=0)]
    assert {choose_worker(room, workers) for room in ROOMS[:50]} == {"b"}
