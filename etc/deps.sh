#!/bin/sh
# Install the Debian packages that are missing; say what is done, and do nothing
# when all is there. Usage: deps.sh build|all
#
# Services that packages bring (knot, unbound, postfix) are not started: the
# tests run private instances of their own.
set -eu
cd "$(dirname "$0")"
case "${1:-all}" in
build) lists="packages.build" ;;
all) lists="packages.build packages.test" ;;
*) echo "deps.sh: found '$1', wanted build or all" >&2; exit 2 ;;
esac

missing=""
for p in $(cat $lists | sed 's/#.*//' | sort -u); do
	case "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null)" in
	installed) ;;
	*) missing="$missing $p" ;;
	esac
done
[ -n "$missing" ] || exit 0

echo "deps: installing$missing"
sudo=""
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null 2>&1 || {
		echo "deps: these packages are missing and need root to install:" >&2
		echo "  apt-get install --no-install-recommends$missing" >&2
		exit 1
	}
	sudo="sudo"
fi
rc=/usr/sbin/policy-rc.d
if [ ! -e $rc ]; then
	printf '#!/bin/sh\nexit 101\n' | $sudo tee $rc >/dev/null
	$sudo chmod 755 $rc
	trap '$sudo rm -f $rc' EXIT
	trap 'exit 130' INT TERM HUP
fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get -qq update
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y \
	--no-install-recommends -o Dpkg::Use-Pty=0 $missing >/dev/null
echo "deps: done"
