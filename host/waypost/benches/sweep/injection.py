"""strace: which calls a server makes on its spool, and a fault at the n-th of them.

strace counts each call of each thread, or process, by itself: n is the n-th fsync that some thread makes in its life. Of a server
of many processes each one is hit that comes so far while the fault is on. Where the names of the spool's files are known beforehand,
other calls neither count nor fail; else a fault may also hit a socket or a pipe, and what it hit is looked at afterwards.
"""

import collections, dataclasses, re

CALLS = "openat write writev pwrite64 fsync fdatasync rename renameat renameat2 link unlink unlinkat ftruncate fallocate mkdir".split()
# How many calls in a row fail: an error that comes once, and a disk that stays full for a while.
ROW = {"EIO": 1, "ENOSPC": 20}
LINE = re.compile(r"^(\d+)\s+(\d+\.\d+) (?:(\w+)\(|<\.\.\. (\w+) resumed>|(\+\+\+ killed by SIGKILL))")


@dataclasses.dataclass
class Fault:
    kind: str  # KILL, or the error's name
    call: str
    nth: int

    def options(self, log, paths):
        if self.kind == "KILL":
            what, when = "signal=KILL", self.nth
        else:
            what, when = f"error={self.kind}", f"{self.nth}..{self.nth + ROW[self.kind] - 1}"
        options = ["-e", f"trace={self.call}", "-e", f"inject={self.call}:{what}:when={when}"]
        return command(log, paths) + options


def command(log, paths):
    # -D and -I 1: a tracer that is told to go lets go of what it traces. --seccomp-bpf would be quicker, but with it strace 6.1
    # sends signals at the first call only, and calls of a server that outlives its tracer would fail.
    only = [option for path in paths for option in ("-P", path)]
    return ["strace", "-D", "-I", "1", "-f", "-y", "-ttt", "-s", "0", "-o", log, *only]


def watching(log, paths):
    return [*command(log, paths), "-e", "trace=" + ",".join(CALLS)]


def lines(log):
    return log.read_text(errors="replace").splitlines() if log.exists() else []


def moments(log):
    """When faults came: each error that was injected, or the kill."""
    found = (LINE.match(line) for line in lines(log) if "(INJECTED)" in line or "+++ killed by SIGKILL" in line)
    return [float(match[2]) for match in found if match]


def has_hit(log, spool):
    """Whether a call about the spool was hit: it failed, or was the last that was begun before the kill."""
    last = ""
    for line in lines(log):
        if match := LINE.match(line):
            if match[5]:
                return is_about(last, spool)
            if "(INJECTED)" in line and is_about(line, spool):
                return True
            last = line if match[3] else last
    return False


def on_spool(log, spool):
    """For each call the numbers, each in its thread, of those that were about the spool."""
    counts, found = collections.Counter(), collections.defaultdict(list)
    for line in lines(log):
        match = LINE.match(line)
        if match and match[3]:
            counts[match[1], match[3]] += 1
            if is_about(line, spool):
                found[match[3]].append(counts[match[1], match[3]])
    return {call: sorted(numbers) for call, numbers in found.items()}


def is_about(line, spool):
    """Names without a directory are the spool's: servers that work in it name its files so."""
    return str(spool) in line or re.search(r'\("(?!/)[^"]+"', line) is not None


def choose(numbers, most):
    """At the most so many, spread evenly over all of the calls; the last ones may not come again."""
    if most == 1:
        return [numbers[len(numbers) // 2]]
    return sorted({numbers[int(step * len(numbers) * 0.95 / (most - 1))] for step in range(most - 1)} | {numbers[int(len(numbers) * 0.95)]})
