"""What a target shall hold, computed from the directory's own entries and nothing of dirpipe's; and how what it does hold is compared.

An entry is {"id": text, "immutable_id": base64, "dn": text, "enabled": bool, "attrs": {name: [text]}}; NAMES says how a kind of
directory calls what the mappings below use."""

import ldap.dn

NAMES = {
    "openldap": {"login": "uid", "principal": "mail", "display": ["displayName", "cn"], "department": "departmentNumber",
                 "number": "employeeNumber"},
    "389ds": {"login": "uid", "principal": "mail", "display": ["displayName", "cn"], "department": "departmentNumber",
              "number": "employeeNumber"},
    "ad": {"login": "sAMAccountName", "principal": "userPrincipalName", "display": ["displayName", "cn"], "department": "department",
           "number": "employeeID"},
}
UNIT_JQ = '[.dn | split(",ou="; "i")[1] | strings | split(",")[0]][0]'  # the nearest organisational unit
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


def attributes(kind):
    """The attributes that the mappings read."""
    n = NAMES[kind]
    return list(dict.fromkeys([n["login"], n["principal"], *n["display"], "givenName", "sn", "mail", "title", n["department"],
                               n["number"], "mobile", "telephoneNumber"]))


def mapping(driver, kind):
    """The configuration's mapping for a driver and a kind of directory."""
    n = NAMES[kind]
    if driver == "scim":
        return {
            "userName": n["login"], "externalId": "id", "displayName": n["display"], "name.givenName": "givenName",
            "name.familyName": "sn", "title": "title", f"{ENTERPRISE}.department": n["department"],
            f"{ENTERPRISE}.division": {"jq": UNIT_JQ},
            "emails": {"jq": '[.attrs.mail[] | {value: ., type: "work", primary: true}][:1]'},
        }
    if driver == "salesforce":
        return {
            "Username": n["principal"], "LastName": "sn", "FirstName": "givenName", "Email": "mail", "Title": "title",
            "Department": n["department"], "EmployeeNumber": n["number"], "MobilePhone": "mobile", "Phone": "telephoneNumber",
            "Division": {"jq": UNIT_JQ}, "ProfileId": {"const": "Standard User"}, "TimeZoneSidKey": {"const": "Europe/Berlin"},
        }
    if driver == "rescue":  # the id in a field of its own: tests know a technician by it through all changes of address
        return {"name": n["display"], "email": "mail", "nick": "title", "description": "id"}
    if driver == "incidentiq":
        return {
            "SchoolIdNumber": "id", "Username": n["login"], "Email": "mail", "FirstName": ["givenName", "sn"], "LastName": "sn",
            "InternalComments": "title", "Homeroom": n["department"], "Phone": "telephoneNumber", "Grade": {"jq": UNIT_JQ},
            "RoleId": {"const": "Staff"}, "LocationId": {"const": "Central Office"},
        }
    return {
        "userPrincipalName": n["principal"], "mailNickname": n["login"], "displayName": n["display"], "givenName": "givenName",
        "surname": "sn", "jobTitle": "title", "department": n["department"], "mobilePhone": "mobile",
        "businessPhones": {"all": "telephoneNumber"}, "employeeId": n["number"], "usageLocation": {"const": "DE"},
        "officeLocation": {"jq": UNIT_JQ},
    }


def unit(entry):
    """Name of the organisational unit that is nearest above the person."""
    for rdn in ldap.dn.str2dn(entry["dn"])[1:]:
        if rdn[0][0].lower() == "ou":
            return rdn[0][1]
    return None


def first(entry, *names):
    for name in names:
        if entry["attrs"].get(name):
            return entry["attrs"][name][0]
    return None


def scim_document(entry, kind):
    n = NAMES[kind]
    mail = first(entry, "mail")
    return {
        "userName": first(entry, n["login"]), "externalId": entry["id"], "displayName": first(entry, *n["display"]),
        "givenName": first(entry, "givenName"), "familyName": first(entry, "sn"), "title": first(entry, "title"),
        "department": first(entry, n["department"]), "division": unit(entry), "emails": [mail] if mail else [], "active": entry["enabled"],
    }


def scim_actual(account):
    name = account.get("name") or {}
    return {
        "userName": account.get("userName"), "externalId": account.get("externalId"), "displayName": account.get("displayName"),
        "givenName": name.get("givenName"), "familyName": name.get("familyName"), "title": account.get("title"),
        "department": (account.get(ENTERPRISE) or {}).get("department"),
        "division": (account.get(ENTERPRISE) or {}).get("division"),
        "emails": [m.get("value") for m in account.get("emails") or []], "active": account.get("active", True),
    }


def graph_document(entry, kind):
    n = NAMES[kind]
    return {
        "userPrincipalName": first(entry, n["principal"]), "onPremisesImmutableId": entry["immutable_id"],
        "mailNickname": first(entry, n["login"]), "displayName": first(entry, *n["display"]), "givenName": first(entry, "givenName"),
        "surname": first(entry, "sn"), "jobTitle": first(entry, "title"), "department": first(entry, n["department"]),
        "mobilePhone": first(entry, "mobile"), "businessPhones": entry["attrs"].get("telephoneNumber", [])[:1],
        "employeeId": first(entry, n["number"]), "usageLocation": "DE", "officeLocation": unit(entry),
        "accountEnabled": entry["enabled"],
    }


def graph_actual(account):
    wanted = ["userPrincipalName", "onPremisesImmutableId", "mailNickname", "displayName", "givenName", "surname", "jobTitle",
              "department", "mobilePhone", "employeeId", "usageLocation", "officeLocation", "accountEnabled"]
    return {**{name: account.get(name) for name in wanted}, "businessPhones": account.get("businessPhones") or []}


def salesforce_document(entry, kind):
    n = NAMES[kind]
    return {
        "Username": first(entry, n["principal"]), "DirectoryId__c": entry["id"], "LastName": first(entry, "sn"),
        "FirstName": first(entry, "givenName"), "Email": first(entry, "mail"), "Title": first(entry, "title"),
        "Department": first(entry, n["department"]), "EmployeeNumber": first(entry, n["number"]), "MobilePhone": first(entry, "mobile"),
        "Phone": first(entry, "telephoneNumber"), "Division": unit(entry), "Profile": "Standard User", "TimeZoneSidKey": "Europe/Berlin",
        "LanguageLocaleKey": "en_US", "IsActive": entry["enabled"],
    }


def salesforce_actual(account):
    """The address that was asked for counts: it shows when its owner has confirmed it."""
    wanted = ["Username", "DirectoryId__c", "LastName", "FirstName", "Title", "Department", "EmployeeNumber", "MobilePhone", "Phone",
              "Division", "Profile", "TimeZoneSidKey", "LanguageLocaleKey", "IsActive"]
    return {**{name: account.get(name) for name in wanted}, "Email": account["PendingEmail"] or account["Email"]}


def rescue_document(entry, kind):
    return {"name": first(entry, *NAMES[kind]["display"]), "email": first(entry, "mail"), "nick": first(entry, "title") or "",
            "description": entry["id"], "enabled": entry["enabled"]}


def rescue_actual(account):
    return {name: account[name] for name in ("name", "email", "nick", "description", "enabled")}


def incidentiq_document(entry, kind):
    n = NAMES[kind]
    return {
        "SchoolIdNumber": entry["id"], "Username": first(entry, n["login"]), "Email": first(entry, "mail"),
        "FirstName": first(entry, "givenName", "sn"), "LastName": first(entry, "sn"), "InternalComments": first(entry, "title"),
        "Homeroom": first(entry, n["department"]), "Phone": first(entry, "telephoneNumber"), "Grade": unit(entry), "RoleName": "Staff",
        "LocationName": "Central Office", "IsActive": entry["enabled"],
    }


def incidentiq_actual(account):
    wanted = ["SchoolIdNumber", "Username", "Email", "FirstName", "LastName", "InternalComments", "Homeroom", "Phone", "Grade", "RoleName",
              "LocationName", "IsActive"]
    return {name: account.get(name) for name in wanted}


DRIVERS = {
    "incidentiq": {"document": incidentiq_document, "actual": incidentiq_actual, "key": "SchoolIdNumber", "enabled": "IsActive"},
    "salesforce": {"document": salesforce_document, "actual": salesforce_actual, "key": "DirectoryId__c", "enabled": "IsActive"},
    "rescue": {"document": rescue_document, "actual": rescue_actual, "key": "description", "enabled": "enabled"},
    "scim": {"document": scim_document, "actual": scim_actual, "key": "externalId", "enabled": "active"},
    "graph": {"document": graph_document, "actual": graph_actual, "key": "onPremisesImmutableId", "enabled": "accountEnabled"},
}


def compare(driver, kind, entries, accounts, left=()):
    """(equal, differences): entries that stand in the target field by field, and one line for each thing that does not fit. left: keys
    of accounts whose person left; those must be there, disabled. Accounts that nobody asked for are differences too."""
    d = DRIVERS[driver]
    actual = {}
    differences = []
    for account in accounts:
        key = account.get(d["key"])
        if key in actual:
            differences.append(f"{key}: two accounts")
        actual[key] = d["actual"](account)
    equal = 0
    for entry in entries:
        want = d["document"](entry, kind)
        have = actual.pop(want[d["key"]], None)
        if have is None:
            differences.append(f"{entry['dn']}: missing")
        elif have != want:
            wrong = [f"{f}: {have[f]!r} instead of {want[f]!r}" for f in want if have[f] != want[f]]
            differences.append(f"{entry['dn']}: " + "; ".join(wrong))
        else:
            equal += 1
    for key in left:
        have = actual.pop(key, None)
        if have is not None and have[d["enabled"]]:
            differences.append(f"{key}: left but still enabled")
    differences += [f"{key}: nobody in the directory" for key in actual]
    return equal, differences
