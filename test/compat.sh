#!/bin/sh
# Makes cmd/wattledger/testdata/compat from an older program: a storage path with an
# open hour, a change of the tariff, a backfill, a follower that is behind, a snapshot
# and a journal that goes on behind it, and what that program answered from it.
#
#   test/compat.sh OLD_WATTLEDGER OLD_LOADGEN FOLDER
#
# Needs Debian's prometheus. Times are of the day it runs; the answers name them, so
# they stay true for as long as the folder is kept.
set -eu
old=$1 loadgen=$2 out=$3
dir=$(mktemp -d)
mkdir -p "$out"
port=19281 prom=19290
url=http://127.0.0.1:$port
config() {
	cat <<YAML
web: {listen_address: "127.0.0.1:$port"}
storage: {flush_interval: 1s, snapshot_interval: 3s}
store: {minutes_retention: 36500d, hours_retention: 36500d}
redis: {url: "redis://127.0.0.1:1/0"}
kepler: {prometheus_url: "http://127.0.0.1:$prom"}
transform: {cost: {electricity_rate: $1, cooling_factor: 1.4, carbon_rate: 0.01}}
YAML
}
serve() {
	"$old" serve --config.file="$dir/config.yaml" --storage.path="$1" >>"$dir/log" 2>&1 &
	pid=$!
	until curl -sf "$url/-/ready" >/dev/null; do sleep 0.1; done
}
# What a Prometheus has of 90 minutes, the service has of the first 40. The newest
# samples of all are two hours old, so that no answer depends on the time of day.
now=$(date +%s)
ago() { echo "$(($1 + now % 3600 / 60))m"; } # minutes before the hour that runs
hour() { date -u -d "@$((now - now % 3600 - $1 * 3600))" +%Y-%m-%dT%H:%M:%SZ; }
cat >"$dir/prometheus.yml" <<YAML
global: {external_labels: {prometheus: compat}}
YAML
prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/tsdb" --web.enable-remote-write-receiver \
	--web.listen-address=127.0.0.1:$prom >"$dir/prometheus.log" 2>&1 &
prometheus=$!
trap 'kill $prometheus 2>/dev/null || true; kill -9 $pid 2>/dev/null || true' EXIT
until curl -sf "http://127.0.0.1:$prom/-/ready" >/dev/null; do sleep 0.2; done
"$loadgen" send -url "http://127.0.0.1:$prom/api/v1/write" -cluster c1 -nodes 2 -containers 3 -interval 30s -duration 90m -before "$(ago 210)" >/dev/null

config 0.10 >"$dir/config.yaml"
serve "$dir/data"
"$loadgen" send -url $url/api/v1/write -cluster c1 -nodes 2 -containers 3 -interval 30s -duration 40m -before "$(ago 260)" >/dev/null
sleep 3
kill $pid; wait $pid || true
"$old" backfill --config.file="$dir/config.yaml" --storage.path="$dir/data" --from="$(hour 6)" --to="$(hour 3)"
config 0.35 >"$dir/config.yaml"
"$old" rerate --config.file="$dir/config.yaml" --storage.path="$dir/data" --from="$(hour 5)" --to="$(hour 4)"
config 0.20 >"$dir/config.yaml"
serve "$dir/data"
"$loadgen" send -url $url/api/v1/write -cluster c2 -nodes 1 -containers 2 -interval 30s -duration 30m -before "$(ago 125)" -rate 1200 -batch 100 >/dev/null # over several snapshots
kill -9 $pid; wait $pid 2>/dev/null || true

tar -C "$dir" -czf "$out/data.tar.gz" data config.yaml
serve "$dir/data"
sleep 3 # what was replayed is flushed
start=$(hour 6) end=$(hour 1)
: >"$out/answers.jsonl"
ask() {
	curl -s -H 'X-Request-Id: compat' -w '%{http_code}' "$url$1" >"$dir/answer"
	python3 - "$1" "$dir/answer" >>"$out/answers.jsonl" <<'PY'
import json, sys
text = open(sys.argv[2]).read()
print(json.dumps({"path": sys.argv[1], "status": int(text[-3:]), "body": text[:-3]}))
PY
}
for aggregate in cluster node namespace workload workload_type pod container; do
	ask "/cost/hourly?start=$start&end=$end&aggregate=$aggregate"
	ask "/cost/hourly?start=$start&end=$end&aggregate=$aggregate&format=csv"
	ask "/cost/hourly?start=$start&end=$end&aggregate=$aggregate&cluster=c1"
done
ask "/cost/hourly?start=$start&end=$end&aggregate=namespace&namespace=shop"
ask "/profile/workload-types?start=$start&end=$end"
ask "/cost/hourly?start=$start&end=$start"
ask "/openapi.yml"
for id in $(curl -s "$url/cost/hourly?start=$start&end=$end&aggregate=workload&format=csv" | cut -d, -f3 | grep -v -e __ -e workload | sort -u) nobody; do
	ask "/cost/workload/$id?start=$start&end=$end&step=15m"
done
kill $pid; wait $pid || true
ls -l "$out"
