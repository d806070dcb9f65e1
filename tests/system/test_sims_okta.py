"""The 52 assertions of Okta's SCIM 2.0 spec test (the list that Okta publishes as Okta-SCIM-20-SPEC-Test.json: what a service must answer
before it may be listed), asked of our simulator and of somebody else's server. They are a foreigner's expectations: a simulator that
fails one is a mirror of our own misreading."""

import re
import time
import urllib.parse

import pytest

from test_sims import needs_npm, scim_sim, scim_user, scimmy  # noqa: F401 (fixtures)

LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
SENT = {"Accept-Charset": "utf-8", "Content-Type": "application/scim+json; charset=utf-8", "Accept": "application/scim+json",
        "User-Agent": "OKTA SCIM Integration"}
WRITES = {"Content-Type": "application/json", "Accept": "application/scim+json; charset=utf-8"}


def by_name(value):
    return "/Users?filter=" + urllib.parse.quote(f'userName eq "{value}"', safe="")


def new_user(mail):
    return {"schemas": [USER], "userName": "{name}", "name": {"givenName": "{given}", "familyName": "{family}"},
            "emails": [{"primary": True, "value": mail, "type": "work"}], "displayName": "{given} {family}", "active": True}


FULL = [(p, "not_empty", None) for p in ("name.familyName", "name.givenName", "userName", "active", "emails[0].value")]
SHOWN = [("id", "not_empty", None), *FULL]
NAMED = [("name.familyName", "equal", "{family}"), ("name.givenName", "equal", "{given}")]
NUMBERS = [(p, "is_a_number", None) for p in ("itemsPerPage", "startIndex", "totalResults")]

# (what it is for, method, path, body, status, [(property, comparison, value)])
STEPS = [
    ("the users endpoint", "GET", "/Users?count=1&startIndex=1", None, 200,
     [("Resources", "not_empty", None), ("schemas", "has_value", LIST), *NUMBERS,
      *[("Resources[0]." + p, how, value) for p, how, value in SHOWN]]),
    ("one user", "GET", "/Users/{first}", None, 200, [*SHOWN, ("id", "equal", "{first}")]),
    ("nobody by name", "GET", by_name("abcdefgh@atko.example"), None, 200,
     [("schemas", "has_value", LIST), ("totalResults", "equal", "0")]),
    ("nobody by id", "GET", "/Users/010101001010101011001010101011", None, 404,
     [("detail", "not_empty", None), ("schemas", "has_value", ERROR)]),
    ("the new user is not there yet", "GET", by_name("{mail}"), None, 200,
     [("totalResults", "equal_number", 0), ("schemas", "has_value", LIST)]),
    ("a user with realistic values", "POST", "/Users", new_user("{mail}"), 201,
     [("active", "equal", "true"), ("id", "not_empty", None), *NAMED, ("schemas", "has_value", USER), ("userName", "equal", "{name}")]),
    ("the user is there", "GET", "/Users/{made}", None, 200, [("userName", "equal", "{name}"), *NAMED]),
    ("the same user again", "POST", "/Users", new_user("{name}"), 409, []),
    ("the name in capitals", "GET", by_name("{caps}"), None, 200, []),
    ("the groups endpoint", "GET", "/Groups", None, 200, [("", "answered_within_ms", 600)]),
    ("a token that is none", "GET", by_name("{caps}"), None, 401,
     [("detail", "not_empty", None), ("status", "equal", "401"), ("", "has_value", ERROR)]),
    ("a user id that was never given", "GET", "/Users/00919288221112222", None, 404,
     [("detail", "not_empty", None), ("status", "equal", "404"), ("schemas", "has_value", ERROR)]),
]


def test_the_list_has_all_52():
    assert sum(1 + len(checks) for *_, checks in STEPS) == 52


def at(body, path):
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        body = body[int(index)] if index else body[name]
    return body


def holds(answer, took_ms, path, how, value):
    if how == "answered_within_ms":
        return took_ms < value
    have = at(answer.body, path)
    text = str(have).lower() if isinstance(have, bool) else str(have)
    return {"not_empty": lambda: have not in (None, "", [], {}),
            "is_a_number": lambda: isinstance(have, int) and not isinstance(have, bool),
            "has_value": lambda: value in str(have) if path == "" else value in have,
            "equal_number": lambda: have == value,
            "equal": lambda: text == str(value)}[how]()


def fill(value, words):
    if isinstance(value, dict):
        return {k: fill(v, words) for k, v in value.items()}
    if isinstance(value, list):
        return [fill(v, words) for v in value]
    return re.sub(r"\{(\w+)\}|%7B(\w+)%7D", lambda m: words[m[1] or m[2]], value) if isinstance(value, str) else value


@pytest.mark.parametrize("server", ["ours", pytest.param("stranger", marks=needs_npm)])
def test_a_service_meets_okta(server, request):
    service = request.getfixturevalue("scim_sim" if server == "ours" else "scimmy")
    if server == "ours":
        service.reset()
        service.knobs(dialect="rfc")
    else:
        for user in service.dump():
            service.call("DELETE", "/Users/" + user["id"])
    assert service.call("POST", "/Users", scim_user("first@example.com")).status == 201
    words = {"name": "runscope300@atko.example", "caps": "RUNSCOPE300@ATKO.EXAMPLE", "mail": "runscope300mail@atko.example",
             "given": "Jay", "family": "Runscope"}
    failed, checked = [], 0
    for title, method, path, body, status, checks in STEPS:
        headers = dict(WRITES if body else SENT)
        if status == 401:
            headers["Authorization"] = "non-token"
        begun = time.monotonic()
        answer = service.call(method, fill(path, words), fill(body, words), headers)
        took_ms = (time.monotonic() - begun) * 1000
        checked += 1 + len(checks)
        if answer.status != status:
            failed.append(f"{title}: {answer.status} {answer.raw}")
            continue
        failed += [f"{title}: {p} {how} {value}: {answer.raw}" for p, how, value in checks
                   if not holds(answer, took_ms, p, how, fill(value, words))]
        if title == "the users endpoint":
            words["first"] = answer.body["Resources"][0]["id"]
        elif method == "POST" and status == 201:
            words["made"] = answer.body["id"]
    assert not failed
    assert checked == 52
