"""The values of other standards that the events are mapped to, as published.

A test compares the mapping of each event with these values.
"""

# Open Cybersecurity Schema Framework: `activity_id` of the classes in github.com/ocsf/ocsf-schema, events/iam/
# account_change.json (3001), authentication.json (3002) and user_management.json (3007). "Other" is the activity 99 of
# every class (events/base_event.json). Only the activities that some event could have are listed: the class 3002 also
# has 3, 4 and 5, which are Kerberos tickets, and 6 and 7.
OCSF_ACTIVITIES = {
    "3001/1": "Create",
    "3001/3": "Password Change",
    "3001/4": "Password Reset",
    "3001/6": "Delete",
    "3001/10": "MFA Factor Enable",
    "3001/11": "MFA Factor Disable",
    "3001/99": "Other",
    "3002/1": "Logon",
    "3002/2": "Logoff",
    "3002/99": "Other",
    "3007/1": "Create",
    "3007/2": "Update",
    "3007/3": "Delete",
    "3007/8": "Password Change",
    "3007/9": "Password Reset",
    "3007/12": "MFA Factor Enable",
    "3007/13": "MFA Factor Disable",
    "3007/99": "Other",
}
OCSF_CLASSES = {
    "3001": "Account Change; deprecated since OCSF 1.9.0, which has 3007 instead",
    "3002": "Authentication",
    "3007": "User Management; new in OCSF 1.9.0",
}

# Elastic Common Schema 9.4.0 (the npm package @elastic/ecs): the expected values of `event.type` for each value of
# `event.category` that some event has.
ECS_TYPES = {
    "api": {
        "access",
        "admin",
        "allowed",
        "change",
        "creation",
        "deletion",
        "denied",
        "end",
        "info",
        "start",
        "user",
    },
    "authentication": {"start", "end", "info"},
    "iam": {"admin", "change", "creation", "deletion", "group", "info", "user"},
    "session": {"start", "end", "info"},
}

# The event types of OpenID's Continuous Access Evaluation Profile 1.0 (29 August 2025), sections 3.1 to 3.8, and of
# the RISC Profile 1.0 (draft 04, 13 May 2025), section 2. `sessions-revoked` of RISC is deprecated, and the `opt-…`
# types are about the exchange itself.
SHARED_SIGNALS = {
    "CAEP session-revoked",
    "CAEP token-claims-change",
    "CAEP credential-change",
    "CAEP assurance-level-change",
    "CAEP device-compliance-change",
    "CAEP session-established",
    "CAEP session-presented",
    "CAEP risk-level-change",
    "RISC account-credential-change-required",
    "RISC account-purged",
    "RISC account-disabled",
    "RISC account-enabled",
    "RISC identifier-changed",
    "RISC identifier-recycled",
    "RISC credential-compromise",
    "RISC recovery-activated",
    "RISC recovery-information-changed",
}
