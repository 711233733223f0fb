"""Processes of the server under test, with all that they started: a kill ends everything of it at the same moment."""

import ctypes, os, pathlib, signal, subprocess, time

PR_SET_CHILD_SUBREAPER = 36


def adopt():
    """Orphans become children of this process, so that none can get away."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants():
    """Pid and name of each, this process left out."""
    parents, names = {}, {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                before, _, after = (entry / "stat").read_text().rpartition(")")
            except OSError:
                continue
            state, parent = after.split()[:2]
            if state != "Z":
                parents[int(entry.name)], names[int(entry.name)] = int(parent), before.partition("(")[2]
    found, level = {}, {os.getpid()}
    while level := {pid for pid, parent in parents.items() if parent in level and pid not in found}:
        found |= {pid: names[pid] for pid in level}
    return found


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def kill_all(sort=signal.SIGKILL, only=lambda name: True):
    for pid, name in descendants().items():
        if only(name):
            try:
                os.kill(pid, sort)
            except ProcessLookupError:
                pass


def end_all():
    """SIGKILL until nobody is left; the tracer goes last, because what it lets go of would run on."""
    deadline = time.monotonic() + 20
    kill_all(only=lambda name: name != "strace")
    while descendants():
        kill_all()
        reap()
        assert time.monotonic() < deadline, f"these do not end: {descendants()}"
        time.sleep(0.002)
    reap()


def start(command, log, environment=None):
    return subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=log.open("a"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=os.environ | (environment or {}),
    ).pid


def alive(pid):
    """Whether a child still runs; one that has ended is reaped."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == 0
    except ChildProcessError:
        return False
