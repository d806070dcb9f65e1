"""The crash walk's part of the worker for further drivers, and SCIM with groups: a worker is killed at each of its steps, and answers are cut
after the commit of every kind of write; accounts = users, nobody twice, nobody lost from a group, no version back (world.py). GOALS F2."""

import pytest

from crash_points import CRASH_POINTS
from sims import ScimSim
from test_crash_walk import Walk
from world import World


class GroupedScim(ScimSim):
    """Its groups are there before dirpipe comes."""

    def start(self):
        super().start()
        self.seed(groups=[{"displayName": "Staff"}, {"displayName": "Inner"}])
        return self


KINDS = {
    "scim-groups": {
        "target": "app", "services": {"app": GroupedScim},
        "sections": {"app": {"groups": [{"group": "staff", "remote": "Staff"}]}},
        "without": {"worker.noted_creating"},  # the broker has noted it with the dispatch
        "writes": [("POST", "/scim/v2/Users", None), ("PATCH", "/scim/v2/Users", None), ("PATCH", "/scim/v2/Groups", '"add"'),
                   ("PATCH", "/scim/v2/Groups", '"remove"'), ("POST", "/scim/v2/Bulk", None)],
    },
    "incidentiq": {
        "target": "desk", "services": {}, "sections": {},
        # no account is made in several steps; the broker has noted a creation with the dispatch
        "without": {"worker.noted_partial", "worker.noted_creating"},
        "writes": [("POST", "/api/v1.0/users/local/new", None), ("POST", "/api/v1.0/users/", "InternalComments"),
                   ("POST", "/api/v1.0/users/", '"IsActive":false')],
    },
}


@pytest.fixture(scope="module", params=list(KINDS))
def walk(request, tmp_path_factory):
    kind = KINDS[request.param]
    with World(tmp_path_factory.mktemp("w"), users=30, seed=12, targets=(kind["target"],), services=kind["services"], sections=kind["sections"],
               broker={"lease": "1s", "grace": "200ms"}) as w:
        if kind["target"] == "desk":
            w.services["desk"].knobs(unique="")  # the site itself takes a second account of that name: only the look-ups prevent doubles
        w.settle()
        walk = Walk(w, kind["target"])
        walk.kind = kind
        yield walk


@pytest.fixture
def calm(walk):
    """A walk that failed leaves its programs armed: they are started anew for the next one."""
    yield walk
    for program in list(walk.armed):
        walk.w.program.restart(program)
    walk.armed.clear()


def points():
    return [name for name, point in CRASH_POINTS.items() if point.program.startswith("worker:")]


@pytest.mark.parametrize("point", points())
def test_GOALS_F2_a_worker_killed_at_each_step(calm, point):
    if point in calm.kind["without"]:
        pytest.skip("this driver never comes there")
    calm.walk([point], 1)


@pytest.mark.parametrize("number", range(5))
def test_CAP_C15_cut_after_the_commit_of_each_kind_of_write(walk, number):
    if number >= len(walk.kind["writes"]):
        pytest.skip("this driver has fewer kinds")
    method, prefix, contains = walk.kind["writes"][number]
    w, service = walk.w, walk.w.services[walk.target]
    match = {"method": method, "path_prefix": prefix, **({"contains": contains} if contains else {})}
    if walk.target == "desk":
        service.knobs(lag_ms=300)  # and it shows a new one late
    service.faults([{"match": match, "do": {"cut": "after_commit"}, "times": 3}])
    w.create()
    w.create()
    w.load(3, ["update"])
    for kind in ("disable", "enable", "group", "group", "group", "delete", "create"):
        w.one(kind)
    w.settle(60)
    fired = service.fault_counts()[0]["fired"]
    service.faults([])
    assert fired >= 1 or prefix.endswith("Bulk"), "bulk is used where several changes meet"
    assert service.stats()["duplicates"] == 0
