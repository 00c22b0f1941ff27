#!/usr/bin/env bash
# Takes records so that each has its effect once, whatever fails on the way. Bash and curl.
#
#     consume.sh URL TOPIC CONSUMER DIRECTORY
#
# The effect here is a file in DIRECTORY, named by the record's place and holding its value. A record that is not text
# (in UTF-8) cannot be handled: after three deliveries it is in the topic CONSUMER.dead-letters, and the others go on.
# It may be killed at any time and started again.
set -euo pipefail
url=$1 topic=$2 consumer=$3 directory=$4
# Always the same for one process at a time: what it had open when it died comes again at once.
client=example
mkdir -p "$directory"
head=$(mktemp) value=$(mktemp)
trap 'rm -f "$head" "$value"' EXIT

# call CURL-OPTION...: one try. Sets status, 000 without an answer; the answer is in $head and $value. Polls wait 10 s.
call() { status=$(curl -sS -D "$head" -o "$value" -w '%{http_code}' --max-time 40 "$@" 2>/dev/null) || status=000; }

field() { tr -d '\r' <"$head" | sed -n "s/^$1: //Ip" | head -n 1; }

# settle CALL BODY: acknowledges or gives back. Without an answer, or where the lease was lost, the record comes again.
settle() { call -X POST -H 'Content-Type: application/json' -d "$2" "$url/v1/consumers/$consumer/$1"; }

while true; do
    call -X PUT -H 'Content-Type: application/json' -d "{\"topics\":[\"$topic\"],\"max_deliveries\":3}" \
        "$url/v1/consumers/$consumer"
    case $status in
        200 | 201) break ;;
        409) cat "$value" >&2 && exit 1 ;;
        # Also 404: the topic is there with its first record.
        *) sleep 0.2 ;;
    esac
done

while true; do
    call -X POST -H 'Accept: application/octet-stream' "$url/v1/consumers/$consumer/poll?max=1&wait=10&client=$client"
    place="$(field Postrider-Topic)-$(field Postrider-Partition)-$(field Postrider-Offset)"
    delivery=$(field Postrider-Delivery-Id)
    if [[ $status == 204 ]]; then
        continue
    elif [[ $status != 200 ]]; then
        sleep 0.2
    elif [[ -z $delivery ]]; then
        echo "the record's headers do not fit an answer's: this needs a client that reads JSON" >&2
        exit 1
    elif iconv -f utf-8 -t utf-8 "$value" >/dev/null 2>&1; then
        # Done again, it has the same effect: deliveries are repeated, so this must be so.
        cp "$value" "$directory/.$place"
        sync "$directory/.$place"
        mv "$directory/.$place" "$directory/$place"
        # Only now: what is acknowledged does not come again.
        settle acks "{\"deliveries\":[\"$delivery\"]}"
    else
        settle nacks "{\"deliveries\":[\"$delivery\"],\"delay_ms\":100,\"reason\":\"not text\"}"
    fi
done
