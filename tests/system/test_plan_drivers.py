"""`dirpipe plan` for each driver: creations, a change and a leaver are shown, and at services in which any write is refused and counted
there is none."""

import contextlib
import json

import pytest

import expected
from pipeline import Pipeline, Secret, target_section
from servers import Slapd
from sims import GraphSim, IncidentIqSim, RescueSim, SalesforceSim, ScimSim

KIND = "openldap"
QUICK = {"settle": "500ms", "guard": {"count": 1000, "most": 1000, "settle": "200ms"}, "retry": {"first": "50ms", "cap": "500ms"}}
SIMS = {"app": ScimSim, "m365": GraphSim, "crm": SalesforceSim, "desk": RescueSim, "school": IncidentIqSim}


def section(name, sim):
    if name == "school":
        return {"driver": "incidentiq", "url": sim.url, "tls": {"ca_file": sim.ca_file}, "options": {"site_id": sim.site},
                "auth": {"method": "bearer", "token": Secret(sim.token_file)}, "join": [{"remote": "SchoolIdNumber", "local": "id"}],
                "mapping": {"Email": "mail", "SchoolIdNumber": "id", "FirstName": "givenName", "LastName": "sn",
                            "InternalComments": "title", "LocationId": {"const": "central office"}, "RoleId": {"const": "Student"}}, **QUICK}
    more = {"groups": [{"group": "staff", "remote": "Support"}]} if name == "desk" else {}
    return target_section(sim, KIND, **more, **QUICK)


class Five:
    def __init__(self, folder):
        self.folder, self.stack = folder, contextlib.ExitStack()
        self.d = Slapd(folder / "slapd", users=12, seed=21)
        self.sims = {name: sim(folder / name) for name, sim in SIMS.items()}

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.d)
            for sim in self.sims.values():
                stack.enter_context(sim)
            self.sims["desk"].seed(groups=[{"name": "Support"}])
            self.people = [p["dn"] for p in self.d.people() if p["enabled"] and p["attrs"].get("mail")]
            self.d.add_group("staff", self.people)
            source = self.d.source(attributes=expected.attributes(KIND), routes=[{"target": name, "groups": ["staff"]} for name in self.sims],
                                   groups=[{"name": "staff", "dn": self.d.group_dn("staff")}])
            self.pipeline = stack.enter_context(Pipeline(self.folder / "dirpipe", {"corp": source}, {
                name: section(name, sim) | {"paused": True} for name, sim in self.sims.items()}))
            self.pipeline.wait(lambda: (self.pipeline.status() or {"sources": [{"users": 0}]})["sources"][0]["users"] >= len(self.people),
                               "the directory to be read")
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *what):
        return self.stack.__exit__(*what)

    def plan(self):
        """{target: {user: row}} of a plan during which no service takes a write."""
        before = {name: sim.stats() for name, sim in self.sims.items()}
        for sim in self.sims.values():
            sim.quiet(True)
        done = self.pipeline.cli("plan", "--json")
        for name, sim in self.sims.items():
            sim.quiet(False)
            after = sim.stats()
            assert after["quiet_violations"] == before[name]["quiet_violations"] == 0, name
            assert after["committed"] == before[name]["committed"], name
        assert all(t["problems"] == 0 for t in done["targets"]), done
        rows = {name: {} for name in self.sims}
        for row in done["rows"]:
            rows[row["target"]][row["user"]] = row
        return rows


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    with Five(tmp_path_factory.mktemp("five")) as made:
        yield made


def test_SFR_R15_CAP_C8_R17_a_new_target_is_shown_before_anything_is_done(five):
    """Every target begins paused: all would be created, and nothing is."""
    ids = {five.d.entry(dn)["id"] for dn in five.people}
    for name, rows in five.plan().items():
        assert set(rows) == ids, name
        assert all("create" in row["ops"][0]["op"] for row in rows.values()), (name, rows)
        sim = five.sims[name]
        assert not (sim.technicians() if name == "desk" else sim.dump()), name


def test_SFR_R15_CAP_C8_R17_changes_and_leavers_are_shown_at_each_service(five):
    for name in five.sims:
        five.pipeline.cli("resume", name)
    five.pipeline.wait_idle(users=len(five.people))
    five.pipeline.wait(lambda: not any(five.plan().values()), "everything to be made", 30)
    for name in five.sims:
        five.pipeline.cli("pause", name, "a plan")
    changed, leaver = five.d.entry(five.people[0]), five.d.entry(five.people[1])
    five.d.replace(changed["dn"], sn="Neumann")
    five.d.remove_value(five.d.group_dn("staff"), "member", leaver["dn"])

    def known():
        shown = [five.pipeline.cli("user", "show", e["id"], "--json") for e in (changed, leaver)]
        return shown[0]["snapshot"]["attrs"]["sn"] == ["Neumann"] and shown[1]["in"] == []
    five.pipeline.wait(known, "the changes to be known")
    for name, rows in five.plan().items():
        if name != "desk":  # a technician's name is the displayed one
            assert "Neumann" in json.dumps(rows[changed["id"]]["ops"], ensure_ascii=False), (name, rows)
        row = rows[leaver["id"]]
        assert any(op.get("destructive") for op in row["ops"]) and row["needs"], (name, row)
