"""A line for each run, and a table of all."""

import collections, json

BAD = ("lost", "half", "altered", "outside")
HEAD = (
    "| server | fault | runs | hit | acknowledged | delivered | returned | still queued | lost | half | altered "
    "| twice, no reply sent | twice, not settled | twice, outside | ended at its start | ended later | stuck |"
)


def line(run):
    what = f"{run['kind']} {run['call']} #{run['nth']}" if "call" in run else "no fault"
    text = f"    {what:<24} {'hit      ' if run['on_spool'] else 'elsewhere' if run['hit'] else '-        '} {run['seconds']:5.1f} s  {run['acknowledged']} acknowledged"
    for key in ("returned", "kept", "unanswered", "unsettled", *BAD):
        if run[key]:
            text += f", {len(run[key])} {key}"
    text += "" if run["drained"] else ", NOT DRAINED"
    text += "" if run["sent"] else ", NOT SENT"
    text += "".join(f", {when}" for when, count in run["restarts"].items() if count)
    return text + (" " + str([run[key] for key in BAD if run[key]]) if any(run[key] for key in BAD) else "")


def read(file):
    return [json.loads(text) for text in file.read_text().splitlines()]


def broken(file, server):
    return any(run[key] for run in read(file) for key in BAD if run["server"] == server) or any(
        not run["drained"] for run in read(file) if run["server"] == server
    )


def table(file):
    groups = collections.defaultdict(list)
    for run in read(file):
        if run["kind"] != "none":
            groups[f"{run['server']} {run['version']}", run["kind"]].append(run)
    rows = [HEAD, "| --- | --- |" + " ---: |" * (HEAD.count("|") - 3)]
    for (server, kind), runs in groups.items():
        total = lambda key: sum(len(run[key]) for run in runs)
        cells = [server, kind, len(runs), sum(run["on_spool"] for run in runs), sum(run["acknowledged"] for run in runs)]
        cells += [sum(run["delivered"] for run in runs)]
        cells += [total(key) for key in ("returned", "kept", "lost", "half", "altered", "unanswered", "unsettled", "outside")]
        cells += [sum(run["restarts"][when] > 0 for run in runs) for when in ("start", "serving", "stuck")]
        rows.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    oldest = max((run["oldest"] for group in groups.values() for run in group), default=0)
    return "\n".join(rows) + f"\n\nThe longest from a reply to the fault that had its mail sent again: {oldest * 1000:.0f} ms."
