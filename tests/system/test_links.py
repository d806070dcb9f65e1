"""Which account is whose: proposals that a person looks through, links that a person sets, and how long they hold.

The service (SCIM) has accounts of its own before dirpipe comes, and dirpipe may create none there."""

import csv
import unicodedata

import pytest

from pipeline import Pipeline
from world import World

USER = "urn:ietf:params:scim:schemas:core:2.0:User"


class Place(World):
    """A directory in which everybody has a display name of their own, and accounts that nobody has linked yet."""

    def __init__(self, folder, **more):
        super().__init__(folder, users=16, targets=("app",), groups=False, program=Pipeline, target={"create": False, "mapping": MAPPING},
                         **more)

    def prepare(self):
        self.program.wait(self.idle, "everything to run")
        self.scim = self.services["app"]
        self.p = sorted(self.directory.people(), key=lambda p: p["attrs"]["uid"])
        for i, p in enumerate(self.p):
            self.directory.replace(p["dn"], displayName=f"Person Nº{i} Ångström")
        self.program.wait(lambda: self.parked("no_account") == {p["id"] for p in self.p}, "everybody to wait for an account")

    def parked(self, reason):
        return {u["user"] for u in self.program.cli("parked", "ls", "app", "--json")["users"] if u["reason"] == reason}

    def seed(self, **fields):
        """An account that was there before; its id."""
        self.number += 1
        user = {"schemas": [USER], "active": True, "userName": f"cloud{self.number}", **fields}
        self.scim.seed(users=[user])
        return next(a["id"] for a in self.scim.dump() if a["userName"] == user["userName"])

    def account(self, rid):
        return next(a for a in self.scim.dump() if a["id"] == rid)

    def propose(self, path, *words):
        self.program.cli("match", "propose", "app", "--out", path, *words)
        with path.open(newline="") as f:
            return list(csv.DictReader(f))

    def link(self, *words, check=True):
        return self.program.cli("link", *words, check=check)

    def linked(self):
        """user -> (account, state, set by a person)"""
        return {r["user"]: (r["link"]["rid"], r["link"]["state"], bool(r["link"]["memory"] and r["link"]["memory"].get("manual")))
                for r in self.link("ls", "app", "--json")["links"]}

    def has(self, rid, entry):
        """The account says what the directory says of this person."""
        now = self.directory.entry(entry["dn"])
        a = self.account(rid)
        return (a.get("externalId"), a["userName"].lower(), a.get("displayName"), a.get("title")) == \
            (now["id"], now["attrs"]["uid"][0], now["attrs"]["displayName"][0], now["attrs"].get("title", [None])[0])


MAPPING = {"userName": "uid", "externalId": "id", "displayName": "displayName", "title": "title"}


@pytest.fixture(scope="class")
def w(tmp_path_factory):
    with Place(tmp_path_factory.mktemp("links")) as w:
        w.prepare()
        yield w


@pytest.mark.usefixtures("w")
class TestLinks:
    """One story: what was proposed and set stands in the next test."""

    def test_SFR_P3_P4_P5_P6_L5_L6_CAP_Q14_Q15_proposals_are_looked_through_and_applied(self, w, tmp_path):
        p = w.p
        same = {"displayName": "Both Of Them"}
        w.directory.replace(p[3]["dn"], **same)
        w.directory.replace(p[4]["dn"], **same)
        w.directory.replace(p[5]["dn"], displayName=None)
        by_login = w.seed(userName=p[0]["attrs"]["uid"][0].upper(), displayName="Somebody")
        name = unicodedata.normalize("NFD", "  person Nº1 ångström ")
        assert name.strip() != "person Nº1 ångström"
        by_name = w.seed(displayName=name)
        twins = [w.seed(displayName="Person Nº2 Ångström") for _ in range(2)]
        shared = w.seed(**same)
        w.seed(displayName="")  # empty is nobody's name
        w.seed(displayName="Nobody At All")
        w.program.wait(w.idle, "the changes to be known")
        mark = w.scim.stats()["committed"]
        file = tmp_path / "proposals.csv"
        rows = w.propose(file, "--by", "userName=uid,displayName=displayName")
        told = {(r["action"], r["user"], r["account"], r["rule"], r["note"][:9]) for r in rows}
        assert told == {("link", p[0]["id"], by_login, "userName=uid", ""),
                        ("propose", p[1]["id"], by_name, "displayName=displayName", ""),  # a name alone never links
                        *(("", p[2]["id"], t, "displayName=displayName", "ambiguous") for t in twins),
                        *(("", p[i]["id"], shared, "displayName=displayName", "ambiguous") for i in (3, 4))}
        assert all(r["target"] == "app" and r["dn"].lower() == next(x["dn"] for x in p if x["id"] == r["user"]).lower() for r in rows)
        # by the configured rules (the id) and names
        assert {r["rule"] for r in w.propose(tmp_path / "other.csv")} == {"displayName=displayName"}
        assert w.linked() == {} and w.scim.stats()["committed"] == mark, "a proposal does nothing"

        for r in rows:  # what a person does with it
            if r["action"] == "propose" or r["account"] == twins[1]:
                r["action"] = "link"
        new = {"action": "link", "target": "app", "dn": "", "name": "", "rule": "", "note": ""}
        rows += [new | {"user": p[6]["id"], "account": by_login}, new | {"user": p[7]["id"], "account": "no-such-account"},
                 new | {"user": "00000000-0000-0000-0000-000000000000", "account": shared}]
        with file.open("w", newline="") as f:
            writer = csv.DictWriter(f, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        done = w.program.cli("match", "apply", file, check=False)
        assert done.returncode == 4 and "3 linked, 0 were so already, 3 refused" in done.stdout
        refused = {line.split("refused: ")[1].split(" (")[0] for line in done.stderr.splitlines()}
        assert refused == {"a row before names this account, too", "the target has no such account",
                           "that user is not in the target's scope"}
        w.program.wait(lambda: all(w.has(rid, e) for rid, e in ((by_login, p[0]), (by_name, p[1]), (twins[1], p[2]))),
                       "the linked accounts to be made right")
        assert w.linked() == {p[0]["id"]: (by_login, "active", True), p[1]["id"]: (by_name, "active", True),
                              p[2]["id"]: (twins[1], "active", True)}
        assert w.scim.stats()["creates"] == 0
        done = w.program.cli("match", "apply", file, check=False)  # again: nothing more
        assert done.returncode == 4 and "0 linked, 3 were so already, 3 refused" in done.stdout
        # what is linked is proposed to nobody
        assert by_name not in {r["account"] for r in w.propose(tmp_path / "after.csv")}

    def test_SFR_L4_a_person_s_link_survives_changes(self, w):
        p, (rid, _, _) = w.p[1], w.linked()[w.p[1]["id"]]
        p["dn"] = w.directory.rename(p["dn"], "renamed-by-marriage")
        w.directory.replace(p["dn"], displayName="Another Name", title="v1")
        w.program.wait(lambda: w.has(rid, p), "the changes")
        assert w.linked()[p["id"]] == (rid, "active", True)

    def test_SFR_L9_P6_CAP_Q13_one_account_is_one_person_s(self, w):
        rid = w.linked()[w.p[1]["id"]][0]
        done = w.link("add", "app", w.p[8]["id"], rid, check=False)
        assert done.returncode == 1 and "that account is another user's" in done.stderr
        free = w.seed(displayName="Nothing in common")  # any account with any user, by a person's word
        w.link("add", "app", w.p[8]["id"], free)
        w.program.wait(lambda: w.has(free, w.p[8]), "the account to be the user's")
        other = w.seed(displayName="Better")  # and another one instead
        w.program.wait(lambda: w.link("add", "app", w.p[8]["id"], other, check=False).returncode == 0, "the user to be in nobody's hands")
        w.program.wait(lambda: w.parked("conflict") or w.has(other, w.p[8]) or w.parked("name_taken"), "the other account to be tried")
        assert w.linked()[w.p[8]["id"]][0] == other, "the former account has the name, but is nobody's"
        assert w.scim.call("DELETE", f"/Users/{free}").status == 204
        w.program.cli("sync", "run", "app", "--user", w.p[8]["id"])
        w.program.wait(lambda: w.has(other, w.p[8]), "the other account to be the user's")

    def test_unlinked_is_unmanaged_until_linked_again(self, w):
        p, (rid, _, _) = w.p[1], w.linked()[w.p[1]["id"]]
        w.link("rm", "app", p["id"])
        assert w.linked()[p["id"]] == ("", "unmanaged", False)
        mark = w.scim.stats()["committed"]
        w.directory.replace(p["dn"], title="v2")
        w.program.wait(lambda: w.program.cli("user", "show", p["id"], "--json")["snapshot"]["attrs"]["title"] == ["v2"] and w.idle(),
                       "the change to be known")
        w.program.cli("sync", "run", "app", "--user", p["id"])
        w.program.wait(w.idle, "it to be looked at")
        assert w.scim.stats()["committed"] == mark and w.linked()[p["id"]][1] == "unmanaged"
        assert p["id"] not in {r["user"] for r in w.propose(w.folder / "none.csv")}, "nor is anything proposed"
        w.link("add", "app", p["id"], rid)
        w.program.wait(lambda: w.has(rid, p), "it to be managed again")
        w.program.wait(lambda: w.link("rm", "app", p["id"], "--rejoin", check=False).returncode == 0, "it to be in nobody's hands")
        w.program.wait(lambda: w.linked()[p["id"]] == (rid, "active", False), "the rules to find the account by its key")

    def test_a_linked_account_that_is_gone_is_told(self, w):
        p, (rid, _, _) = w.p[2], w.linked()[w.p[2]["id"]]
        assert w.scim.call("DELETE", f"/Users/{rid}").status == 204
        w.program.cli("sync", "run", "app", "--user", p["id"])
        w.program.wait(lambda: w.parked("linked_account_gone") == {p["id"]}, "it to be told")
        assert w.link("rm", "app", p["id"], "--rejoin").stdout.startswith("unlinked")
        w.program.wait(lambda: p["id"] in w.parked("no_account"), "the rules to find none")
        for words in (["add", "app", p["id"]], ["ls"], ["rm", "app"]):
            assert w.link(*words, check=False).returncode == 64
        assert w.link("add", "app", "00000000-0000-0000-0000-000000000000", rid, check=False).returncode == 1
