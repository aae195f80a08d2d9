# shellcheck shell=sh
# Steps with progress and durations, for scripts that a person watches.
#
#   step_plan N           how many steps follow (for the "[2/6]" in front)
#   step_run TITLE CMD..  runs CMD with its output in a log; on a terminal shows a bar
#                         with the time and the log's last line, elsewhere says that
#                         line every ten seconds; on failure shows the log's end
#                         and ends the script
#   step_try TITLE CMD..  the same, but returns CMD's status
#   step_begin TITLE      opens a step whose commands write to the terminal themselves
#   step_end              closes it with its duration
#   die MESSAGE           one line on stderr, status 2
#
# STEP_LOG_DIR says where logs go (default: build/log below the current directory).
# A step inside another script's step is indented: STEP_DEPTH is exported. How long a
# step took stands beside its log, and is what the bar fills towards the next time.

STEP_LOG_DIR=${STEP_LOG_DIR:-build/log}
STEP_DEPTH=${STEP_DEPTH:-}
step_count=0
step_total=
step_title=
step_since=
step_pid=

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 2
}

step_plan() {
	step_total=$1
	step_count=0
}

step_now() {
	date +%s
}

step_say() {
	printf '%s%s\n' "$STEP_DEPTH" "$*"
}

step_begin() {
	step_count=$((step_count + 1))
	step_title=$1
	step_since=$(step_now)
	step_say "[$step_count${step_total:+/$step_total}] $step_title ..."
	STEP_DEPTH="$STEP_DEPTH  "
	export STEP_DEPTH
}

step_end() {
	STEP_DEPTH=${STEP_DEPTH%  }
	step_say "[$step_count${step_total:+/$step_total}] $step_title: ${1:-done} in $(($(step_now) - step_since)) s"
}

# The last line of a log that says something, cut to a screen's width, without
# control characters.
step_last_line() {
	tail -c 2000 "$1" 2>/dev/null | tr '\r' '\n' | tr -cd '\n -~' |
		grep -v '^ *$' | tail -n 1 | cut -c 1-100
}

# step_bar SECONDS EXPECTED LINE: one line of the terminal, drawn over the last one.
# Without a time to expect, a mark wanders.
step_bar() {
	step_full='======================'
	step_width=${#step_full}
	if [ "$2" -gt 0 ]; then
		step_at=$(($1 * step_width / $2))
		[ "$step_at" -lt "$step_width" ] || step_at=$((step_width - 1))
		step_bar_text=$(printf "%.${step_at}s>%$((step_width - step_at - 1))s" "$step_full" '')
		step_of=" of about $2 s"
	else
		step_at=$(($1 % step_width))
		step_bar_text=$(printf "%${step_at}s=%$((step_width - step_at - 1))s" '' '')
		step_of=' s'
	fi
	printf '\r\033[K%s' "$(printf '%s[%s] %s%s  %s' "$STEP_DEPTH" "$step_bar_text" "$1" "$step_of" "$3" | cut -c 1-79)"
}

step_on_terminal() {
	[ -t 1 ] && [ "${TERM:-dumb}" != dumb ]
}

step_stop() {
	[ -z "$step_pid" ] || kill "$step_pid" 2>/dev/null
	exit 130
}

step_run() {
	step_try "$@" || exit 1
}

step_try() {
	step_begin "$1"
	shift
	mkdir -p "$STEP_LOG_DIR"
	step_log=$STEP_LOG_DIR/$(printf '%s' "$step_title" | tr -cs 'A-Za-z0-9.\n' '-').log
	"$@" </dev/null >"$step_log" 2>&1 &
	step_pid=$!
	trap step_stop INT TERM
	step_ticks=0
	read -r step_expected 2>/dev/null <"$step_log.seconds" || step_expected=0
	while kill -0 "$step_pid" 2>/dev/null; do
		sleep 0.2
		step_ticks=$((step_ticks + 1))
		if step_on_terminal; then
			[ $((step_ticks % 5)) -ne 0 ] ||
				step_bar $((step_ticks / 5)) "$step_expected" "$(step_last_line "$step_log")"
		elif [ $((step_ticks % 50)) -eq 0 ]; then
			step_say "$((step_ticks / 5)) s: $(step_last_line "$step_log")"
		fi
	done
	! step_on_terminal || printf '\r\033[K'
	step_status=0
	wait "$step_pid" || step_status=$?
	step_pid=
	trap - INT TERM
	[ "$step_status" -ne 0 ] || echo $(($(step_now) - step_since)) >"$step_log.seconds"
	if [ "$step_status" -ne 0 ]; then
		tail -n 12 "$step_log" | cut -c 1-200 | sed "s/^/$STEP_DEPTH/" >&2
		step_end "FAILED (status $step_status, log: $step_log)" >&2
		return $step_status
	fi
	step_end
}
