"""Waypost, Postfix and Exim, each as a relay for the same domains with its spool in one directory."""

import json, os, pathlib, pwd, re, shutil, subprocess

import hops

ROOT = pathlib.Path(__file__).resolve().parents[4]
DEBIAN = ROOT / "target/sweep/exim"


def output(command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def listing(command):
    """Standard output; none where the server cannot tell."""
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=10)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None


class Server:
    """`next_hops` is the port for each domain. The directory is the server's own, and new."""

    environment = {}
    # Of the spool, where they are known beforehand.
    paths = ()

    def __init__(self, home, next_hops):
        self.home, self.next_hops, self.port = home, next_hops, hops.free_port()
        self.spool = home / "spool"
        self.set_up()

    def write(self, name, text):
        (self.home / name).parent.mkdir(parents=True, exist_ok=True)
        (self.home / name).write_text(text)

    def wrapped(self, tracer):
        """What starts it in the foreground."""
        return [*tracer, *self.command()]


class Waypost(Server):
    binary = ROOT / "target/waypost/bin/waypost"
    settings = "as shipped"

    def set_up(self):
        self.spool = self.home / "data/queue"
        names = ["", "segments", "lock", "ballast", "ballast.trial"]
        names += ["queue.sqlite" + ending for ending in ("", "-wal", "-shm", ".salvaged")]
        segments = [f"segments/{number:010}.seg" for number in range(1, 10)]
        self.paths = [self.spool / name for name in names + segments]
        self.write(
            "waypost.toml",
            f'hostname = "gw.test"\n[admin]\nlisten = "127.0.0.1:0"\n'
            f'[[listener]]\naddress = "127.0.0.1:{self.port}"\ntls = "none"\n',
        )
        for domain, port in self.next_hops.items():
            text = f'next-hop = "127.0.0.1:{port}"\naccept = "always"\ntls = "none"\n'
            self.write(f"domains/{domain}.toml", text)

    def command(self):
        return [self.binary, "run", "--config", self.home / "waypost.toml"]

    def queued(self):
        """Senders of what waits, a name for each mail."""
        told = listing([self.binary, "queue", "list", "--json", "--limit", "10000", "--config", self.home / "waypost.toml"])
        return told and [entry["sender"].split("@")[0] for entry in json.loads(told)["recipients"]]

    @classmethod
    def version(cls):
        return output([cls.binary, "--version"]).split()[-1]


class Postfix(Server):
    settings = (
        "Debian's defaults, with waits of a second where the default is a minute or more (`queue_run_delay`, "
        "`minimal_backoff_time`, `maximal_backoff_time`, `transport_retry_time`, `service_throttle_time`)"
    )
    programs = pathlib.Path("/usr/lib/postfix/sbin")

    def set_up(self):
        (self.home / "data").mkdir()
        self.spool.mkdir()
        for part in (self.home, *self.home.parents):
            assert part.stat().st_mode & 0o001, f"Postfix's processes cannot enter {part}"
        os.chown(self.home / "data", pwd.getpwnam("postfix").pw_uid, -1)
        self.environment = {"MAIL_CONFIG": str(self.home / "etc")}
        transports = "".join(f"{domain} relay:[127.0.0.1]:{port}\n" for domain, port in self.next_hops.items())
        self.write("etc/transport", transports)
        self.write("etc/main.cf", POSTFIX.format(self=self, domains=", ".join(self.next_hops)))
        self.write("etc/master.cf", f"127.0.0.1:{self.port} inet n - n - - smtpd\n" + POSTFIX_SERVICES)
        told = output(["/usr/sbin/postfix", "-c", self.home / "etc", "check"])
        assert "fatal" not in told, told

    def command(self):
        return [self.programs / "master", "-c", self.home / "etc", "-d"]

    def queued(self):
        told = listing(["/usr/sbin/postqueue", "-c", self.home / "etc", "-j"])
        if told is None:
            return None
        listed = [json.loads(line)["sender"].split("@")[0] for line in told.splitlines()]
        # What could not be read is put there, and is no more listed.
        aside = [re.findall(rb"X-Load: (\S+)", file.read_bytes()) for file in (self.spool / "corrupt").glob("*")]
        return listed + [name.decode() for names in aside for name in names]

    @classmethod
    def version(cls):
        return output(["/usr/sbin/postconf", "-d", "-h", "mail_version"]).strip()


class Exim(Server):
    settings = "Debian's defaults, with a queue run and a retry each second"
    binary = DEBIAN / "usr/sbin/exim4"

    def set_up(self):
        user = pwd.getpwnam("Debian-exim")
        for name in ("spool", "log"):
            (self.home / name).mkdir()
            os.chown(self.home / name, user.pw_uid, user.pw_gid)
        ports = sorted(set(self.next_hops.values()))
        hops = "".join(EXIM_TRANSPORT.format(port=port) for port in ports)
        routes = "".join(
            EXIM_ROUTER.format(name=domain.split(".")[0], domain=domain, port=port) for domain, port in self.next_hops.items()
        )
        text = EXIM.format(self=self, domains=" : ".join(self.next_hops), routes=routes, hops=hops)
        self.write("etc/exim4.conf", text)

    def inside(self, command):
        """Where its configuration is found is compiled in: it sees its own there, nobody else does."""
        pathlib.Path("/etc/exim4").mkdir(exist_ok=True)
        script = 'mount --bind "$0" /etc/exim4 && exec "$@"'
        return ["unshare", "-m", "sh", "-c", script, self.home / "etc", *command]

    def command(self):
        return [self.binary, "-bdf", "-q1s"]

    def wrapped(self, tracer):
        return self.inside([*tracer, *self.command()])

    def queued(self):
        told = listing(self.inside([self.binary, "-bp"]))
        return None if told is None else re.findall(r"<([^@<>]*)@client\.test>", told)

    @classmethod
    def version(cls):
        return re.search(r"version (\S+)", output([cls.binary, "-bV"]))[1]


SERVERS = {"waypost": Waypost, "postfix": Postfix, "exim": Exim}

POSTFIX = """compatibility_level = 3.6
queue_directory = {self.spool}
data_directory = {self.home}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
meta_directory = /etc/postfix
maillog_file_prefixes = {self.home}
maillog_file = {self.home}/maillog
myhostname = gw.test
mydestination =
mynetworks = 127.9.9.9/32
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
relay_domains = {domains}
transport_maps = texthash:{self.home}/etc/transport
smtpd_relay_restrictions = reject_unauth_destination
smtp_tls_security_level = none
biff = no
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
transport_retry_time = 1s
service_throttle_time = 1s
"""

POSTFIX_SERVICES = """pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

EXIM = """primary_hostname = gw.test
exim_path = {self.binary}
spool_directory = {self.spool}
log_file_path = {self.home}/log/%slog
pid_file_path = {self.home}/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {self.port}
domainlist relay_to_domains = {domains}
acl_smtp_rcpt = acl_rcpt
tls_advertise_hosts =
host_lookup =
rfc1413_query_timeout = 0s
never_users =
smtp_accept_max = 100
keep_environment =
begin acl
acl_rcpt:
  accept domains = +relay_to_domains
  deny message = relay not permitted
begin routers
{routes}begin transports
{hops}begin retry
* * F,2h,1s
"""

EXIM_ROUTER = """{name}:
  driver = manualroute
  domains = {domain}
  transport = hop{port}
  route_list = * 127.0.0.1
  self = send
"""

EXIM_TRANSPORT = """hop{port}:
  driver = smtp
  port = {port}
  hosts_try_dane =
"""
