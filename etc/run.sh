#!/bin/sh
# make run: a gateway in the foreground, on unprivileged ports of this machine,
# with its settings and its store below run/. Real DNS, real delivery on port 25.
# The settings are written once; edit them, then `make run` again or SIGHUP.
set -eu
cd "$(dirname "$0")/.."
top=$(pwd)
mode=${MODE:-release}
dir=$top/run
etc=$dir/etc
bin=$top/build/$mode
smtp=${SMTP_PORT:-2525}
http=${HTTP_PORT:-8025}

if [ ! -e "$etc/postern.conf" ]; then
	mkdir -p "$etc"
	name=$(hostname -f 2>/dev/null || hostname)
	case $name in *.*) ;; *) name=$name.localdomain ;; esac
	if [ ! -e "$etc/key.pem" ]; then
		(umask 077 && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
			-nodes -days 3650 -subj "/CN=$name" \
			-addext "subjectAltName=DNS:$name,DNS:localhost,IP:127.0.0.1" \
			-keyout "$etc/key.pem" -out "$etc/cert.pem" 2>/dev/null)
	fi
	ca=/etc/ssl/certs/ca-certificates.crt
	[ -r $ca ] || ca=$etc/cert.pem
	user="#user       = nobody"
	[ "$(id -u)" != 0 ] || user="user         = nobody"
	cat >"$etc/postern.conf.new" <<END
# Written by \`make run\`; yours from now on. All keys: build/$mode/postern defaults
[postern]
hostname     = $name
state_dir    = $dir/state
run_dir      = $dir/run
# one account for all processes; only when started as root
$user

[listener local]
address      = 127.0.0.1:$smtp
relay_from   = 127.0.0.0/8
tls          = offered
certificate  = default

[certificate default]
cert_file    = $etc/cert.pem
key_file     = $etc/key.pem

[trust]
ca_file      = $ca

[log]
format       = text
target       = stdout

[admin]
listen       = 127.0.0.1:$http
metrics      = yes
END
	mv "$etc/postern.conf.new" "$etc/postern.conf"
	echo "run: wrote $etc/postern.conf"
fi

# what the settings say now, should they have been edited
at=$(sed -n 's/^address *= *\([^, ]*\).*/\1/p' "$etc/postern.conf" | head -n 1)
host=${at%:*}
port=${at##*:}
cat <<END
run: settings $etc, store $dir/state, log below; Ctrl-C ends it.
run: send a message to an address of yours, in another terminal:

  swaks --server $host --port $port --tls --from you@example.org --to you@example.org

  python3 -c 'import smtplib; s=smtplib.SMTP("$host",$port); s.sendmail("you@example.org",["you@example.org"],"Subject: hello\r\n\r\nFirst message.\r\n")'

run: look at it:
  $bin/posternctl -c $etc status
  $bin/posternctl -c $etc explain you@example.org

END
exec "$bin/postern" run -c "$etc"
