"""Waypost, Postfix and Exim under a load, killed or given EIO or ENOSPC at the n-th call of each sort on their spool.

python3 host/waypost/benches/sweep [SERVER...] [--kinds KILL EIO ENOSPC] [--calls FSYNC...] [--points 8] [--mails 30]
    after `cargo xtask build`, as root, with strace; --binary FILE for another Waypost; --results DIR to keep what was found
python3 host/waypost/benches/sweep --report DIR      the table

Exits with 1 where Waypost lost, cut, altered or doubled a mail.
"""

import argparse, asyncio, json, pathlib, sys

import injection, processes, report, servers, trial


def arguments():
    parser = argparse.ArgumentParser(prog="sweep", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("servers", nargs="*", default=["waypost"], metavar="SERVER", help=", ".join(servers.SERVERS))
    parser.add_argument("--kinds", nargs="+", default=["KILL", "EIO", "ENOSPC"], choices=["KILL", "EIO", "ENOSPC"])
    parser.add_argument("--calls", nargs="+", default=None, help="these system calls only")
    parser.add_argument("--points", type=int, default=8, help="how many n for each call, at the most")
    parser.add_argument("--mails", type=int, default=30, help="of each run")
    parser.add_argument("--binary", type=pathlib.Path, help="Waypost")
    parser.add_argument("--results", type=pathlib.Path, default=servers.ROOT / "target/sweep/results")
    parser.add_argument("--report", type=pathlib.Path)
    chosen = parser.parse_args()
    if unknown := set(chosen.servers) - set(servers.SERVERS):
        parser.error(f"no such server: {', '.join(unknown)}")
    return chosen


def one(server, fault, chosen, watch=False):
    """Runs a trial; what it found, and for one that watches also which calls were about the spool."""
    this, found = trial.Trial(server, fault, chosen.mails, chosen.results, watch), None
    try:
        found = asyncio.run(this.run())
        calls = injection.on_spool(this.trace, this.server.spool) if watch else None
    finally:
        kept = this.clean_up(found)
    return found, calls, kept


def sweep(name, chosen, results):
    server = servers.SERVERS[name]
    print(f"{name} {server.version()}", flush=True)
    found, calls, kept = one(server, None, chosen, watch=True)
    write(results, name, server, None, found, kept)
    for call, numbers in calls.items():
        print(f"    {call}: {len(numbers)} on the spool, up to the {numbers[-1]}th", flush=True)
    for kind in chosen.kinds:
        for call, numbers in calls.items():
            if chosen.calls is None or call in chosen.calls:
                for nth in injection.choose(numbers, chosen.points):
                    fault = injection.Fault(kind, call, nth)
                    found, _, kept = one(server, fault, chosen)
                    write(results, name, server, fault, found, kept)


def write(results, name, server, fault, found, kept):
    about = {"server": name, "version": server.version(), "kind": fault.kind if fault else "none"}
    about |= {"call": fault.call, "nth": fault.nth} if fault else {}
    results.write(json.dumps(about | found) + "\n")
    results.flush()
    print(report.line(about | found), f" kept in {kept}" if kept else "", flush=True)


def main():
    chosen = arguments()
    if chosen.report:
        print(report.table(chosen.report / "runs.jsonl"))
        return 0
    if chosen.binary:
        servers.Waypost.binary = chosen.binary.resolve()
    chosen.results = chosen.results.resolve()
    chosen.results.mkdir(parents=True, exist_ok=True)
    processes.adopt()
    with (chosen.results / "runs.jsonl").open("a") as results:
        for name in chosen.servers:
            sweep(name, chosen, results)
    print(report.table(chosen.results / "runs.jsonl"))
    return 1 if report.broken(chosen.results / "runs.jsonl", "waypost") else 0


if __name__ == "__main__":
    sys.exit(main())
