#!/bin/bash
# Fuzz each given target for TIME seconds, two at a time. What was found is kept
# under build/fuzz/found and printed; `ok fuzz NAME` or `not ok fuzz NAME` each.
# A target's seeds are the files tests/fuzz/seeds/<name>/*.
set -u
time=${TIME:-20}
mkdir -p build/fuzz/found
one() {
	local bin=$1 name corpus log
	name=$(basename "$bin")
	case $name in *.d | *.o) return 0 ;; esac
	corpus=build/fuzz/corpus/$name
	log=build/fuzz/$name.log
	mkdir -p "$corpus"
	[ -d "tests/fuzz/seeds/$name" ] && cp -n tests/fuzz/seeds/"$name"/* "$corpus"/ 2>/dev/null
	if "$bin" -max_total_time="$2" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
		-artifact_prefix="build/fuzz/found/$name-" "$corpus" >"$log" 2>&1; then
		echo "ok fuzz $name: $(grep -oE 'number_of_executed_units: *[0-9]+' "$log" | grep -oE '[0-9]+') runs"
	else
		echo "not ok fuzz $name (log $log)"
		grep -E 'ERROR|SUMMARY|runtime error|artifact' "$log" | head -n 10
	fi
}
export -f one
printf '%s\n' "$@" | grep -vE '\.(d|o)$' | xargs -P 2 -I{} bash -c 'one {} '"$time"
! ls build/fuzz/found/* >/dev/null 2>&1
