#!/bin/bash
# Run every test and say how many there were. Usage: run.sh [all|unit|fuzz|e2e]
#
# Unit tests are cmocka programs, fuzz targets run briefly over their seeds, and
# end-to-end tests are Python files tests/e2e/test_*.py that print one line
# `ok NAME`, `not ok NAME` or `skip NAME - why` per test. The last line is
# `N passed, N failed`.
# Logs of the run lie under build/<mode>/test-logs.
set -u
cd "$(dirname "$0")/.."
what=${1:-all}
mode=${MODE:-release}
out=build/$mode/test-logs
mkdir -p "$out"
passed=0
failed=0
count() { # passed failed
	passed=$((passed + $1))
	failed=$((failed + $2))
}

run_unit() {
	local t log ok bad code
	export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0}
	while IFS= read -r t; do
		log=$out/$(echo "${t#build/$mode/tests/}" | tr / -).log
		CMOCKA_MESSAGE_OUTPUT=tap timeout 180 "$t" >"$log" 2>&1
		code=$?
		ok=$(grep -cE '^\s*ok [0-9]' "$log")
		bad=$(grep -cE '^\s*not ok [0-9]' "$log")
		if [ "$code" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
		if [ "$code" -eq 0 ] && [ "$ok" -eq 0 ]; then
			echo "$t ran no test" >>"$log"
			bad=1
		fi
		count "$ok" "$bad"
		if [ "$bad" -gt 0 ]; then
			echo "FAIL $t (exit $code, log $log)"
			grep -vE '^\s*ok ' "$log" | tail -n 25
		else
			echo "ok   ${t#build/$mode/} ($ok)"
		fi
	done < <(find tests -name 'test_*.c' -not -path 'tests/fuzz/*' | sort |
		sed "s,^\(.*\)\.c$,build/$mode/\1,")
}

run_fuzz() {
	local log=$out/fuzz.log ok bad
	ls tests/fuzz/fuzz_*.c >/dev/null 2>&1 || return 0
	# the fuzz mode has its own compiler; seeds become corpora here
	if ! "${MAKE:-make}" --no-print-directory -s MODE=fuzz fuzz-build >"$log" 2>&1; then
		tail -n 20 "$log"
		echo "FAIL fuzz targets do not build"
		count 0 1
		return
	fi
	TIME=${FUZZ_TIME:-3} bash tests/fuzz/run.sh build/fuzz/fuzz/fuzz_* >>"$log" 2>&1
	ok=$(grep -c '^ok fuzz' "$log")
	bad=$(grep -c '^not ok fuzz' "$log")
	[ $((ok + bad)) -gt 0 ] || bad=1
	count "$ok" "$bad"
	grep '^not ok fuzz' "$log"
	echo "ok   fuzz targets ($ok)"
}

run_e2e() {
	local t log ok bad code
	for t in tests/e2e/test_*.py; do
		[ -f "$t" ] || continue
		log=$out/$(basename "$t" .py).log
		MODE=$mode timeout 400 python3 "$t" >"$log" 2>&1
		code=$?
		ok=$(grep -c '^ok ' "$log")
		bad=$(grep -c '^not ok ' "$log")
		if [ "$code" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
		if [ "$ok" -eq 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
		count "$ok" "$bad"
		if [ "$bad" -gt 0 ]; then
			echo "FAIL $t (exit $code, log $log)"
			grep -E '^not ok ' "$log"
			tail -n 40 "$log"
		else
			echo "ok   $t ($ok)"
		fi
		grep '^skip ' "$log"
	done
}

case $what in
all)
	run_unit
	run_fuzz
	run_e2e
	;;
unit) run_unit ;;
fuzz) run_fuzz ;;
e2e) run_e2e ;;
*)
	echo "run.sh: found '$what', wanted all, unit, fuzz or e2e" >&2
	exit 2
	;;
esac
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
