"""What a domain notices of a neighbour whose plugin loops for ever.

python3 host/waypost/benches/neighbour.py [MAILS]      after `cargo xtask build`

Sends mails to one domain one after the other, alone, beside 16 clients of the looping domain, and alone again.
"""

import collections, os, pathlib, shutil, smtplib, socket, subprocess, sys, tempfile, threading, time

ROOT = pathlib.Path(__file__).resolve().parents[3]
WAYPOST = ROOT / "target/waypost/bin/waypost"
PLUGINS = [ROOT / "target/waypost/plugins/tag.wasm", ROOT / "target/wasm32-wasip2/plugin/hostile.wasm"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def mail(client, domain):
    client.sendmail("a@b.example", ["x@" + domain], "Subject: x\r\n\r\nhello\r\n")


def loops(port, seconds):
    """In a process of its own: what the clients of the looping domain do takes no time from those that are measured."""
    end, replies = time.time() + seconds, collections.Counter()

    def client():
        while time.time() < end:
            try:
                mail(smtplib.SMTP("127.0.0.1", port), "bad.example")
                replies["250"] += 1
            except (smtplib.SMTPException, OSError) as error:
                replies[str(error)[:60]] += 1
            time.sleep(0.05)

    threads = [threading.Thread(target=client) for _ in range(16)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    print("    the neighbour's clients were told:", replies.most_common(3))


def measure(name, port, mails):
    client, times = smtplib.SMTP("127.0.0.1", port), []
    for _ in range(mails):
        started = time.perf_counter()
        mail(client, "good.example")
        times.append((time.perf_counter() - started) * 1000)
        time.sleep(0.003)
    times.sort()
    at = lambda share: times[int(len(times) * share)]
    print(f"{name:<16} p50 {at(.5):.2f}  p90 {at(.9):.2f}  p99 {at(.99):.2f}  max {times[-1]:.2f} ms", flush=True)


def main(mails):
    home = pathlib.Path(tempfile.mkdtemp())
    for name in ("domains", "plugins"):
        (home / name).mkdir()
    [shutil.copy(plugin, home / "plugins") for plugin in PLUGINS]
    port, sink = free_port(), free_port()
    (home / "waypost.toml").write_text(
        f'hostname = "gw.test"\nmax-connections-per-address = 1000\n[admin]\nlisten = "127.0.0.1:0"\n'
        f'[[listener]]\naddress = "127.0.0.1:{port}"\ntls = "none"\n'
    )
    for name, rest in (("good", 'plugins = ["tag"]'), ("bad", 'plugins = ["hostile"]\n[config.hostile]\nmessage = "loop"')):
        text = f'next-hop = "127.0.0.1:{sink}"\naccept = "always"\ntls = "none"\n{rest}\n'
        (home / f"domains/{name}.example.toml").write_text(text)
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    started = [
        subprocess.Popen([WAYPOST, "sink", "--listen", f"127.0.0.1:{sink}"], **quiet),
        subprocess.Popen([WAYPOST, "run", "--config", home / "waypost.toml"], **quiet),
    ]
    try:
        for _ in range(200):
            if socket.socket().connect_ex(("127.0.0.1", port)) == 0:
                break
            time.sleep(0.05)
        measure("alone", port, mails)
        neighbour = subprocess.Popen([sys.executable, __file__, "--loops", str(port), str(mails * 0.006 + 1)])
        time.sleep(0.7)
        measure("beside 16 loops", port, mails)
        neighbour.wait()
        measure("alone", port, mails)
    finally:
        [process.terminate() for process in started]
        [process.wait() for process in started]
        shutil.rmtree(home)


if sys.argv[1:2] == ["--loops"]:
    loops(int(sys.argv[2]), float(sys.argv[3]))
else:
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
