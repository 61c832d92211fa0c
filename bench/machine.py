"""What a measurement needs of the machine: pinned cores, a network of its own, exact CPU clocks."""

import fcntl
import os
import platform
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

SERVER_CORE = 0
LOAD_CORE = 1
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def prepare(mtu=None):
    """Takes what a measurement needs, or ends the program. Comes first: it may start it anew."""
    if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        sys.exit("bench: cores 0 and 1 are needed, one for the server and one for the load")
    _enter_private_network(mtu)
    os.sched_setaffinity(0, {LOAD_CORE})
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    signal.signal(signal.SIGTERM, _terminate)


def _terminate(*_):
    # Once: a second one, as timeout(1) sends, must not interrupt the cleaning up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit("bench: terminated")


def _enter_private_network(mtu):
    """Re-executes the program in a network namespace of its own, where root may make one.

    Nothing else then talks on its loopback, and no port of the bench can meet one of the machine's.
    """
    if os.environ.get("VERGE_BENCH_PRIVATE"):
        _bring_loopback_up(mtu)
        return
    # Tried first: containers often refuse, and then the plain loopback has to do.
    if os.geteuid() == 0 and shutil.which("unshare"):
        if subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode == 0:
            os.environ["VERGE_BENCH_PRIVATE"] = "1"
            os.execvp("unshare", ["unshare", "-n", sys.executable, *sys.argv])
    if mtu:
        sys.exit("bench: another MTU takes a network namespace, which takes root")


def _bring_loopback_up(mtu):
    SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFMTU, IFF_UP = 0x8913, 0x8914, 0x8922, 1
    with socket.socket() as any_socket:
        request = fcntl.ioctl(any_socket, SIOCGIFFLAGS, struct.pack("16sH14x", b"lo", 0))
        flags = struct.unpack("16sH14x", request)[1] | IFF_UP
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags))
        if mtu:
            fcntl.ioctl(any_socket, SIOCSIFMTU, struct.pack("16si12x", b"lo", mtu))


def start(argv, core, **options):
    """Starts a process on one core; it dies with the bench, however the bench dies."""
    wrapped = ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", str(core), *argv]
    return subprocess.Popen(wrapped, stdin=subprocess.DEVNULL, **options)


def process_tree(pid):
    """The process and all its descendants: nginx and Varnish work in children of their own."""
    tree = [pid]
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as children:
                for child in children.read().split():
                    tree += process_tree(int(child))
    except OSError:
        pass  # it ended while being looked at
    return tree


def cpu_seconds(pid):
    """CPU time of a process tree, user and system, to the nanosecond.

    The process clock counts every thread, also those that have ended, as the scheduler does; utime
    and stime in /proc come in ticks of 10 ms.
    """
    CPUCLOCK_SCHED = 2
    total = 0.0
    for member in process_tree(pid):
        try:
            total += time.clock_gettime(~member << 3 | CPUCLOCK_SCHED)
        except OSError:
            pass
    return total


def resident_bytes(pid):
    pages = 0
    for member in process_tree(pid):
        try:
            with open(f"/proc/{member}/statm") as statm:
                pages += int(statm.read().split()[1])
        except OSError:
            pass
    return pages * os.sysconf("SC_PAGE_SIZE")


def busy_seconds(core):
    """CPU time anything has spent on a core. In ticks: good enough to notice a stranger."""
    with open("/proc/stat") as stat:
        for line in stat:
            name, *fields = line.split()
            if name == f"cpu{core}":
                user, nice, system, _idle, _iowait, irq, softirq = map(int, fields[:7])
                return (user + nice + system + irq + softirq) / TICKS_PER_S
    return 0.0


def stop(process, patience_s=5):
    """Asks the process to end, then insists, with whatever it leaves behind."""
    members = process_tree(process.pid)
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for member in members[1:]:
        try:
            os.kill(member, 9)
        except ProcessLookupError:
            pass


def description():
    model = "unknown processor"
    with open("/proc/cpuinfo") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{model}, Linux {platform.release()}"
