"""python3 -m tests.world: start a world with a few domains and print where things are.

It runs until interrupted. With `postern` as argument a node is started too.
"""
import contextlib
import sys
import threading

from . import On, Skip, World, greylist


def build(world):
    good = world.mx("mx1.example.test")
    world.domain("example.test", good)
    world.domain("signed.test", world.mx("mx1.signed.test"), signed=True)
    world.domain("clear.test", world.mx("mx1.clear.test", starttls="none"))
    world.domain("grey.test", world.mx("mx1.grey.test", greylist()))
    world.domain("refuse.test", world.mx("mx1.refuse.test", On("rcpt", "550 5.1.1 no such user")))
    world.domain("expired.test", world.mx("mx1.expired.test", cert="expired"))
    world.zone("null.test").null_mx()
    world.zone("bogus.test", bogus=True).mx(10, good)
    world.zone("servfail.test").mx(10, good).fault("servfail")
    try:
        postfix = world.postfix("mx1.postfix.test", ["postfix.test"])
        world.zone("postfix.test").mx(10, postfix)
    except Skip as e:
        print("skipped: %s" % e)
    world.commit()


def main():
    with contextlib.suppress(KeyboardInterrupt), World() as world:
        build(world)
        if "postern" in sys.argv[1:]:
            node = world.postern().start()
            print("postern       %s port %d, settings %s" % (*node.smtp, node.etc))
        print(world.describe())
        print("Ctrl-C ends it.", flush=True)
        forever = threading.Event()
        while True:
            forever.wait(1)  # a signal that comes just before an endless wait would be missed


if __name__ == "__main__":
    main()
