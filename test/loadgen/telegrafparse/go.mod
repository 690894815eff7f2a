// A module of its own: only `make peers` needs Telegraf.
module github.com/wattledger/wattledger/test/loadgen/telegrafparse

go 1.25

require github.com/influxdata/telegraf v1.37.2
