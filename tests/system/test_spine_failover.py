"""What stands beside what: a second broker, a second domain controller, a SCIM service that is not ours."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest

import expected
from pipeline import Pipeline, free_port, merge, target_section, to_yaml
from sims import Scimmy, build_dir
from spine import OpenLdap, Spine, TwoControllers, place_of


@pytest.fixture
def place(request):
    folder = place_of()
    request.addfinalizer(lambda: shutil.rmtree(folder, ignore_errors=True))
    return folder


class Standby:
    """A second dirpipe-broker on the realm of a pipeline."""

    def __init__(self, pipeline, endpoint):
        self.folder = pipeline.directory / "standby"
        self.folder.mkdir()
        self.pipeline, self.control, self.path = pipeline, self.folder / "c", self.folder / "dirpipe.yaml"
        conf = merge(pipeline.conf, {"broker": {"endpoints": [f"ipc://{endpoint}"], "control": str(self.control),
                                                "http": f"127.0.0.1:{free_port()}"}})
        self.path.write_text(to_yaml(conf).lstrip("\n") + "\n")
        with open(self.folder / "log.jsonl", "ab") as log:
            self.process = subprocess.Popen([build_dir() / "dirpipe-broker", "--config", self.path], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)

    def state(self):
        done = self.pipeline.cli("--socket", self.control, "status", "--json", check=False)
        return done["state"] if isinstance(done, dict) else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        assert self.process.wait(20) == 0


def test_a_standby_broker_takes_over_without_loss(place, tmp_path):
    """The active broker hangs (it is stopped, so that nobody starts it again); collectors and workers know both and go to the standby."""
    if OpenLdap.why_not():
        pytest.skip(OpenLdap.why_not())
    run = tmp_path / "run"
    run.mkdir()
    first, second = run / "b1", run / "b2"
    broker = {"endpoints": [f"ipc://{first}"], "takeover": "1s", "lease": "2s", "grace": "500ms"}
    with OpenLdap(place / "directory", users=100) as d, Spine(d, tmp_path / "spine", broker=broker, connect=[f"ipc://{second}", f"ipc://{first}"],
                                                                   targets={"m365": {"settle": "1s"}}) as s:
        s.settle()
        with Standby(s.pipeline, second) as standby:
            s.pipeline.wait(lambda: standby.state() == "standby", "the second broker to stand by")
            assert s.status()["state"] == "ready"
            epoch = s.status()["epoch"]["number"]
            hung = s.pipeline.pids("dirpipe-broker")[0]
            for i in range(20):
                d.replace(d.add_person(2000 + i), title=f"just before {i}")
            os.kill(hung, signal.SIGSTOP)
            try:
                for i in range(20):
                    d.add_person(2100 + i)
                s.pipeline.wait(lambda: standby.state() == "ready", "the standby to take over", 30)
                people = s.settle(90)
                assert len(people) == 140
            finally:
                os.kill(hung, signal.SIGCONT)
            s.pipeline.wait(lambda: (s.status() or {}).get("state") == "standby", "the old one to step down", 20)
            assert standby.state() == "ready"
            d.add_person(2200)
            s.settle()
            now = s.pipeline.cli("--socket", standby.control, "status", "--json")
            assert now["epoch"]["number"] > epoch and now["sources"][0]["users"] == 141
            for service in s.services.values():
                stats = service.stats()
                assert (stats["creates"], stats["duplicates"], stats["deletes"]) == (141, 0, 0)
            assert not s.switched({"app": 0, "m365": 0})


def test_another_domain_controller_takes_over(place, tmp_path):
    if TwoControllers.why_not():
        pytest.skip(TwoControllers.why_not())
    with TwoControllers(place / "ad", users=30) as d:
        one, two = d.domain.dcs
        d.domain.replicate(0, 1)
        with Spine(d, tmp_path / "spine") as s:
            s.settle()
            dn = d.add_person(3000)
            s.settle()
            d.domain.replicate(0, 1)
            mark, rids = s.mark(), {p["id"]: s.rids(p) for p in d.people()}
            two.modify(dn, title="Changed at the other")
            one.stop()
            d.dc = two
            s.settle(60)
            assert s.status()["sources"][0]["server"] == two.uri
            two.modify(dn, title="And again")
            d.add_person(3001)
            s.settle()

            # Back at the first, which has heard nothing of that: nobody is lost, nobody goes back in time.
            two.stop()
            d.domain.start_dc(one)
            d.dc = one
            fresh = d.entry(d.add_person(3002))
            s.pipeline.wait(lambda: all(s.accounts(fresh).values()), "somebody new at the first controller", 60)
            d.domain.start_dc(two)
            d.domain.replicate(1, 0)
            assert len(s.settle(60)) == 33
            assert {p["id"]: s.rids(p) for p in d.people() if p["id"] in rids} == rids
            assert not s.switched(mark) and s.kinds(mark) == {"create", "update"}


def test_a_scim_service_that_is_not_ours(place, tmp_path):
    if OpenLdap.why_not():
        pytest.skip(OpenLdap.why_not())
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    with OpenLdap(place / "directory", users=50) as d, Scimmy(tmp_path / "scimmy") as service:
        source = d.source(attributes=expected.attributes(d.kind), routes=[{"target": "app"}])
        target = target_section(service, d.kind, guard={"settle": "200ms", "percent": 100, "most": 1000})
        with Pipeline(tmp_path / "dirpipe", {"corp": source}, {"app": target}) as pipeline:
            left = []

            def wait_equal():
                end, result = time.monotonic() + 30, None
                while time.monotonic() < end:
                    people = d.people()
                    result = expected.compare("scim", d.kind, people, service.dump(), left=left)
                    if result == (len(people), []):
                        return
                raise AssertionError(json.dumps(result[1][:5]) + pipeline.tail(5))

            wait_equal()
            ids = {a["externalId"]: a["id"] for a in service.dump()}
            one, two, three, four = d.sample(4)
            d.replace(one, title="Größe 🚀", departmentNumber=None, mail="new@example.com")
            two = d.move(d.rename(two, "renamed"), d.other_unit(two))
            d.disable(three)
            left.append(d.id(four))
            d.delete(four)
            d.add_person(500)
            wait_equal()
            d.enable(three)
            d.replace(one, title=None)
            wait_equal()
            assert {a["externalId"]: a["id"] for a in service.dump() if a["externalId"] in ids} == ids
            assert len(service.dump()) == 51
