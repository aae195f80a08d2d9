#!/bin/sh
# timeout: 300
# The region's queries are PostgreSQL's too: each one that stands in the binary is prepared by a PostgreSQL of the
# test's own, over the region's schema. (What SQLite's driver asks of SQLite itself is not among them.)
. "$(dirname "$0")/../../guest/lib/tap.sh"
INSULA=${INSULA:-build/insula}
tools=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)
if [ -z "$tools" ] || ! command -v psql >/dev/null; then
	tap_skip postgres-queries "PostgreSQL is not installed (apt-get install postgresql starts a server, so it is not in packages.txt)"
	exit 0
fi
work=$(mktemp -d)
chmod 755 "$work"
mkdir "$work/run" && chown nobody "$work/run"
as() { setpriv --reuid nobody --regid nogroup --clear-groups "$@"; }
# shellcheck disable=SC2317
leave() {
	as "$tools/pg_ctl" -D "$work/run/data" -m immediate stop >/dev/null 2>&1
	rm -rf "$work"
}
trap leave EXIT
trap 'exit 1' INT TERM
as "$tools/initdb" -D "$work/run/data" --auth trust --username insula --locale C --encoding UTF8 --no-sync >"$work/initdb" 2>&1 &&
	as "$tools/pg_ctl" -D "$work/run/data" -w -o "-k $work/run -h ''" -l "$work/run/log" start >"$work/start" 2>&1 || {
	tap_not_ok postgres-starts "$(tail -n 1 "$work/initdb" "$work/run/log" 2>/dev/null | tail -n 1)"
	exit 1
}
ask() { psql -h "$work/run" -U insula -d postgres -X -q -v ON_ERROR_STOP=1 "$@" 2>&1; }

strings -n 6 "$INSULA" >"$work/strings"
# Steps of the schema are in the binary in their order.
grep -E '^(CREATE|ALTER) (TABLE|INDEX) ' "$work/strings" | sed 's/;*$/;/' >"$work/schema"
grep -E '^(SELECT|INSERT|UPDATE|DELETE|WITH) ' "$work/strings" | grep -v ' FROM pragma_' | sort -u >"$work/queries"
if why=$(ask -f "$work/schema"); then
	tap_ok "postgres-schema ($(wc -l <"$work/schema") steps)"
else
	tap_not_ok postgres-schema "$why"
fi
bad=0
while IFS= read -r query; do
	why=$(ask -c "PREPARE q AS $query") && continue
	bad=$((bad + 1))
	tap_not_ok "postgres-query-$bad" "$query: $why"
done <"$work/queries"
count=$(wc -l <"$work/queries")
if [ "$bad" -eq 0 ] && [ "$count" -ge 100 ]; then
	tap_ok "postgres-queries ($count)"
else
	tap_not_ok postgres-queries "$bad of $count"
fi
tap_end
