package influx

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/influxdata/influxdb-client-go/v2/api"
	"github.com/influxdata/influxdb-client-go/v2/domain"
)

// Prepare finds out whether the follower can do its work: that InfluxDB is
// there and new enough, that the token may write, that the buckets exist. It
// creates those that do not, if it may. Write does the same before its first
// delivery.
func (f *Follower) Prepare(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.prepare(ctx); err != nil {
		return fmt.Errorf("influxdb: %w", err)
	}
	return nil
}

func (f *Follower) prepare(ctx context.Context) error {
	version, major, err := f.version(ctx)
	if err != nil {
		return err
	}
	if major == 2 && f.cfg.Org == "" {
		return &Error{Setting: "influxdb.org", Message: "InfluxDB " + version + " wants the name of an organisation"}
	}
	for _, b := range []struct {
		name string
		to   api.WriteAPIBlocking
		keep time.Duration
	}{{f.cfg.Bucket, f.windows, f.cfg.MinutesRetention}, {f.cfg.hourly(), f.hours, f.cfg.HoursRetention}} {
		switch major {
		case 1:
			err = f.database(ctx, b.name, b.keep)
		case 2:
			err = f.bucket(ctx, b.name, b.keep)
		}
		if err != nil {
			return err
		}
		// Nothing is written, but the permission to write is looked at.
		if err := b.to.WriteRecord(ctx, ""); err != nil {
			if e := explain(err, b.name); e.Status != http.StatusBadRequest {
				return e
			}
		}
	}
	if !f.ready {
		f.log.Info("InfluxDB follows the books", "version", version, "bucket", f.cfg.Bucket, "hourly", f.cfg.hourly())
	}
	f.ready, f.major = true, major
	return nil
}

// version asks InfluxDB which one it is.
func (f *Follower) version(ctx context.Context) (text string, major int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(f.cfg.URL, "/")+"/ping", nil)
	if err != nil {
		return "", 0, err
	}
	if f.cfg.Token != "" {
		req.Header.Set("Authorization", "Token "+f.cfg.Token)
	}
	res, err := f.influxql.http.Do(req)
	if err != nil {
		return "", 0, explain(err, "")
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<16)) // so that the connection can be used again
	text = res.Header.Get("X-Influxdb-Version")
	if res.StatusCode/100 != 2 {
		return "", 0, explainStatus(res.StatusCode, "ping: "+res.Status, res.Header, "")
	}
	if text == "" {
		return "", 0, &Error{Setting: "influxdb.url", Message: "what answers there is not InfluxDB: it does not tell its version"}
	}
	parts := strings.Split(strings.TrimPrefix(text, "v"), ".")
	major, err = strconv.Atoi(parts[0])
	if err != nil || len(parts) < 2 {
		return text, 1, nil // builds from source do not know theirs; the probes that follow tell
	}
	if minor, _ := strconv.Atoi(parts[1]); major < 1 || major == 1 && minor < 8 {
		return "", 0, &Error{Setting: "influxdb.url", Message: "InfluxDB " + text + " is too old: want 1.8 or later"}
	}
	return text, major, nil
}

// database makes sure that InfluxDB 1 has a database.
func (f *Follower) database(ctx context.Context, name string, keep time.Duration) error {
	found := false
	err := f.influxql.query(ctx, name, "SHOW DATABASES", nil, func(s series) error {
		for _, v := range s.Values {
			found = found || len(v) > 0 && v[0] == name
		}
		return nil
	})
	if err != nil || found {
		return err
	}
	statement := fmt.Sprintf(`CREATE DATABASE %q`, name)
	if keep > 0 {
		statement += fmt.Sprintf(" WITH DURATION %dh", keep/time.Hour)
	}
	command := "create it: influx -execute '" + statement + "'"
	if !f.cfg.CreateBuckets {
		return &Error{Setting: "influxdb.bucket", Status: http.StatusNotFound, Message: fmt.Sprintf("there is no database %s", name), Advice: command}
	}
	if err := f.influxql.query(ctx, name, statement, nil, nil); err != nil {
		if e, ok := asError(err); ok && e.Status == http.StatusForbidden {
			e.Setting, e.Advice = "influxdb.bucket", "the token may not create it; "+command
		}
		return err
	}
	f.created = true
	f.log.Info("created a database in InfluxDB", "database", name, "retention", keep)
	return nil
}

// bucket makes sure that InfluxDB 2 has a bucket.
func (f *Follower) bucket(ctx context.Context, name string, keep time.Duration) error {
	_, err := f.client.BucketsAPI().FindBucketByName(ctx, name)
	if err == nil {
		return nil
	}
	if !strings.Contains(err.Error(), "not found") {
		return explainAPI(err, name)
	}
	command := fmt.Sprintf("create it: influx bucket create --org %q --name %q --retention %dh", f.cfg.Org, name, keep/time.Hour)
	if !f.cfg.CreateBuckets {
		return &Error{Setting: "influxdb.bucket", Status: http.StatusNotFound, Message: fmt.Sprintf("there is no bucket %s", name), Advice: command}
	}
	org, err := f.client.OrganizationsAPI().FindOrganizationByName(ctx, f.cfg.Org)
	if err == nil {
		_, err = f.client.BucketsAPI().CreateBucketWithName(ctx, org, name, domain.RetentionRule{EverySeconds: int64(keep / time.Second)})
	}
	if err != nil {
		e := explainAPI(err, name)
		e.Setting, e.Advice = "influxdb.bucket", "it could not be created; "+command
		return e
	}
	f.created = true
	f.log.Info("created a bucket in InfluxDB", "bucket", name, "retention", keep)
	return nil
}

// explainAPI explains errors of the parts of the client that lose the status.
func explainAPI(err error, bucket string) *Error {
	e := explain(err, bucket)
	if e.Status == 0 && strings.Contains(err.Error(), "unauthorized") {
		e.Setting, e.Advice = "influxdb.token", "InfluxDB does not know this token"
	}
	return e
}
