"""Joins what the client was answered, what the next hops got and what the server still holds."""

# A copy that is sent again is in the window if the fault came between the end of its data and this long (seconds)
# behind the reply to it: the server had no chance to learn the outcome, or was still writing it down.
WINDOW = 1.0


def check(acknowledged, arrived, queued, faults):
    """Counts, and the names that each of the bad ones is about. `faults` are spans of time, (from, to)."""
    copies, told = {}, set()
    for entry in arrived:
        if entry["verdict"] == "notification":
            told.add(entry["name"])
            continue
        for recipient in entry["recipients"]:
            copies.setdefault((entry["name"], recipient), []).append(entry)
    wanted = [(name, recipient) for name, recipients in acknowledged.items() for recipient in recipients]
    missing = [one for one in wanted if one not in copies]
    found = {
        "acknowledged": len(acknowledged),
        "delivered": sum(one in copies for one in wanted),
        "returned": [one for one in missing if one[0] in told],
        "kept": [one for one in missing if one[0] not in told and one[0] in queued],
        "lost": [one for one in missing if one[0] not in told and one[0] not in queued],
        "half": sorted({entry["name"] for entry in arrived if entry["verdict"] == "half"}),
        "altered": sorted({entry["name"] or "?" for entry in arrived if entry["verdict"] == "altered"}),
    }
    return found | duplicates(copies, faults)


def duplicates(copies, faults):
    """Those in the window, with how far behind the reply the fault came at the most, and those outside of it."""
    unanswered, unsettled, outside, oldest = [], [], [], 0.0
    for key, entries in copies.items():
        entries.sort(key=lambda entry: entry["dot"])
        for entry in entries[:-1]:
            reply = entry["reply"]
            ages = [max(0.0, start - (reply or start)) for start, end in faults if end >= entry["dot"]]
            age = min(ages, default=None)
            if age is None or age > WINDOW:
                outside.append((*key, age))
            else:
                (unanswered if reply is None else unsettled).append(key)
                oldest = max(oldest, age)
    return {"unanswered": unanswered, "unsettled": unsettled, "outside": outside, "oldest": oldest}
