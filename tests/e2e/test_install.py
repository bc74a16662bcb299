"""What make install puts where, and that it runs with the rights that the service files give it."""
import glob
import os
import re
import subprocess

from harness import contains, equal, main, test
from tests.world import Skip
from tests.world.base import MODE, ROOT, find_program

SENDER = "alice@client.test"
# What Docker gives to root in a container.
DOCKER = ("chown dac_override fsetid fowner mknod net_raw setgid setuid setfcap setpcap "
          "net_bind_service sys_chroot kill audit_write").split()


def unit():
    with open(os.path.join(ROOT, "etc/postern.service")) as f:
        return dict(re.findall(r"(?m)^(\w+)=(.*)$", f.read()))


def install(dest, prefix):
    subprocess.run(["make", "-s", "-C", ROOT, "MODE=" + MODE, "DESTDIR=" + dest, "PREFIX=" + prefix,
                    "install"], check=True, capture_output=True, text=True)
    return dest + prefix


@test(timeout=200)
def files(w):
    """Every program is there, and the unit names the one that was installed."""
    top = install(w.tmp.sub("dest"), "/opt/postern")
    have = {os.path.relpath(f, top) for f in glob.glob(top + "/**", recursive=True) if os.path.isfile(f)}
    roles = ("smtpd", "queue", "resolver", "policyd", "deliver", "admin")
    want = {"sbin/postern", "bin/posternctl", "share/postern/examples/postern.service"}
    want |= {"libexec/postern/postern-" + r for r in roles}
    want |= {"share/man/man%s/%s" % (p[-1], os.path.basename(p)) for p in glob.glob(ROOT + "/docs/man/*.[158]")}
    want |= {"share/postern/examples/" + os.path.basename(p) for p in glob.glob(ROOT + "/etc/*.conf")}
    equal(sorted(have), sorted(want))
    with open(top + "/share/postern/examples/postern.service") as f:
        contains(f.read(), "\nExecStart=/opt/postern/sbin/postern run ")
    done = subprocess.run([top + "/sbin/postern", "version"], capture_output=True, text=True)
    equal(done.returncode, 0, done.stderr)


def runs_with(w, name, caps):
    """Deliver a message, restart, deliver another: the second start finds everything made."""
    if os.geteuid() != 0:
        raise Skip("needs root: capabilities")
    setpriv = find_program("setpriv")
    node = w.postern(wrap=[setpriv, "--bounding-set", "-all," + ",".join("+" + c for c in caps)])
    rx = w.mx("mx1." + name)
    w.domain(name, rx)
    w.commit()
    node.start()
    node.submit(SENDER, "bob@" + name)
    rx.wait_messages(1)
    node.stop()
    node.start()
    node.submit(SENDER, "carol@" + name)
    rx.wait_messages(2)
    return node


@test(timeout=120)
def rights_of_the_unit(w):
    caps = [c.lower()[len("CAP_"):] for c in unit()["CapabilityBoundingSet"].split()]
    node = runs_with(w, "unit.test", caps)
    kept = set()
    with open("/proc/%d/status" % node.proc.pid) as f:
        bits = int(re.search(r"(?m)^CapEff:\s*(\w+)", f.read()).group(1), 16)
    for name, bit in (("kill", 5), ("setgid", 6), ("setuid", 7), ("sys_chroot", 18), ("dac_read_search", 2)):
        if bits & 1 << bit:
            kept.add(name)
    # what the supervisor wants to keep, the unit lets it have
    equal(kept, {"kill", "setgid", "setuid", "sys_chroot", "dac_read_search"})


@test(timeout=120)
def rights_of_a_container(w):
    runs_with(w, "container.test", DOCKER)


if __name__ == "__main__":
    main()
