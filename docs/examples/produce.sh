#!/usr/bin/env bash
# Sends records so that each is stored once, whatever fails on the way. Bash and curl 7.83 or newer.
#
#     produce.sh URL TOPIC < records     each line is ID, a tab, and the value; the ID is its Idempotency-Key
#
# Prints the ID and the receipt of each record that was accepted. It may be killed at any time and started again on the
# same lines: what was accepted is not stored again.
set -euo pipefail
url=$1 topic=$2
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
refused=0

# post ID VALUE: one try. Sets status (000 without an answer: nothing is known then) and after (Retry-After).
post() {
    # Longer than the gateway takes to say that its disk hangs (spool.sync_timeout, 30 s). A cut answer is none.
    if told=$(printf %s "$2" | curl -sS -o "$answer" -w '%{http_code} %header{retry-after}' --max-time 40 \
        -X POST -H "Idempotency-Key: \"$1\"" -H 'Content-Type: text/plain; charset=utf-8' --data-binary @- \
        "$url/v1/topics/$topic" 2>/dev/null); then
        read -r status after <<<"$told" || true
    else
        status=000 after=
    fi
}

# Also where it says not_accepted: that is about this try, and an earlier one may have been accepted.
is_to_be_repeated() {
    case $status in
        000 | 408 | 429 | 5??) return 0 ;;
        409) grep -q '"code":"idempotency_in_flight"' "$answer" ;;
        *) return 1 ;;
    esac
}

while IFS= read -r line; do
    id=${line%%$'\t'*} value=${line#*$'\t'}
    pause_ms=100
    # For hours if need be, but well within idempotency.lifetime (24 h).
    give_up=$((SECONDS + 12 * 3600))
    post "$id" "$value"
    while is_to_be_repeated; do
        ((SECONDS < give_up)) || { echo "no answer: $id" >&2; exit 1; }
        # With jitter: not all clients at once when a gateway is back.
        sleep_ms=$((${after:-0} * 1000 + pause_ms / 2 + RANDOM % (pause_ms / 2)))
        sleep "$((sleep_ms / 1000)).$(printf %03d $((sleep_ms % 1000)))"
        pause_ms=$((pause_ms < 2500 ? pause_ms * 2 : 5000))
        post "$id" "$value"
    done
    if [[ $status == 202 ]]; then
        printf '%s\t%s\n' "$id" "$(sed -n 's/.*"receipts":\["\([^"]*\)".*/\1/p' "$answer")"
    else
        # Refused for good, and not stored: repeating would not help.
        printf '%s\t%s\t%s\n' "$id" "$status" "$(cat "$answer")" >&2
        refused=1
    fi
done
exit "$refused"
