"""[resolver] dnssec = validate: the node checks every signature itself, behind a name server that is worth nothing.

All of test_dane_mail.py again, with a resolver that never says AD. What else such a resolver may do: test_validate.py."""
import test_dane_mail  # noqa: F401, its tests
from dane import node_of, validating
from harness import main


def setup(w):
    node = node_of(w)
    node.merge(node.settings, {"resolver": validating(w, w.front().set("strip"))})
    return node.start()


if __name__ == "__main__":
    main(setup)
