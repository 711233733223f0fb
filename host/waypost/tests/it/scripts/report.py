"""Takes a delivery status notification (the file argv[1]) apart with Python's own parser; prints JSON."""

import base64
import email
import email.policy
import json
import re
import sys

POLICY = email.policy.SMTPUTF8.clone(refold_source="none", max_line_length=0)

with open(sys.argv[1], "rb") as file:
    report = email.message_from_binary_file(file, policy=POLICY)
parts = report.get_payload()


def blocks(part):
    """The groups of fields, whichever of the two types the parser knows."""
    text = part.as_bytes(policy=POLICY).decode().replace("\r\n", "\n")
    groups = re.sub(r"\n[ \t]+", " ", text).split("\n\n")[1:]
    fields = [[line.split(": ", 1) for line in group.split("\n") if line] for group in groups]
    return [{name: value for name, value in group} for group in fields if group]


def returned(part):
    """As it was, whatever it was encoded in."""
    raw = part.as_bytes().replace(b"\r\n", b"\n")
    header, _, body = raw.partition(b"\n\n")
    encoded = part["Content-Transfer-Encoding"] == "base64"
    return (base64.b64decode(body) if encoded else raw).decode(errors="replace")


# What is in a part that is encoded is no mail to this parser before it is decoded.
checked = [report, *parts[:2], *(part for part in parts[2:] if part["Content-Transfer-Encoding"] != "base64")]

json.dump(
    {
        "type": report.get_content_type(),
        "report-type": report.get_param("report-type"),
        "defects": [repr(defect) for whole in checked for part in ([whole] if whole is report else whole.walk())
                    for defect in part.defects],
        "to": str(report["To"]),
        "from": str(report["From"]),
        "subject": str(report["Subject"]),
        "auto-submitted": str(report["Auto-Submitted"]),
        "parts": [part.get_content_type() for part in parts],
        "explanation": parts[0].get_content(),
        "status": blocks(parts[1]),
        "returned": returned(parts[2]),
    },
    sys.stdout,
)
