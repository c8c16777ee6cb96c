package awslog_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
)

// brief writes entities as people read them: part kind id, with what is special.
func brief(entities []entity.Entity) []string {
	var lines []string
	for _, e := range entities {
		line := fmt.Sprintf("%s %s %s <- %s", e.Part, e.Kind, e.ID, e.From)
		if e.Derived {
			line += " (derived)"
		}
		lines = append(lines, line)
	}
	return lines
}

func mapTrail(t *testing.T, record string) event.Event {
	t.Helper()
	ev, err := awslog.CloudTrail([]byte(record))
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

func TestCloudTrail(t *testing.T) {
	record := `{
	"eventVersion": "1.08",
	"userIdentity": {
		"type": "AssumedRole", "principalId": "AROAEXAMPLE:mallory",
		"arn": "arn:aws:sts::111122223333:assumed-role/Admin/mallory", "accountId": "111122223333",
		"accessKeyId": "ASIAEXAMPLE",
		"sessionContext": {"sessionIssuer": {"type": "Role", "arn": "arn:aws:iam::111122223333:role/ops/Admin", "userName": "Admin"}}
	},
	"eventTime": "2026-11-24T10:00:00Z", "eventSource": "iam.amazonaws.com", "eventName": "CreateAccessKey",
	"awsRegion": "us-east-1", "sourceIPAddress": "198.51.100.7", "userAgent": "aws-cli/2",
	"requestParameters": {"userName": "bob"},
	"responseElements": {"accessKey": {"accessKeyId": "AKIAEXAMPLE", "userName": "bob", "status": "Active"}},
	"eventID": "e-1", "recipientAccountId": "444455556666"
	}`
	ev := mapTrail(t, record)
	want := event.Event{
		Key: "aws.cloudtrail|e-1|444455556666", Source: event.CloudTrail, Time: time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC),
		Account: "444455556666", Region: "us-east-1", Service: "iam.amazonaws.com", Name: "CreateAccessKey",
		Raw: []byte(record), Entities: ev.Entities,
	}
	if diff := cmp.Diff(want, ev); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	entities := []string{
		"actor principal arn:aws:sts::111122223333:assumed-role/Admin/mallory <- userIdentity.arn",
		"actor role Admin <- userIdentity.sessionContext.sessionIssuer.userName",
		"actor session arn:aws:sts::111122223333:assumed-role/Admin/mallory <- userIdentity.arn",
		"actor access_key ASIAEXAMPLE <- userIdentity.accessKeyId",
		"actor account 111122223333 <- userIdentity.accountId",
		"origin ip 198.51.100.7 <- sourceIPAddress",
		"origin user_agent aws-cli/2 <- userAgent",
		"context account 444455556666 <- recipientAccountId",
		"target user bob <- requestParameters.userName",
		"target access_key AKIAEXAMPLE <- responseElements.accessKey.accessKeyId",
	}
	if diff := cmp.Diff(entities, brief(ev.Entities)); diff != "" {
		t.Errorf("entities (-want +got):\n%s", diff)
	}
}

// trailRecord makes a record of an API call with a few keys of its own.
func trailRecord(service, name, more string) string {
	return fmt.Sprintf(`{"eventVersion":"1.09","eventTime":"2026-11-24T10:00:00Z","eventSource":"%s.amazonaws.com","eventName":%q,
	"awsRegion":"eu-west-1","eventID":"e-2","recipientAccountId":"111122223333",%s}`, service, name, more)
}

func TestTargets(t *testing.T) {
	cases := []struct {
		name, record string
		want         []string
	}{
		{
			"nested items", trailRecord("ec2", "TerminateInstances", `"requestParameters":{"instancesSet":{"items":[{"instanceId":"i-01"},{"instanceId":"i-02"}]}}`),
			[]string{
				"target instance i-01 <- requestParameters.instancesSet.items.instanceId",
				"target instance i-02 <- requestParameters.instancesSet.items.instanceId",
			},
		},
		{
			"a version in the name, a name in an ARN", trailRecord("lambda", "UpdateFunctionCode20150331v2", `"requestParameters":{"functionName":"arn:aws:lambda:eu-west-1:111122223333:function:pay:7"}`),
			[]string{"target function pay <- requestParameters.functionName"},
		},
		{
			"an ARN built from a name", trailRecord("monitoring", "DeleteAlarms", `"requestParameters":{"alarmNames":["root-login"]}`),
			[]string{"target alarm arn:aws:cloudwatch:eu-west-1:111122223333:alarm:root-login <- requestParameters.alarmNames (derived)"},
		},
		{
			"a rule of EventBridge", trailRecord("events", "DisableRule", `"requestParameters":{"name":"to-riposte"}`),
			[]string{"target resource arn:aws:events:eu-west-1:111122223333:rule/to-riposte <- requestParameters.name (derived)"},
		},
		{
			"listed resources", trailRecord("s3", "GetObject", `"requestParameters":{"bucketName":"b","key":"k/1"},"resources":[{"ARN":"arn:aws:s3:::b/k/1"},{"ARN":"arn:aws:s3:::b","accountId":"111122223333"}]`),
			[]string{
				"target bucket b <- requestParameters.bucketName",
				"target object b/k/1 <- requestParameters.bucketName+requestParameters.key (derived)",
			},
		},
		{
			"a denied call has no parameters", trailRecord("guardduty", "DeleteDetector", `"errorCode":"AccessDenied","requestParameters":null,
			"errorMessage":"User: arn:aws:iam::111122223333:user/eve is not authorized to perform: guardduty:DeleteDetector on resource: arn:aws:guardduty:eu-west-1:111122223333:detector/d1 because no policy allows it"`),
			[]string{"target detector d1 <- errorMessage"},
		},
		{
			"who a snapshot is shared with is context", trailRecord("ec2", "ModifySnapshotAttribute", `"requestParameters":{"snapshotId":"snap-1","createVolumePermission":{"add":{"items":[{"userId":"999988887777"}]}}}`),
			[]string{
				"target snapshot snap-1 <- requestParameters.snapshotId",
				"context account 999988887777 <- requestParameters.createVolumePermission.add.items.userId",
			},
		},
		{
			"the account itself", trailRecord("organizations", "LeaveOrganization", `"requestParameters":null`),
			[]string{"target account 111122223333 <- recipientAccountId"},
		},
		{
			"hidden values name nothing", trailRecord("iam", "CreateUser", `"requestParameters":{"userName":"HIDDEN_DUE_TO_SECURITY_REASONS"}`),
			nil,
		},
		{
			"an API that is not in the table", trailRecord("iam", "GenerateSomethingNew", `"requestParameters":{"roleName":"r"}`),
			[]string{"target role r <- requestParameters.roleName"},
		},
		{
			"an id of another form", trailRecord("ec2", "StopInstances", `"requestParameters":{"instancesSet":{"items":[{"instanceId":"everything"}]}}`),
			nil,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, line := range brief(mapTrail(t, c.record).Entities) {
				if strings.HasPrefix(line, "context account 111122223333") {
					continue // the recipient, in every one
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestActor(t *testing.T) {
	cases := []struct {
		name, identity string
		want           []string
	}{
		{
			"a user", `{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/team/eve","accountId":"111122223333","userName":"eve","accessKeyId":"AKIAX"}`,
			[]string{
				"actor principal arn:aws:iam::111122223333:user/team/eve <- userIdentity.arn", "actor user eve <- userIdentity.userName",
				"actor access_key AKIAX <- userIdentity.accessKeyId", "actor account 111122223333 <- userIdentity.accountId",
			},
		},
		{
			"root", `{"type":"Root","arn":"arn:aws:iam::111122223333:root","accountId":"111122223333","accessKeyId":""}`,
			[]string{
				"actor principal arn:aws:iam::111122223333:root <- userIdentity.arn", "actor account 111122223333 <- userIdentity.accountId",
			},
		},
		{
			"a service", `{"type":"AWSService","invokedBy":"ec2.amazonaws.com"}`,
			[]string{"actor principal ec2.amazonaws.com <- userIdentity.invokedBy", "context account 111122223333 <- recipientAccountId"},
		},
		{
			"an instance's role", `{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/web/i-0abc","accountId":"111122223333",
			"sessionContext":{"ec2RoleDelivery":"2.0","sessionIssuer":{"type":"Role","arn":"arn:aws:iam::111122223333:role/web","userName":"web"}}}`,
			[]string{
				"actor principal arn:aws:sts::111122223333:assumed-role/web/i-0abc <- userIdentity.arn",
				"actor role web <- userIdentity.sessionContext.sessionIssuer.userName",
				"actor session arn:aws:sts::111122223333:assumed-role/web/i-0abc <- userIdentity.arn",
				"actor instance i-0abc <- userIdentity.arn", "actor account 111122223333 <- userIdentity.accountId",
			},
		},
		{
			"a session that calls itself an instance", `{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/web/i-0abc","accountId":"111122223333"}`,
			[]string{
				"actor principal arn:aws:sts::111122223333:assumed-role/web/i-0abc <- userIdentity.arn",
				"actor session arn:aws:sts::111122223333:assumed-role/web/i-0abc <- userIdentity.arn",
				"actor instance i-0abc <- userIdentity.arn (derived)", "actor account 111122223333 <- userIdentity.accountId",
			},
		},
		{
			"another account", `{"type":"AWSAccount","accountId":"999988887777","principalId":"AIDAX"}`,
			[]string{
				"actor principal AIDAX <- userIdentity.principalId", "actor account 999988887777 <- userIdentity.accountId",
				"context account 111122223333 <- recipientAccountId",
			},
		},
		{"nonsense", `["x"]`, []string{"context account 111122223333 <- recipientAccountId"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ev := mapTrail(t, trailRecord("sts", "GetCallerIdentity", `"userIdentity":`+c.identity))
			if diff := cmp.Diff(c.want, brief(ev.Entities)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSourceThatIsNoAddress(t *testing.T) {
	for address, want := range map[string][]string{
		"2001:db8::1":                  {"origin ip 2001:db8::1 <- sourceIPAddress"},
		"cloudformation.amazonaws.com": {"context user_agent cloudformation.amazonaws.com <- sourceIPAddress"},
		"AWS Internal":                 nil,
		"198.51.100.7/32":              nil,
	} {
		ev := mapTrail(t, trailRecord("sts", "GetCallerIdentity", fmt.Sprintf(`"sourceIPAddress":%q`, address)))
		got := slices.DeleteFunc(brief(ev.Entities), func(line string) bool { return strings.Contains(line, "recipientAccountId") })
		if diff := cmp.Diff(want, got, cmp.Transformer("nil", func(s []string) string { return strings.Join(s, "\n") })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", address, diff)
		}
	}
}

func TestCloudTrailRefuses(t *testing.T) {
	for _, record := range []string{
		``, `null`, `[]`, `{}`, `{"eventName":"x"`, `{"eventTime":"2026-11-24T10:00:00Z"}`,
		`{"eventTime":"yesterday","eventName":"x","eventSource":"y"}`, `{"eventTime":"2026-11-24T10:00:00Z","eventName":"x","eventSource":"y"} {}`,
		`{"eventTime":"2026-11-24T10:00:00Z","eventName":"x","eventSource":"y","a":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`,
	} {
		if ev, err := awslog.CloudTrail([]byte(record)); err == nil {
			t.Errorf("%.60s: mapped to %v", record, ev)
		}
	}
}

func TestFailedSignIn(t *testing.T) {
	ev := mapTrail(t, trailRecord("signin", "ConsoleLogin", `"errorMessage":"Failed authentication","responseElements":{"ConsoleLogin":"Failure"}`))
	if ev.ErrorCode != "Failure" {
		t.Errorf("error code is %q", ev.ErrorCode)
	}
}

func TestInsight(t *testing.T) {
	ev := mapTrail(t, `{"eventVersion":"1.08","eventTime":"2026-11-24T10:00:00Z","awsRegion":"us-east-1","eventID":"e","eventType":"AwsCloudTrailInsight",
	"recipientAccountId":"111122223333","insightDetails":{"state":"Start","eventSource":"iam.amazonaws.com","eventName":"CreateUser"}}`)
	if ev.Name != "CreateUser" || ev.Service != "iam.amazonaws.com" {
		t.Errorf("got %s of %s", ev.Name, ev.Service)
	}
}

// TestRealTrails maps every real record and measures what the table of targets is worth.
func TestRealTrails(t *testing.T) {
	var all, listed, targeted int
	missing := map[string]int{}
	for _, raw := range records(t, "cloudtrail/invictus", "cloudtrail/stratus") {
		ev, err := awslog.CloudTrail(raw)
		if err != nil {
			t.Errorf("%v: %.200s", err, raw)
			continue
		}
		if !bytes.Equal(ev.Raw, raw) {
			t.Errorf("%s: the raw record was changed", ev.Key)
		}
		occurs(t, ev)
		all++
		if !awslog.Listed(ev.Service, ev.Name) {
			continue
		}
		if !bytes.Contains(raw, []byte("arameters\":{")) && !bytes.Contains(raw, []byte("arameters\": {")) && !bytes.Contains(raw, []byte("additionalEventData")) {
			continue // throttled, or about the caller itself: the record says nothing of a target
		}
		listed++
		if slices.ContainsFunc(ev.Entities, func(e entity.Entity) bool { return e.Part == entity.Target }) {
			targeted++
		} else {
			missing[ev.Service+" "+ev.Name]++
		}
	}
	share := float64(targeted) / float64(listed)
	t.Logf("%d records, %d of an API in the table, %d of these (%.1f%%) with targets; without: %v", all, listed, targeted, 100*share, missing)
	if share < 0.9 {
		t.Errorf("only %.1f%% of the records whose API is in the table have targets", 100*share)
	}
}

// occurs checks that every value that isn't marked as derived stands in the record.
func occurs(t *testing.T, ev event.Event) {
	t.Helper()
	plain := string(ev.Raw)
	for _, e := range ev.Entities {
		quoted, err := json.Marshal(e.ID)
		if err != nil {
			t.Fatal(err)
		}
		if text := string(quoted[1 : len(quoted)-1]); !e.Derived && !strings.Contains(plain, text) && !strings.Contains(plain, strings.ReplaceAll(text, "/", `\/`)) && !strings.Contains(plain, e.ID) {
			t.Errorf("%s: %s %s is not in the record and not marked as derived", ev.Key, e.Kind, e.ID)
		}
		if e.From == "" || e.Part == "" {
			t.Errorf("%s: %s %s lacks part or provenance", ev.Key, e.Kind, e.ID)
		}
	}
}

func BenchmarkCloudTrail(b *testing.B) {
	all := records(b, "cloudtrail/invictus", "cloudtrail/stratus")
	size := 0
	for _, raw := range all {
		size += len(raw)
	}
	b.SetBytes(int64(size / len(all)))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := awslog.CloudTrail(all[i%len(all)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
