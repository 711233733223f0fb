"""Takes a delivery status notification (the file argv[1]) apart with Python's own parser; prints JSON."""

import email
import email.policy
import json
import sys

POLICY = email.policy.SMTPUTF8.clone(refold_source="none", max_line_length=0)

with open(sys.argv[1], "rb") as file:
    report = email.message_from_binary_file(file, policy=POLICY)
parts = report.get_payload()


def blocks(part):
    """The groups of fields, whichever of the two types the parser knows."""
    text = part.as_bytes(policy=POLICY).decode()
    groups = text.replace("\r\n", "\n").split("\n\n")[1:]
    fields = [[line.split(": ", 1) for line in group.split("\n") if line] for group in groups]
    return [{name: value for name, value in group} for group in fields if group]


json.dump(
    {
        "type": report.get_content_type(),
        "report-type": report.get_param("report-type"),
        "defects": [repr(defect) for part in report.walk() for defect in part.defects],
        "to": str(report["To"]),
        "from": str(report["From"]),
        "auto-submitted": str(report["Auto-Submitted"]),
        "parts": [part.get_content_type() for part in parts],
        "explanation": parts[0].get_content(),
        "status": blocks(parts[1]),
        "returned": parts[2].as_bytes().decode(errors="replace"),
    },
    sys.stdout,
)
