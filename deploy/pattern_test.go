package deploy_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/event"
)

// matches tells whether an event pattern matches an event, as EventBridge says: each field must have one of
// the listed values. Of the operators the test knows prefix.
func matches(t *testing.T, pattern, happened map[string]any) bool {
	t.Helper()
	for field, wanted := range pattern {
		value, present := happened[field]
		if below, deeper := wanted.(map[string]any); deeper {
			within, ok := value.(map[string]any)
			if !ok || !matches(t, below, within) {
				return false
			}
			continue
		}
		list, ok := wanted.([]any)
		if !ok {
			t.Fatalf("%s: %v is no list", field, wanted)
		}
		fits := func(one any) bool { return fits(t, one, value) }
		if !present || !slices.ContainsFunc(list, fits) {
			return false
		}
	}
	return true
}

func fits(t *testing.T, one, value any) bool {
	t.Helper()
	operator, is := one.(map[string]any)
	if !is {
		return one == value
	}
	prefix, known := operator["prefix"].(string)
	if !known || len(operator) != 1 {
		t.Fatalf("the test does not know the operator %v", operator)
	}
	text, isText := value.(string)
	return isText && strings.HasPrefix(text, prefix)
}

// wrapped writes an EventBridge event.
func wrapped(source, kind, detail string) string {
	return fmt.Sprintf(`{"version":"0","id":"e-1","detail-type":%q,"source":%q,"account":"123456789012","time":"2026-11-20T10:00:00Z",
"region":"eu-central-1","resources":[],"detail":%s}`, kind, source, detail)
}

const (
	trail = `{"eventVersion":"1.08","eventID":"11111111-2222-3333-4444-555555555555","eventTime":"2026-11-20T10:00:00Z",
"eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","awsRegion":"eu-central-1","recipientAccountId":"123456789012"}`
	guard = `{"schemaVersion":"2.0","id":"f-1","type":"Backdoor:EC2/C&CActivity.B","severity":8,"accountId":"123456789012","region":"eu-central-1",
"arn":"arn:aws:guardduty:eu-central-1:123456789012:detector/d/finding/f-1","partition":"aws","title":"t","description":"d",
"updatedAt":"2026-11-20T10:00:00Z","createdAt":"2026-11-20T10:00:00Z","service":{"count":1},"resource":{"resourceType":"Instance"}}`
	hub = `{"findings":[{"SchemaVersion":"2018-10-08","Id":"f-1","ProductArn":"arn:aws:securityhub:eu-central-1::product/aws/securityhub",
"AwsAccountId":"123456789012","Types":["x"],"Title":"t","UpdatedAt":"2026-11-20T10:00:00Z","CreatedAt":"2026-11-20T10:00:00Z",
"Severity":{"Label":"HIGH"},"GeneratorId":"g","Resources":[{"Type":"Other","Id":"r"}]}]}`
	ocsf = `{"findings":[{"class_uid":2003,"finding_info":{"uid":"f-1","title":"t"},"time":1795000000000,"severity_id":4,
"metadata":{"product":{"name":"Security Hub"}},"cloud":{"account":{"uid":"123456789012"},"region":"eu-central-1"}}]}`
	compliance = `{"resourceId":"r","resourceType":"AWS::S3::Bucket","awsRegion":"eu-central-1","awsAccountId":"123456789012","configRuleName":"c",
"configRuleARN":"arn:aws:config:eu-central-1:123456789012:config-rule/c","messageType":"ComplianceChangeNotification",
"newEvaluationResult":{"complianceType":"NON_COMPLIANT","resultRecordedTime":"2026-11-20T10:00:00Z"}}`
	item = `{"messageType":"ConfigurationItemChangeNotification","configurationItem":{"resourceType":"AWS::S3::Bucket","resourceId":"r",
"awsAccountId":"123456789012","awsRegion":"eu-central-1","configurationItemCaptureTime":"2026-11-20T10:00:00Z","configurationStateId":1}}`
	alarm = `{"alarmName":"a","state":{"value":"ALARM","reason":"r","timestamp":"2026-11-20T10:00:00.000+0000"},"previousState":{"value":"OK"}}`
)

// TestRulesSendWhatIsRead holds the rules against an event of each kind that Riposte reads.
func TestRulesSendWhatIsRead(t *testing.T) {
	t.Parallel()
	tmpl := read(t)
	sent := func(text string) (by []string) {
		var happened map[string]any
		if err := json.Unmarshal([]byte(text), &happened); err != nil {
			t.Fatal(err)
		}
		for _, rule := range []string{"ApiCalls", "Findings"} {
			pattern, _ := tmpl.properties(t, rule, nil)["EventPattern"].(map[string]any)
			if matches(t, pattern, happened) {
				by = append(by, rule)
			}
		}
		return by
	}
	for _, kind := range []struct{ source, kind, detail, by string }{
		{"aws.cloudtrail", "AWS API Call via CloudTrail", trail, "ApiCalls"},
		{"aws.iam", "AWS API Call via CloudTrail", trail, "ApiCalls"},
		{"aws.signin", "AWS Console Sign In via CloudTrail", trail, "ApiCalls"},
		{"aws.ec2", "AWS Console Action via CloudTrail", trail, "ApiCalls"},
		{"aws.kms", "AWS Service Event via CloudTrail", trail, "ApiCalls"},
		{"aws.cloudtrail", "AWS Insight via CloudTrail", trail, "ApiCalls"},
		{"aws.guardduty", "GuardDuty Finding", guard, "Findings"},
		{"aws.securityhub", "Security Hub Findings - Imported", hub, "Findings"},
		{"aws.securityhub", "Security Hub Findings - Custom Action", hub, "Findings"},
		{"aws.securityhub", "Findings Imported V2", ocsf, "Findings"},
		{"aws.config", "Config Rules Compliance Change", compliance, "Findings"},
		{"aws.config", "Config Configuration Item Change", item, "Findings"},
		{"aws.cloudwatch", "CloudWatch Alarm State Change", alarm, "Findings"},
	} {
		text := wrapped(kind.source, kind.kind, kind.detail)
		read, err := awslog.Envelope([]byte(text))
		if err != nil || len(read) != 1 || read[0].Source == event.EventBridge {
			t.Errorf("%s: Riposte reads %v, %v; is the sample right?", kind.kind, read, err)
		}
		if by := sent(text); !slices.Equal(by, []string{kind.by}) {
			t.Errorf("%s of %s is sent by %v, want %s", kind.kind, kind.source, by, kind.by)
		}
		// Whoever may put events of their own must not be believed.
		forged := wrapped("mallory", kind.kind, kind.detail)
		if by := sent(forged); len(by) > 0 {
			t.Errorf("a forged %s is sent by %v", kind.kind, by)
		}
		if read, err := awslog.Envelope([]byte(forged)); err == nil && (len(read) != 1 || read[0].Source != event.EventBridge) {
			t.Errorf("a forged %s is read as one of %s", kind.kind, read[0].Source)
		}
	}
	for source, kind := range map[string]string{"aws.ec2": "EC2 Instance State-change Notification", "aws.s3": "Object Created"} {
		if by := sent(wrapped(source, kind, "{}")); len(by) > 0 {
			t.Errorf("%s is sent by %v, and nobody reads it", kind, by)
		}
	}
}
