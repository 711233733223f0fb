"""What an honest client notices of thousands of connections that sit there, or send a byte a second.

python3 host/waypost/benches/idle.py [IDLE [TRICKLING [SECONDS]]]      after `cargo xtask build`

Measures an honest client for SECONDS (30): alone, then while IDLE (20,000) connections have said EHLO and wait and TRICKLING
(200) send a byte each second, in a command, in DATA and in BDAT; then alone again. Limits are the defaults but for
max-connections, so the connections come from many addresses of 127.0.0.0/8. It is half as high again: near it, those who
only wait are sent away sooner.
"""

import multiprocessing, pathlib, resource, selectors, shutil, smtplib, socket, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parents[3]
WAYPOST = ROOT / "target/waypost/bin/waypost"
PER_ADDRESS, PER_NETWORK = 50, 4
# Besides clients: the honest one, the spool, the next hop, the runtime.
OWN_FILES = 150
START = b"EHLO slow.example\r\nMAIL FROM:<a@slow.example>\r\nRCPT TO:<x@good.example>\r\n"
SLOWLY = [b"NOOP " + b"x" * 1000, b"x: y\r\n" * 1000, b"x: y\r\n" * 1000]
BEGIN = [b"", START + b"DATA\r\n", START + b"BDAT 1000000\r\n"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def address(number):
    """Of the connection with this number: few of one address, few addresses of one network."""
    host = number // PER_ADDRESS
    return f"127.1.{host // PER_NETWORK}.{host % PER_NETWORK + 1}"


def connect(port, number):
    client = socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(address(number), 0))
    greeting = client.recv(1000)
    assert greeting.startswith(b"220"), greeting
    return client


def hold(port, idle, trickling, ready, stop):
    """Opens them all, keeps them, and says at the end how many are still open."""
    clients = [connect(port, number) for number in range(idle)]
    for client in clients:
        client.sendall(b"EHLO idle.example\r\n")
    slow = [connect(port, idle + number) for number in range(trickling)]
    for number, client in enumerate(slow):
        client.sendall(BEGIN[number % 3])
    replies = selectors.DefaultSelector()
    for client in clients + slow:
        client.setblocking(False)
        replies.register(client, selectors.EVENT_READ)
    gone = drain(replies)
    ready.put(len(clients) + len(slow) - gone)
    sent = 0
    while not stop.wait(1):
        for number, client in enumerate(slow):
            text = SLOWLY[number % 3]
            try:
                client.send(text[sent % len(text)].to_bytes())
            except OSError:
                pass
        sent += 1
        gone += drain(replies)
    ready.put(len(clients) + len(slow) - gone)


def drain(replies):
    """Reads what is there; how many were closed."""
    gone = 0
    for key, _ in replies.select(0.5):
        try:
            is_open = key.fileobj.recv(4096)
        except BlockingIOError:
            continue
        except OSError:
            is_open = b""
        if not is_open:
            replies.unregister(key.fileobj)
            gone += 1
    return gone


def honest(name, port, seconds):
    """Each mail over a connection of its own, from the connect to the reply to QUIT; then over one that is kept."""
    whole, kept = [], []
    until = time.time() + seconds / 2
    while time.time() < until:
        whole.append(timed(lambda: one_mail(port)))
    client = smtplib.SMTP("127.0.0.1", port)
    until = time.time() + seconds / 2
    while time.time() < until:
        kept.append(timed(lambda: send(client)))
    client.quit()
    print(f"{name:<36} {figures('with its connection', whole)}   {figures('kept connection', kept)}", flush=True)


def one_mail(port):
    with smtplib.SMTP("127.0.0.1", port) as client:
        send(client)


def send(client):
    client.sendmail("a@b.example", ["honest@good.example"], "Subject: x\r\n\r\n" + "hello\r\n" * 500)


def timed(work):
    started = time.perf_counter()
    work()
    time.sleep(0.002)
    return (time.perf_counter() - started - 0.002) * 1000


def figures(what, times):
    times.sort()
    at = lambda share: times[int(len(times) * share)]
    return f"{what}: {len(times)} mails, p50 {at(0.5):.2f}  p99 {at(0.99):.2f}  most {times[-1]:.2f} ms"


def memory(pid):
    """Resident now and at the most, in MiB."""
    status = (pathlib.Path("/proc") / str(pid) / "status").read_text()
    return [int(status.split(f"{name}:")[1].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")]


def within_limit(idle, trickling):
    """A connection is a descriptor, and the gateway inherits how many it may have."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if idle + trickling + OWN_FILES > hard:
        print(f"a process may have {hard} descriptors here (ulimit -Hn): {hard - trickling - OWN_FILES} idle connections instead of {idle}")
    return min(idle, hard - trickling - OWN_FILES)


def main(idle, trickling, seconds):
    idle = within_limit(idle, trickling)
    home = pathlib.Path(tempfile.mkdtemp())
    for name in ("domains", "plugins"):
        (home / name).mkdir()
    port, hop = free_port(), free_port()
    (home / "waypost.toml").write_text(
        f'hostname = "gw.test"\nmax-connections = {(idle + trickling) * 3 // 2}\n[admin]\nlisten = "127.0.0.1:0"\n'
        f'[[listener]]\naddress = "127.0.0.1:{port}"\ntls = "none"\n'
    )
    (home / "domains/good.example.toml").write_text(f'next-hop = "127.0.0.1:{hop}"\naccept = "always"\ntls = "none"\n')
    sink = subprocess.Popen([WAYPOST, "sink", "--quiet", "--listen", f"127.0.0.1:{hop}"], stdout=subprocess.DEVNULL)
    log = (home / "log").open("w")
    gateway = subprocess.Popen([WAYPOST, "run", "--config", home / "waypost.toml"], stdout=subprocess.DEVNULL, stderr=log)
    ready, stop = multiprocessing.Queue(), multiprocessing.Event()
    holder = multiprocessing.Process(target=hold, args=(port, idle, trickling, ready, stop))
    try:
        for _ in range(200):
            if socket.socket().connect_ex(("127.0.0.1", port)) == 0:
                break
            time.sleep(0.05)
        honest("(warm-up)", port, seconds / 3)
        honest("alone", port, seconds)
        before = memory(gateway.pid)[0]
        holder.start()
        opened = ready.get(timeout=300)
        honest(f"{idle} idle, {trickling} trickling", port, seconds)
        now, most = memory(gateway.pid)
        stop.set()
        still = ready.get(timeout=60)
        holder.join()
        print(f"connections held: {opened} at the start, {still} at the end")
        print(f"resident: {before:.0f} MiB before, {now:.0f} with them, {most:.0f} at the most; {(now - before) * 1024 / opened:.1f} KiB each")
        honest("alone again", port, seconds)
    finally:
        stop.set()
        for process in (gateway, sink):
            process.terminate()
            process.wait()
        shutil.rmtree(home)


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    main(*(numbers[:3] + [20_000, 200, 30][len(numbers) :]))
