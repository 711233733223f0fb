"""What a domain notices of a neighbour whose next hop is down with many mails queued for it, and how fast they drain.

python3 host/waypost/benches/outage.py [QUEUED [MAILS]]      after `cargo xtask build`; needs Postfix's smtp-source

Sends MAILS (20,000) over 10 sessions to one domain, with a client beside it that measures: first alone, then while QUEUED
(100,000) mails wait for the other domain's next hop, then alone again. Then that next hop starts.
"""

import collections, pathlib, shutil, smtplib, socket, subprocess, sys, tempfile, threading, time

ROOT = pathlib.Path(__file__).resolve().parents[3]
WAYPOST = ROOT / "target/waypost/bin/waypost"
QUIET = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Sink:
    """A next hop; each line that it prints is a mail with its recipient."""

    def __init__(self, port, home):
        self.lines = home / f"sink-{port}"
        self.process = subprocess.Popen(
            [WAYPOST, "sink", "--quiet", "--listen", f"127.0.0.1:{port}"], stdout=self.lines.open("w"), stderr=subprocess.DEVNULL
        )

    def mails(self):
        with self.lines.open() as lines:
            return [line for line in lines if "@" in line]

    def wait(self, count, limit=900):
        deadline = time.time() + limit
        while len(self.mails()) < count:
            assert time.time() < deadline, f"{len(self.mails())} of {count} arrived"
            time.sleep(0.05)


def source(port, domain, count):
    command = ["smtp-source", "-d", "-s", "10", "-m", str(count), "-l", "2048", "-N", "-f", "a@b.example", "-t", f"x@{domain}"]
    subprocess.run([*command, f"127.0.0.1:{port}"], check=True)


def probe(port, stop, times):
    client = smtplib.SMTP("127.0.0.1", port)
    while not stop.is_set():
        started = time.perf_counter()
        client.sendmail("a@b.example", ["probe@good.example"], "Subject: x\r\n\r\nhello\r\n")
        times.append((time.perf_counter() - started) * 1000)
        time.sleep(0.002)
    client.quit()


def load(name, port, sink, mails):
    """Mails a second from the first that is sent to the last that has arrived."""
    before, stop, times = len(sink.mails()), threading.Event(), []
    prober = threading.Thread(target=probe, args=(port, stop, times))
    prober.start()
    started = time.perf_counter()
    source(port, "good.example", mails)
    accepted = mails / (time.perf_counter() - started)
    stop.set()
    prober.join()
    sink.wait(before + mails + len(times))
    rate = (mails + len(times)) / (time.perf_counter() - started)
    times.sort()
    at = lambda share: times[int(len(times) * share)]
    print(f"{name:<22} accepted {accepted:6.0f}/s  delivered {rate:6.0f}/s  p50 {at(.5):.2f}  p99 {at(.99):.2f} ms", flush=True)
    return rate


def main(queued, mails):
    home = pathlib.Path(tempfile.mkdtemp())
    for name in ("domains", "plugins"):
        (home / name).mkdir()
    port, good, dead = free_port(), free_port(), free_port()
    (home / "waypost.toml").write_text(
        f'hostname = "gw.test"\nmax-connections-per-address = 1000\n[admin]\nlisten = "127.0.0.1:0"\n'
        f'[[listener]]\naddress = "127.0.0.1:{port}"\ntls = "none"\n'
    )
    for name, hop in (("good", good), ("dead", dead)):
        text = f'next-hop = "127.0.0.1:{hop}"\naccept = "always"\ntls = "none"\n'
        (home / f"domains/{name}.example.toml").write_text(text)
    gateway = subprocess.Popen([WAYPOST, "run", "--config", home / "waypost.toml"], **quiet_log(home))
    sinks = [Sink(good, home)]
    try:
        for _ in range(200):
            if socket.socket().connect_ex(("127.0.0.1", port)) == 0:
                break
            time.sleep(0.05)
        load("(warm-up)", port, sinks[0], mails // 4)
        load("alone", port, sinks[0], mails)
        source(port, "dead.example", queued)
        load(f"{queued} wait beside", port, sinks[0], mails)
        load("again", port, sinks[0], mails)
        memory = (pathlib.Path("/proc") / str(gateway.pid) / "status").read_text().split("VmRSS:")[1].split()[0]
        print(f"resident memory with the backlog: {int(memory) / 1024:.0f} MiB")
        drain(dead, home, queued, sinks)
        load("alone again", port, sinks[0], mails)
    finally:
        [process.terminate() for process in [gateway, *[sink.process for sink in sinks]]]
        gateway.wait()
        shutil.rmtree(home)


def drain(port, home, queued, sinks):
    sinks.append(Sink(port, home))
    while not sinks[1].mails():
        time.sleep(0.01)
    started = time.perf_counter()
    sinks[1].wait(queued)
    rate = queued / (time.perf_counter() - started)
    time.sleep(1)
    counts = collections.Counter(word for line in sinks[1].mails() for word in line.split() if "dead.example" in word)
    twice = sum(1 for count in counts.values() if count > 1)
    print(f"drained at {rate:.0f}/s: {len(counts)} of {queued} arrived, {twice} of them twice", flush=True)


def quiet_log(home):
    return dict(stdout=subprocess.DEVNULL, stderr=(home / "log").open("w"))


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    main(*numbers[:1] or [100_000], *numbers[1:2] or [20_000])
