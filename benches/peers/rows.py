"""The contenders of each row, as shell commands that run in an empty directory."""

import json
import os
import random
import shutil
import subprocess
import time
from collections import defaultdict
from dataclasses import dataclass, field

from lab import Link, Measured, interrupt, measure

# More than Status, a member list and a TLS handshake together, less than the smallest database.
FIRST_BYTES = 12_288
# Runs of each command of the row `cancel` in a round.
CANCELLED = 4
CORES = os.cpu_count()


@dataclass
class Bench:
    """The parts of the commands."""
    seal: str
    peers: str
    key: str
    recipient: str
    certificates: object
    env: dict
    work: object
    rounds: int
    results: dict = field(default_factory=lambda: defaultdict(list))

    def alternate(self, group, commands, server=None):
        """Runs each of `commands` in turn, `rounds` times."""
        for number in range(self.rounds):
            for name, command in commands.items():
                measured = measure(command, self.work / "run", self.env, server)
                if name.startswith("save") and server:
                    measured.stream = self.stream_open()
                self.results[group, name].append(measured)
            print(f"  {group}: round {number + 1} of {self.rounds}", flush=True)

    def stream_open(self):
        """Seconds that the snapshot stream was open, from the archive that was saved last."""
        info = [self.seal, "info", "--json", "-i", self.key, self.work / "run" / "g.age"]
        told = subprocess.run(info, env=self.env, check=True, capture_output=True, text=True).stdout
        return json.loads(told)["stream_open_ms"] / 1000

    def save(self, address, flags="", to="g.age"):
        return f"exec {self.seal} save {to} -q -r {self.recipient} --endpoints {address} {flags}"


def snapshot(bench, etcd):
    """From a live etcd to a file, over plain HTTP and over mutual TLS."""
    for group, address, flags, files in (
        ("http", etcd.plain, "", []),
        ("mtls", etcd.tls, bench.certificates.flags(), bench.certificates.files()),
    ):
        endpoint = f"https://{address}" if files else address
        etcdctl = f"etcdctl --endpoints {endpoint} {flags} snapshot save s.db"
        bench.alternate(group, {
            "receive and discard": f"exec {bench.peers} receive {endpoint} {' '.join(files)}",
            "etcdctl": f"exec {etcdctl}",
            "etcdctl, openssl enc": f"{etcdctl}; openssl enc -aes-256-ctr -pbkdf2 -pass file:{bench.key} "
                                    "< s.db > s.enc; sync s.enc; rm s.db",
            "etcdctl, zstd | age": f"{etcdctl}; zstd -q -T{CORES} -1 < s.db | age -r {bench.recipient} > s.age; "
                                   "sync s.age; rm s.db",
            "save": bench.save(endpoint, flags),
        }, etcd)


def file(bench, source):
    """From a snapshot to an archive, from a file to a file."""
    bench.alternate("file", {
        "openssl + zstd + age": "mkfifo in out; openssl dgst -sha256 < in > in.sha & openssl dgst -sha256 < out > out.sha & "
                                f"tee in < {source} | zstd -q -T{CORES} -1 | age -r {bench.recipient} | tee out > g.age; "
                                "wait; sync g.age",
        "save --from": f"exec {bench.seal} save g.age -q -r {bench.recipient} --from {source}",
    })


def verify(bench, archive):
    """Everything in an archive checked."""
    bench.alternate("verify", {
        "age | zstd | openssl": f"age -d -i {bench.key} {archive} | zstd -dc | openssl dgst -sha256",
        "verify -i": f"exec {bench.seal} verify -q -i {bench.key} {archive}",
    })


def restore(bench, archive):
    """From an archive to a snapshot on the disk, checked."""
    bench.alternate("restore", {
        "age | zstd | openssl": "mkfifo out; openssl dgst -sha256 < out > out.sha & "
                                f"age -d -i {bench.key} {archive} | zstd -dc | tee out > s.db; wait; sync s.db",
        "restore -o": f"exec {bench.seal} restore -q -i {bench.key} {archive} -o s.db",
    })


def member(bench, archive):
    """From an archive to the data directory of a member, everything checked and synced."""
    etcdutl = "etcdutl" if shutil.which("etcdutl", path=bench.env["PATH"]) else "etcdctl"
    bench.alternate("member", {
        "age | zstd, etcdutl": f"age -d -i {bench.key} {archive} | zstd -dc > s.db; "
                               f"{etcdutl} snapshot restore s.db --data-dir d; sync -f d",
        "restore --data-dir": f"exec {bench.seal} restore -q -i {bench.key} {archive} --data-dir d",
    })


def link(bench, etcd):
    """Through a proxy that delays."""
    links = {trip: Link(bench.peers, etcd.plain, trip) for trip in (0, 20, 80)}
    try:
        bench.alternate("link", {
            name: command
            for trip, link in links.items()
            for name, command in (
                (f"etcdctl, {trip} ms", f"exec etcdctl --endpoints {link.address} snapshot save s.db"),
                (f"save, {trip} ms", bench.save(link.address)),
            )
        }, etcd)
    finally:
        for link in links.values():
            link.__exit__()


def start(bench, etcd):
    """From the start of the process to the first bytes of the snapshot of a tiny database, as a proxy sees them."""
    for transport, address, flags in (("http", etcd.plain, ""), ("mtls", etcd.tls, bench.certificates.flags())):
        scheme = "https://" if flags else ""
        for _ in range(4 * bench.rounds):
            for name, command in (
                ("etcdctl", f"exec etcdctl --endpoints {scheme}LINK {flags} snapshot save s.db"),
                ("save", bench.save(f"{scheme}LINK", flags)),
            ):
                with Link(bench.peers, address, 0, FIRST_BYTES) as link:
                    measured = measure(command.replace("LINK", link.address), bench.work / "run", bench.env)
                    # `measure` prepares before it starts; what it measured ended just now.
                    began = time.time() - measured.wall
                    first = link.first_bytes() - began
                bench.results[f"start, {transport}", name].append(
                    Measured(first, measured.cpu, measured.memory))


def cancel(bench, etcd, source, archive):
    """From SIGINT to the end of the process, at random moments of the first half of a run.

    Syncing comes last: what the second half would show is how long the disk takes.
    """
    save, open_ = f"exec {bench.seal} save -q -r {bench.recipient}", f"exec {bench.seal} {{}} -q -i {bench.key} {archive}"
    live = bench.save(etcd.plain)
    for name, command in {
        "save": live,
        "save --from": f"{save} g.age --from {source}",
        "save --from, level 19": f"{save} g.age --from {source} --level 19 --frame-size 16MiB",
        "verify": f"exec {bench.seal} verify -q {archive}",
        "verify -i": open_.format("verify"),
        "restore -o": f"{open_.format('restore')} -o s.db",
    }.items():
        # At level 19 a run takes minutes, so a fixed time stands for it.
        # Without a key `verify` proves nothing and exits with a code of its own.
        to_the_end = command.removeprefix("exec ") + " || [ $? -eq 3 ]"
        whole = 2.0 if "19" in name else measure(to_the_end, bench.work / "run", bench.env).wall
        cancelled(bench, name, command, whole / 2)
    for name, command in {
        "save, input stalls": f"{save} g.age --from -",
        "save, output not read": bench.save(etcd.plain, to="-"),
        "verify -i, input stalls": f"exec {bench.seal} verify -q -i {bench.key} -",
        "restore -o, output not read": f"{open_.format('restore')} -o -",
    }.items():
        cancelled(bench, name, command, 1.0, stdout=subprocess.PIPE)

    def fall_asleep():
        etcd.sleep()
        time.sleep(random.uniform(0.0, 0.5))

    # The member may be woken only after the measurement.
    for _ in range(CANCELLED * bench.rounds):
        try:
            cancelled(bench, "save, etcd stalls", live, 1.0, times=1, before=fall_asleep)
        finally:
            etcd.wake()
    print("  cancel: done", flush=True)


def cancelled(bench, name, command, longest, times=None, **how):
    for _ in range(times or CANCELLED * bench.rounds):
        took = None
        # The command ended before the signal: try an earlier moment.
        while took is None:
            moment = random.uniform(0.0, longest)
            took = interrupt(command, bench.work / "run", bench.env, moment, **how)
            longest = longest if took is not None else moment
        bench.results["cancel", name].append(Measured(took, 0.0, 0))
