"""Starts the contenders and etcd, and measures them."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
# In seconds. A command that takes longer hangs.
PATIENCE = 600


def environment(tools):
    """A bare environment, so that the settings of the caller do not change what is measured."""
    path = os.pathsep.join([str(tools), os.environ["PATH"]]) if tools else os.environ["PATH"]
    return {"PATH": path, "HOME": os.environ.get("HOME", "/"), "ETCDCTL_API": "3", "LC_ALL": "C"}


def free_ports(count):
    """Ports on which no process listens. All are held until the last is known."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


def stop(process):
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Certificates:
    """An authority, a server's certificate and a client's."""

    def __init__(self, directory, env):
        self.directory = directory
        self.authority, self.server, self.client = (directory / name for name in ("authority", "server", "client"))
        if (directory / "done").exists():
            return
        directory.mkdir(parents=True, exist_ok=True)
        new = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650".split()

        def openssl(command, *more):
            subprocess.run([*command, *more], check=True, env=env, capture_output=True, cwd=directory)

        openssl(new, "-x509", "-subj", "/CN=authority", "-addext", "basicConstraints=critical,CA:true",
                "-keyout", "authority.key", "-out", "authority.crt")
        for name in ("server", "client"):
            openssl(new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
            (directory / "extensions").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
            openssl("openssl x509 -req -days 3650 -CA authority.crt -CAkey authority.key -CAcreateserial".split(),
                    "-in", f"{name}.csr", "-out", f"{name}.crt", "-extfile", "extensions")
        (directory / "done").touch()

    def flags(self):
        """The TLS flags, which etcdctl and etcd-seal share."""
        return f"--cacert {self.authority}.crt --cert {self.client}.crt --key {self.client}.key"

    def files(self):
        return [f"{self.authority}.crt", f"{self.client}.crt", f"{self.client}.key"]


class Etcd:
    """A cluster of one that serves plain HTTP at one port and mutual TLS at another."""

    def __init__(self, data, certificates, env):
        plain, tls, peer = free_ports(3)
        self.plain, self.tls = f"127.0.0.1:{plain}", f"127.0.0.1:{tls}"
        peer = f"http://127.0.0.1:{peer}"
        help_text = subprocess.run(["etcd", "--help"], env=env, capture_output=True, text=True)
        command = [
            "etcd", "--name", "bench", "--data-dir", data, "--log-level", "error",
            "--listen-client-urls", f"http://{self.plain},https://{self.tls}",
            "--advertise-client-urls", f"http://{self.plain}",
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"bench={peer}",
            "--cert-file", f"{certificates.server}.crt", "--key-file", f"{certificates.server}.key",
            "--client-cert-auth", "--trusted-ca-file", f"{certificates.authority}.crt",
            # Room for any data set; what the loader's transactions need; less of them kept in memory.
            "--quota-backend-bytes", str(16 << 30), "--max-txn-ops", "1000", "--snapshot-count", "1000",
        ]
        if "--unsafe-no-fsync" in help_text.stdout + help_text.stderr:
            command.append("--unsafe-no-fsync")
        self.log = Path(f"{data}.log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.wait_until_it_serves()

    def wait_until_it_serves(self):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                with urllib.request.urlopen(f"http://{self.plain}/health", timeout=5) as page:
                    if json.load(page)["health"] == "true":
                        return
            time.sleep(0.1)
        stop(self.process)
        raise SystemExit(f"etcd does not start, see {self.log}")

    def cpu(self):
        """Seconds of user and system time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def sleep(self):
        """Stops the server, which then neither serves nor answers, until it is woken."""
        self.process.send_signal(signal.SIGSTOP)

    def wake(self):
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wake()
        stop(self.process)


class Link:
    """A delaying proxy before an address."""

    def __init__(self, peers, address, round_trip, threshold=1 << 62):
        self.process = subprocess.Popen(
            [peers, "delay", address, str(round_trip / 2), str(threshold)], stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()

    def first_bytes(self):
        """The time, in seconds since 1970, at which a connection first carried more than the threshold back."""
        return int(self.process.stdout.readline()) / 1e9

    def __enter__(self):
        return self

    def __exit__(self, *_):
        stop(self.process)


@dataclass
class Measured:
    """One run. Times in seconds, memory in bytes."""
    wall: float
    cpu: float
    memory: int
    server: float = 0.0
    stream: float = 0.0


def measure(command, directory, env, server=None):
    """Runs a shell command in an empty directory, with everything before it on the disk.

    User and system time are those of all its processes; the memory is that of its largest process, and never less than
    that of this interpreter, from which the system counts.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    os.sync()
    before = server.cpu() if server else 0.0
    with (directory.parent / "stderr").open("w+") as stderr:
        began = time.monotonic()
        process = subprocess.Popen(["bash", "-euo", "pipefail", "-c", command], cwd=directory, env=env,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr)
        with watchdog(process):
            _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            stderr.seek(0)
            raise SystemExit(f"failed with {process.returncode}: {command}\n{stderr.read()}")
    spent = server.cpu() - before if server else 0.0
    return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, spent)


def interrupt(command, directory, env, moment, stdout=subprocess.DEVNULL, before=None):
    """Starts a command that is one process, and interrupts it so many seconds later; `before` is called just before.

    Returns how many seconds later it is gone, or nothing where it was gone already.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    # Its standard input stays open and empty.
    process = subprocess.Popen(["bash", "-c", command], cwd=directory, env=env,
                               stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.DEVNULL)
    try:
        time.sleep(moment)
        if before:
            before()
        gone = process.poll() is not None
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        with watchdog(process):
            process.wait()
        return None if gone else time.monotonic() - began
    finally:
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


@contextlib.contextmanager
def watchdog(process):
    """Ends a process that hangs."""
    def bite(*_):
        process.kill()
    signal.signal(signal.SIGALRM, bite)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)


def load(peers, data, certificates, env, megabytes, seed):
    """A data directory with the data set, made once."""
    done = Path(f"{data}.done")
    if done.exists():
        return
    shutil.rmtree(data, ignore_errors=True)
    data.parent.mkdir(parents=True, exist_ok=True)
    with Etcd(data, certificates, env) as etcd:
        print(f"loading {megabytes} MB … ", end="", flush=True)
        print(subprocess.run([peers, "load", f"http://{etcd.plain}", str(megabytes), str(seed)],
                             check=True, capture_output=True, text=True).stdout.strip(), flush=True)
    done.touch()
