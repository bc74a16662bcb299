"""measure.py - what a system under test cost: processor time, memory, syncs, disk writes.

Processor time comes from a control group around all processes of the system (version 1 cpuacct or
version 2 cpu.stat), so that daemons which live for a moment count too. Where none can be made
(not root, or a read-only hierarchy) it is the sum over /proc/PID/stat of the process tree,
including what parents got from children that ended; that is nearly the same, since the kernel
hands the time of a waited-for child to its parent.
"""
import contextlib
import os
import re
import time

CGROUP1 = "/sys/fs/cgroup/cpuacct"
CGROUP2 = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
TICK = os.sysconf("SC_CLK_TCK")


def read(path):
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return ""


def stat_of(pid):
    """(name, parent, user s, system s, user and system s of ended children), or None."""
    text = read("/proc/%d/stat" % pid)
    if not text:
        return None
    name = text[text.index("(") + 1:text.rindex(")")]
    f = text[text.rindex(")") + 2:].split()
    if f[0] in "ZX":
        return None
    return name, int(f[1]), *(int(x) / TICK for x in f[11:13]), (int(f[13]) + int(f[14])) / TICK


def smaps(pid):
    """(PSS, its anonymous part) of a process, kB; zeros when it is gone."""
    text = read("/proc/%d/smaps_rollup" % pid)
    pss = re.search(r"^Pss:\s+(\d+)", text, re.M)
    anon = re.search(r"^Pss_Anon:\s+(\d+)", text, re.M)
    return int(pss.group(1)) if pss else 0, int(anon.group(1)) if anon else 0


def busy():
    """(seconds that all processors worked, seconds there were) since boot."""
    f = [int(x) / TICK for x in read("/proc/stat").split("\n", 1)[0].split()[1:9]]
    idle = f[3] + f[4]
    return sum(f) - idle, sum(f)


def tree(root):
    """Process ids of root and all below it."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            st = stat_of(int(entry))
            if st:
                parents.setdefault(st[1], []).append(int(entry))
    out, todo = [], [root]
    while todo:
        pid = todo.pop()
        out.append(pid)
        todo += parents.get(pid, [])
    return out


class Group:
    """All processes of one system."""

    def __init__(self, name, root):
        self.root, self.dir, self.kind = root, None, "proc"
        name = "postern-bench-%d-%s" % (os.getpid(), name)
        tries = [("cgroup1", os.path.join(CGROUP1, name))] if os.path.exists(
            CGROUP1 + "/cpuacct.usage") else []
        own = re.search(r"^0::(/.*)$", read("/proc/self/cgroup"), re.M)
        for base in CGROUP2:
            if own and os.path.exists(base + "/cgroup.controllers"):
                tries.append(("cgroup2", os.path.join(base, own.group(1).strip("/"), name)))
        for kind, path in tries:
            try:
                os.mkdir(path)
                self.kind, self.dir = kind, path
                for pid in tree(root):
                    with open(path + "/cgroup.procs", "w") as f:
                        f.write(str(pid))
                self.cpu()
                break
            except (OSError, KeyError, ValueError):
                with contextlib.suppress(OSError):
                    os.rmdir(path)
                self.kind, self.dir = "proc", None

    def pids(self):
        if self.dir is None:
            return tree(self.root)
        return [int(p) for p in read(self.dir + "/cgroup.procs").split()]

    def cpu(self):
        """(all, user, system) seconds so far."""
        if self.kind == "cgroup1":
            return tuple(int(read("%s/cpuacct.%s" % (self.dir, n))) / 1e9
                         for n in ("usage", "usage_user", "usage_sys"))
        if self.kind == "cgroup2":
            v = dict(line.split() for line in read(self.dir + "/cpu.stat").splitlines())
            return tuple(int(v[n]) / 1e6 for n in ("usage_usec", "user_usec", "system_usec"))
        user = system = 0.0
        for pid in self.pids():
            st = stat_of(pid)
            if st:
                user, system = user + st[2] + st[4], system + st[3]  # children: not split
        return user + system, user, system

    def settle(self, limit=3.0):
        """Wait until the system rests: under 1 % of one processor over 50 ms."""
        end = time.monotonic() + limit
        before = self.cpu()[0]
        while time.monotonic() < end:
            time.sleep(0.05)
            now = self.cpu()[0]
            if now - before < 0.0005:
                return
            before = now

    def by_name(self):
        """{program: seconds} over living threads, and context switches {program: count}."""
        seconds, switches = {}, {}
        for pid in self.pids():
            st = stat_of(pid)
            if st is None:
                continue
            try:
                tasks = os.listdir("/proc/%d/task" % pid)
            except OSError:
                continue
            for task in tasks:
                f = read("/proc/%d/task/%s/schedstat" % (pid, task)).split()
                s = read("/proc/%d/task/%s/status" % (pid, task))
                if f:
                    seconds[st[0]] = seconds.get(st[0], 0) + int(f[0]) / 1e9
                for m in re.finditer(r"voluntary_ctxt_switches:\s+(\d+)", s):
                    switches[st[0]] = switches.get(st[0], 0) + int(m.group(1))
        return seconds, switches

    def memory(self):
        """(PSS, PSS of anonymous memory, processes): kB. Each shared page is divided among those
        that share it, so the sum is what the machine spends."""
        each = [smaps(pid) for pid in self.pids()]
        return sum(p for p, _ in each), sum(a for _, a in each), sum(1 for p, _ in each if p)

    def close(self):
        if self.dir:
            end = time.monotonic() + 5
            while time.monotonic() < end:
                try:
                    os.rmdir(self.dir)
                    return
                except FileNotFoundError:
                    return
                except OSError:
                    time.sleep(0.05)


class Disk:
    """Counters of the block device under a directory: all that the machine does, not one system."""

    def __init__(self, directory):
        st = os.stat(directory)
        self.path = "/sys/dev/block/%d:%d" % (os.major(st.st_dev), os.minor(st.st_dev))

    def counts(self):
        """(kB written, flushes), or None."""
        f = read(self.path + "/stat").split()
        if len(f) < 16:
            return None
        return int(f[6]) / 2, int(f[15])


def file_system(directory):
    best = ("", "?")
    for line in read("/proc/mounts").splitlines():
        f = line.split()
        at = f[1].replace("\\040", " ")
        if (directory + "/").startswith(at.rstrip("/") + "/") and len(at) >= len(best[0]):
            best = (at, f[2])
    return best[1]


def sync_time(directory, n=60):
    """Median milliseconds of a 4 KB write and fdatasync there."""
    path = os.path.join(directory, "sync-probe")
    fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    times = []
    try:
        for i in range(n):
            t = time.monotonic()
            os.pwrite(fd, b"x" * 4096, i * 4096)
            os.fdatasync(fd)
            times.append(time.monotonic() - t)
    finally:
        os.close(fd)
        os.unlink(path)
    return sorted(times)[n // 2] * 1e3


SYNC_CALLS = ("fsync", "fdatasync", "msync", "syncfs", "sync", "sync_file_range")


def strace(out, calls):
    """The words before a program to trace it: -D keeps its process id, the filter keeps
    all other system calls at full speed."""
    return ["strace", "-D", "-f", "--seccomp-bpf", "-q", "-ttt", "-o", out, "-e", "trace=" + ",".join(calls)]


def count_calls(text, begin, end):
    """{name: calls} of an strace log between two moments in Unix seconds."""
    out = {}
    for m in re.finditer(r"^\d+\s+(\d+\.\d+)\s+([a-z0-9_]+)\(", text, re.M):
        if begin <= float(m.group(1)) <= end:
            out[m.group(2)] = out.get(m.group(2), 0) + 1
    return out
