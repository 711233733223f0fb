"""One server, one load, one fault: what came of it."""

import asyncio, contextlib, json, pathlib, shutil, signal, tempfile, time

import checker, client, hops, injection, processes

DOMAINS = ("quick.example", "slow.example", "away.example")
# Seconds. An error that a call of each process gets ends with the tracer, this long after it first came.
LASTING = 1.0
AWAY = 1.5
SESSIONS = 4
PACE = 0.1
LIMIT = 60.0


class Trial:
    def __init__(self, server, fault, count, results, watch=False):
        self.kind, self.fault, self.count, self.watch, self.results = server, fault, count, watch, results
        self.home = pathlib.Path(tempfile.mkdtemp(prefix=f"{server.__name__.lower()}-", dir=results))
        self.home.chmod(0o755)
        self.arrived, self.faults, self.starts, self.number = [], [], 0, 0
        # What it took beside starting what was killed.
        self.restarts = {"start": 0, "serving": 0, "stuck": 0}

    async def run(self):
        self.hops = [hops.Hop(self.arrived), hops.Hop(self.arrived, hops.SLOW), hops.Hop(self.arrived)]
        ports = dict(zip(DOMAINS, (hop.port for hop in self.hops))) | {"client.test": self.hops[0].port}
        self.server = self.kind(self.home, ports)
        self.load = client.Load(self.server.port, DOMAINS, self.count, SESSIONS, self.results / "client.jsonl", PACE)
        for hop in self.hops[:2]:
            await hop.listen()
        back = asyncio.create_task(self.come_back())
        started = time.monotonic()
        try:
            self.begin()
            sending = asyncio.create_task(self.load.run())
            finished = await self.until(sending.done)
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending
            await back
            drained = finished and await self.drain()
            queued = await self.listing()
        finally:
            processes.end_all()
            back.cancel()
            for hop in self.hops:
                await hop.close()
        found = checker.check(self.load.acknowledged, self.arrived, queued or [], self.faults)
        found |= {"sent": finished, "drained": drained, "restarts": self.restarts}
        traces = [self.home / f"trace-{number}" for number in range(self.number)]
        found |= {"hit": bool(self.faults), "on_spool": bool(self.faults) and any(injection.has_hit(trace, self.server.spool) for trace in traces)}
        found |= {"seconds": round(time.monotonic() - started, 1), "replies": self.load.replies}
        return found

    async def come_back(self):
        await asyncio.sleep(AWAY)
        await self.hops[2].listen()

    def begin(self):
        """At first with the fault. The start after a kill, which finds mail to recover, has it once more."""
        self.trace = self.home / f"trace-{self.number}"
        self.number += 1
        tracer = []
        if self.watch:
            tracer = injection.watching(self.trace, self.server.paths)
        elif self.fault and self.starts < (2 if self.fault.kind == "KILL" else 1):
            tracer = self.fault.options(self.trace, self.server.paths)
        self.starts += 1
        self.pid = processes.start(self.server.wrapped(tracer), self.home / "output", self.server.environment)
        self.traced, self.first, self.load.greeted = bool(tracer), None, False

    async def until(self, condition, limit=LIMIT):
        """Looks after the server meanwhile."""
        deadline = time.monotonic() + limit
        while not condition():
            if time.monotonic() > deadline:
                return False
            await self.look_after()
            await asyncio.sleep(0.005)
        return True

    async def look_after(self):
        times = injection.moments(self.trace) if self.traced else []
        killed = self.fault and self.fault.kind == "KILL" and times
        ended = not processes.alive(self.pid)
        if times and not killed:
            self.first = self.first or time.monotonic()
            self.faults = [(times[0], times[-1])]
            if time.monotonic() - self.first > LASTING or ended:
                self.let_go()
        if killed or ended:
            # One process of several may have died: the rest goes with it, as when the machine stops.
            await asyncio.to_thread(processes.end_all)
            # What the dead have sent is still being read.
            await asyncio.sleep(0.05)
            times = injection.moments(self.trace) if self.traced else []
            if self.traced and times:
                self.faults.append((times[0], time.time()))
            if not killed:
                self.restarts["serving" if self.load.greeted else "start"] += 1
            self.begin()

    def let_go(self):
        if self.traced and not self.watch:
            processes.kill_all(signal.SIGTERM, lambda name: name == "strace")
            times = injection.moments(self.trace)
            self.faults = [(times[0], times[-1])] if times else self.faults
            self.traced = False

    async def drain(self):
        """Until all is settled; where it isn't, a plain restart shows whether that is what it needs."""
        if self.fault and self.fault.kind != "KILL":
            self.let_go()
        if await self.settled():
            return True
        self.restarts["stuck"] += 1
        processes.end_all()
        self.fault = None
        self.begin()
        return await self.settled()

    async def settled(self):
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            if await self.until(self.all_arrived, deadline - time.monotonic()):
                if (await self.listing()) == []:
                    return True
                await self.until(lambda: False, 0.2)
        return False

    def all_arrived(self):
        known = {(entry["name"], recipient) for entry in self.arrived for recipient in entry["recipients"]}
        told = {entry["name"] for entry in self.arrived if entry["verdict"] == "notification"}
        acknowledged = self.load.acknowledged.items()
        return all(name in told or (name, one) in known for name, all_of in acknowledged for one in all_of)

    async def listing(self):
        return await asyncio.to_thread(self.server.queued)

    def clean_up(self, found):
        """What has gone wrong is kept, to be looked at."""
        if found is None or any(found[key] for key in ("lost", "half", "altered", "outside")) or not found["drained"]:
            with (self.home / "arrived.jsonl").open("w") as file:
                file.writelines(json.dumps(entry) + "\n" for entry in self.arrived)
            shutil.copy(self.results / "client.jsonl", self.home)
            return self.home
        shutil.rmtree(self.home)
        return None
