package awslog_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
)

const (
	guardDutyEnvelope = `{"id":"env-1","detail-type":"GuardDuty Finding","source":"aws.guardduty","account":"111122223333","region":"eu-west-1","time":"2026-11-24T10:05:00Z","resources":[],"detail":{
		"schemaVersion":"2.0","accountId":"111122223333","region":"eu-west-1","id":"f-1","type":"UnauthorizedAccess:IAMUser/MaliciousIPCaller","severity":5.5,
		"createdAt":"2026-11-24T09:00:00.000Z","updatedAt":"2026-11-24T10:00:00.000Z","title":"A key was used from a bad address","description":"d",
		"resource":{"resourceType":"AccessKey","accessKeyDetails":{"accessKeyId":"AKIAEXAMPLE","userName":"bob","userType":"IAMUser","principalId":"AIDAEXAMPLE"}},
		"service":{"detectorId":"d-1","count":3,"archived":false,"eventFirstSeen":"2026-11-24T08:00:00Z","eventLastSeen":"2026-11-24T09:59:00Z",
			"action":{"actionType":"AWS_API_CALL","awsApiCallAction":{"api":"ListBuckets","remoteIpDetails":{"ipAddressV4":"198.51.100.9"}}}}}}`
	asffEnvelope = `{"id":"env-2","detail-type":"Security Hub Findings - Imported","source":"aws.securityhub","account":"111122223333","region":"eu-west-1","time":"2026-11-24T10:05:00Z","resources":[],"detail":{"findings":[{
		"SchemaVersion":"2018-10-08","Id":"arn:aws:securityhub:eu-west-1:111122223333:security-control/S3.8/finding/1","ProductArn":"arn:aws:securityhub:eu-west-1::product/aws/securityhub",
		"AwsAccountId":"111122223333","Region":"eu-west-1","CreatedAt":"2026-11-24T09:00:00Z","UpdatedAt":"2026-11-24T10:00:00Z","Title":"A bucket can be made public","Description":"d",
		"Severity":{"Label":"HIGH"},"Compliance":{"Status":"FAILED","SecurityControlId":"S3.8"},"Workflow":{"Status":"NEW"},"RecordState":"ACTIVE",
		"Resources":[{"Type":"AwsS3Bucket","Id":"arn:aws:s3:::acme-data","Region":"eu-west-1"}]}]}}`
	ocsfEnvelope = `{"id":"env-3","detail-type":"Findings Imported V2","source":"aws.securityhub","account":"111122223333","region":"eu-west-1","time":"2026-11-24T10:05:00Z","resources":[],"detail":{"findings":[{
		"class_uid":2003,"severity_id":4,"status_id":1,"time":1795514400000,"cloud":{"account":{"uid":"111122223333"},"region":"eu-west-1"},
		"metadata":{"product":{"uid":"arn:aws:securityhub:eu-west-1::productv2/aws/securityhub"},"uid":"m-1"},
		"finding_info":{"uid":"o-1","title":"A trail is off","desc":"d","created_time_dt":"2026-11-24T09:00:00Z","modified_time_dt":"2026-11-24T10:00:00Z","types":["Posture"]},
		"compliance":{"control":"CloudTrail.1","status_id":3},"resources":[{"type":"AWS::CloudTrail::Trail","uid":"arn:aws:cloudtrail:eu-west-1:111122223333:trail/main"}]}]}}`
	complianceEnvelope = `{"id":"env-4","detail-type":"Config Rules Compliance Change","source":"aws.config","account":"111122223333","region":"eu-west-1","time":"2026-11-24T10:05:00Z","resources":[],"detail":{
		"resourceId":"sg-1","awsRegion":"eu-west-1","awsAccountId":"111122223333","configRuleName":"restricted-ssh","resourceType":"AWS::EC2::SecurityGroup",
		"newEvaluationResult":{"complianceType":"NON_COMPLIANT","resultRecordedTime":"2026-11-24T10:00:00.000Z","annotation":"port 22 is open"}}}`
	itemEnvelope = `{"id":"env-5","detail-type":"Config Configuration Item Change","source":"aws.config","account":"111122223333","region":"eu-west-1","time":"2026-11-24T10:05:00Z","resources":[],"detail":{
		"configurationItem":{"resourceId":"acme-data","resourceType":"AWS::S3::Bucket","ARN":"arn:aws:s3:::acme-data","awsAccountId":"111122223333","awsRegion":"eu-west-1",
			"configurationItemCaptureTime":"2026-11-24T10:00:00.000Z","configurationStateId":"1795514400000"}}}`
	alarmEnvelope = `{"id":"env-6","detail-type":"CloudWatch Alarm State Change","source":"aws.cloudwatch","account":"111122223333","region":"eu-west-1","time":"2026-11-24T10:05:00Z",
		"resources":["arn:aws:cloudwatch:eu-west-1:111122223333:alarm:RootUse"],"detail":{"alarmName":"RootUse","configuration":{"description":"somebody used root"},
		"state":{"value":"ALARM","reason":"1 > 0","timestamp":"2026-11-24T10:00:00.000+0000"},"previousState":{"value":"OK"}}}`
	alarmNotice = `{"AlarmName":"RootUse","AlarmDescription":"somebody used root","AWSAccountId":"111122223333","NewStateValue":"OK","NewStateReason":"0","StateChangeTime":"2026-11-24T10:10:00.000+0000","AlarmArn":"arn:aws:cloudwatch:eu-west-1:111122223333:alarm:RootUse"}`
)

// told is what a test looks at of a product's event and its finding.
type told struct {
	Key      string
	Source   event.Source
	Type     string
	Severity finding.Severity
	First    string
	Last     string
	Count    int
	Resolved bool
	Entities []string
}

func tell(t *testing.T, record string) told {
	t.Helper()
	events, err := awslog.Record([]byte(record))
	if err != nil || len(events) != 1 {
		t.Fatalf("got %d events, %v; want one", len(events), err)
	}
	ev := events[0]
	got := told{Key: ev.Key, Source: ev.Source, Entities: brief(ev.Entities)}
	f, is, err := awslog.Finding(ev)
	if err != nil {
		t.Fatal(err)
	}
	if is {
		got.Type, got.Severity, got.Count, got.Resolved = f.Type, f.Severity, f.Count, f.Resolved
		got.First, got.Last = f.FirstSeen.Format(time.RFC3339), f.LastSeen.Format(time.RFC3339)
	}
	return got
}

func TestProducts(t *testing.T) {
	const account = "context account 111122223333 <- "
	for name, test := range map[string]struct {
		record string
		want   told
	}{
		"GuardDuty": {guardDutyEnvelope, told{
			Key: "aws.guardduty|f-1|3", Source: event.GuardDuty, Type: "guardduty:UnauthorizedAccess:IAMUser/MaliciousIPCaller",
			Severity: finding.Medium, First: "2026-11-24T08:00:00Z", Last: "2026-11-24T09:59:00Z", Count: 3,
			Entities: []string{
				"actor access_key AKIAEXAMPLE <- resource.accessKeyDetails.accessKeyId", "actor user bob <- resource.accessKeyDetails.userName",
				"origin ip 198.51.100.9 <- service.action.awsApiCallAction.remoteIpDetails.ipAddressV4",
				"context detector d-1 <- service.detectorId", account + "accountId",
			},
		}},
		"Security Hub": {asffEnvelope, told{
			Key:    "aws.securityhub|arn:aws:securityhub:eu-west-1::product/aws/securityhub|arn:aws:securityhub:eu-west-1:111122223333:security-control/S3.8/finding/1|2026-11-24T10:00:00Z|ACTIVE|NEW",
			Source: event.SecurityHub, Type: "securityhub:S3.8", Severity: finding.High, First: "2026-11-24T09:00:00Z", Last: "2026-11-24T10:00:00Z",
			Count: 1, Entities: []string{"target bucket acme-data <- Resources.Id", account + "AwsAccountId"},
		}},
		"Security Hub in OCSF": {ocsfEnvelope, told{
			Key:    "aws.securityhub|arn:aws:securityhub:eu-west-1::productv2/aws/securityhub|o-1|2026-11-24T10:00:00Z|1",
			Source: event.SecurityHub, Type: "securityhub:CloudTrail.1", Severity: finding.High, First: "2026-11-24T09:00:00Z", Last: "2026-11-24T10:00:00Z",
			Count: 1, Entities: []string{"target trail main <- resources.uid", account + "cloud.account.uid"},
		}},
		"Config's rule": {complianceEnvelope, told{
			Key:    "aws.config.compliance|111122223333|eu-west-1|restricted-ssh|AWS::EC2::SecurityGroup|sg-1|2026-11-24T10:00:00.000Z",
			Source: event.ConfigCompliant, Type: "config:restricted-ssh", Severity: finding.Medium, First: "2026-11-24T10:00:00Z", Last: "2026-11-24T10:00:00Z",
			Count: 1, Entities: []string{"target security_group sg-1 <- resourceId", "context config_rule restricted-ssh <- configRuleName", account + "awsAccountId"},
		}},
		"Config's item is no finding": {itemEnvelope, told{
			Key:    "aws.config.item|111122223333|eu-west-1|AWS::S3::Bucket|acme-data|2026-11-24T10:00:00.000Z|1795514400000",
			Source: event.ConfigChange, Entities: []string{"target bucket acme-data <- configurationItem.ARN", account + "configurationItem.awsAccountId"},
		}},
		"an alarm": {alarmEnvelope, told{
			Key:    "aws.cloudwatch.alarm|arn:aws:cloudwatch:eu-west-1:111122223333:alarm:RootUse|2026-11-24T10:00:00Z",
			Source: event.CloudWatchAlarm, Type: "cloudwatch:RootUse", Severity: finding.Medium, First: "2026-11-24T10:00:00Z", Last: "2026-11-24T10:00:00Z",
			Count: 1, Entities: []string{"target alarm arn:aws:cloudwatch:eu-west-1:111122223333:alarm:RootUse <- resources", account + "account"},
		}},
		"the alarm's end, by a topic": {alarmNotice, told{
			Key:    "aws.cloudwatch.alarm|arn:aws:cloudwatch:eu-west-1:111122223333:alarm:RootUse|2026-11-24T10:10:00Z",
			Source: event.CloudWatchAlarm, Type: "cloudwatch:RootUse", Severity: finding.Medium, First: "2026-11-24T10:10:00Z", Last: "2026-11-24T10:10:00Z",
			Count: 1, Resolved: true, Entities: []string{"target alarm arn:aws:cloudwatch:eu-west-1:111122223333:alarm:RootUse <- AlarmArn", account + "account"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, tell(t, test.record)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestToldByTwoIsOneFinding lets GuardDuty and Security Hub tell of the same finding.
func TestToldByTwoIsOneFinding(t *testing.T) {
	relayed := `{"SchemaVersion":"2018-10-08","Id":"arn:aws:guardduty:eu-west-1:111122223333:detector/d-1/finding/f-1",
		"ProductArn":"arn:aws:securityhub:eu-west-1::product/aws/guardduty","AwsAccountId":"111122223333","Region":"eu-west-1",
		"CreatedAt":"2026-11-24T09:00:00Z","UpdatedAt":"2026-11-24T10:00:00Z","Title":"t","Description":"d","GeneratorId":"g","Severity":{"Label":"MEDIUM"},
		"Types":["TTPs/Initial Access/UnauthorizedAccess:IAMUser-MaliciousIPCaller"],"Resources":[{"Type":"AwsIamUser","Id":"bob"}]}`
	prints := map[string]string{}
	for name, record := range map[string]string{"itself": guardDutyEnvelope, "relayed": relayed} {
		events, err := awslog.Record([]byte(record))
		if err != nil {
			t.Fatal(err)
		}
		f, is, err := awslog.Finding(events[0])
		if err != nil || !is {
			t.Fatalf("%s: no finding: %v", name, err)
		}
		prints[name] = f.Fingerprint + " " + f.Type
	}
	if prints["itself"] != prints["relayed"] {
		t.Errorf("itself %s, relayed %s", prints["itself"], prints["relayed"])
	}
}

// TestSeverities holds GuardDuty's numbers against the names of their ranges.
func TestSeverities(t *testing.T) {
	for number, want := range map[string]finding.Severity{
		"0": finding.Unknown, "0.5": finding.Informational, "1": finding.Low, "3.9": finding.Low, "4.0": finding.Medium, "6.9": finding.Medium,
		"7.0": finding.High, "8.9": finding.High, "9.5": finding.Critical, `"8"`: finding.High, `null`: finding.Unknown,
	} {
		record := strings.Replace(guardDutyEnvelope, `"severity":5.5`, `"severity":`+number, 1)
		if got := tell(t, record).Severity; got != want {
			t.Errorf("severity %s: got %s, want %s", number, got, want)
		}
	}
}

// TestProductsRefused tells what is wrong with notices that lack what makes them one.
func TestProductsRefused(t *testing.T) {
	for name, test := range map[string]struct{ record, want string }{
		"GuardDuty without id":        {strings.Replace(guardDutyEnvelope, `"id":"f-1"`, `"id":""`, 1), "no id or no type"},
		"GuardDuty without time":      {strings.NewReplacer(`"2026-11-24T09:59:00Z"`, `"x"`, `"2026-11-24T09:00:00.000Z"`, `0`, `"2026-11-24T10:00:00.000Z"`, `null`).Replace(guardDutyEnvelope), "no time"},
		"Security Hub without a list": {strings.Replace(asffEnvelope, `"findings":[`, `"finding":[`, 1), "no list of findings"},
		"Security Hub without id":     {strings.Replace(asffEnvelope, `"Id":"arn:aws:securityhub`, `"ID":"arn:aws:securityhub`, 1), "no Id"},
		"OCSF without uid":            {strings.Replace(ocsfEnvelope, `"uid":"o-1"`, `"uid":""`, 1), "no finding_info.uid"},
		"Config without rule":         {strings.Replace(complianceEnvelope, `"restricted-ssh"`, `""`, 1), "no configRuleName"},
		"item without time":           {strings.Replace(itemEnvelope, `"2026-11-24T10:00:00.000Z"`, `""`, 1), "no time"},
		"alarm without name":          {strings.Replace(alarmEnvelope, `"alarmName":"RootUse"`, `"alarmName":""`, 1), "no alarmName"},
		"envelope with a wrong time":  {strings.Replace(alarmEnvelope, `"2026-11-24T10:05:00Z"`, `"yesterday"`, 1), `"yesterday" is not a time`},
		"detail that is no object":    {`{"detail-type":"x","detail":[]}`, "no detail"},
		"nothing that is known":       {`{"what":1,"is":2,"this":3}`, "its keys are what, is, this"},
		"a list":                      {`[1]`, "a JSON object is wanted"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := awslog.Record([]byte(test.record))
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an Invalid error with %q", err, test.want)
			}
		})
	}
}
