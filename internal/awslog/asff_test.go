package awslog_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
)

// asffDocument is a finding as BatchImportFindings takes it.
const asffDocument = `{"SchemaVersion":"2018-10-08","Id":"acme/1","ProductArn":"arn:aws:securityhub:eu-west-1:111122223333:product/111122223333/default",
	"GeneratorId":"acme-scanner","AwsAccountId":"111122223333","CreatedAt":"2026-11-24T09:00:00Z","UpdatedAt":"2026-11-24T10:00:00Z",
	"Severity":{"Label":"HIGH"},"Title":"An instance mines","Description":"d","Types":["Unusual Behaviors/VM"],
	"Compliance":{"Status":"FAILED","SecurityControlId":"EC2.9"},"Workflow":{"Status":"NEW"},"RecordState":"ACTIVE",
	"Resources":[{"Type":"AwsEc2Instance","Id":"i-0123456789abcdef0"}]}`

// about is the document with other resources.
func about(resources string) string {
	return strings.Replace(asffDocument, `[{"Type":"AwsEc2Instance","Id":"i-0123456789abcdef0"}]`, resources, 1)
}

func TestASFFResources(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ resource, want string }{
		"instance by id":          {`{"Type":"AwsEc2Instance","Id":"i-0123456789abcdef0"}`, "target instance i-0123456789abcdef0 <- Resources.Id"},
		"instance by ARN":         {`{"Type":"AwsEc2Instance","Id":"arn:aws:ec2:eu-west-1:111122223333:instance/i-0123456789abcdef0"}`, "target instance i-0123456789abcdef0 <- Resources.Id"},
		"user by name":            {`{"Type":"AwsIamUser","Id":"bob"}`, "target user bob <- Resources.Id"},
		"user by details":         {`{"Type":"AwsIamUser","Id":"AIDAEXAMPLE","Details":{"AwsIamUser":{"UserName":"bob"}}}`, "target user bob <- Resources.Details.AwsIamUser.UserName"},
		"role":                    {`{"Type":"AwsIamRole","Id":"arn:aws:iam::111122223333:role/service/app"}`, "target role app <- Resources.Id"},
		"key":                     {`{"Type":"AwsIamAccessKey","Id":"AWS::IAM::AccessKey:AKIAEXAMPLE"}`, "actor access_key AKIAEXAMPLE <- Resources.Id"},
		"bucket by name":          {`{"Type":"AwsS3Bucket","Id":"acme-data"}`, "target bucket acme-data <- Resources.Id"},
		"security group":          {`{"Type":"AwsEc2SecurityGroup","Id":"sg-1"}`, "target security_group sg-1 <- Resources.Id"},
		"security group in a VPC": {`{"Type":"AwsEc2SecurityGroup","Id":"sg-1","Details":{"AwsEc2SecurityGroup":{"VpcId":"vpc-1"}}}`, "target security_group sg-1 <- Resources.Id; context vpc vpc-1 <- Resources.Details.AwsEc2SecurityGroup.VpcId"},
		"database by ARN":         {`{"Type":"AwsRdsDbInstance","Id":"arn:aws:rds:eu-west-1:111122223333:db:shop"}`, "target database shop <- Resources.Id"},
		"database by another ARN": {`{"Type":"AwsRdsDbInstance","Id":"arn:aws:rds:eu-west-1:111122223333:dbinstance:db-1","Details":{"AwsRdsDbInstance":{"DBInstanceIdentifier":"shop"}}}`, "target database shop <- Resources.Details.AwsRdsDbInstance.DBInstanceIdentifier"},
		"database snapshot":       {`{"Type":"AwsRdsDbSnapshot","Id":"arn:aws:rds:eu-west-1:111122223333:snapshot:rds:shop-2026"}`, "target snapshot rds:shop-2026 <- Resources.Id"},
		"function":                {`{"Type":"AwsLambdaFunction","Id":"arn:aws:lambda:eu-west-1:111122223333:function:pay:3"}`, "target function pay <- Resources.Id"},
		"KMS key":                 {`{"Type":"AwsKmsKey","Id":"arn:aws:kms:eu-west-1:111122223333:key/1234"}`, "target kms_key 1234 <- Resources.Id"},
		"EKS cluster by name":     {`{"Type":"AwsEksCluster","Id":"prod"}`, "target cluster prod <- Resources.Id"},
		"volume":                  {`{"Type":"AwsEc2Volume","Id":"vol-1"}`, "target volume vol-1 <- Resources.Id"},
		"snapshot":                {`{"Type":"AwsEc2Snapshot","Id":"arn:aws:ec2:eu-west-1::snapshot/snap-1"}`, "target snapshot snap-1 <- Resources.Id"},
		"trail":                   {`{"Type":"AwsCloudTrailTrail","Id":"arn:aws:cloudtrail:eu-west-1:111122223333:trail/main"}`, "target trail main <- Resources.Id"},
		"a group that is none":    {`{"Type":"AwsEc2SecurityGroup","Id":"everything"}`, ""},
		"something else":          {`{"Type":"Other","Id":"arn:aws:glue:eu-west-1:111122223333:job/x"}`, "target resource arn:aws:glue:eu-west-1:111122223333:job/x <- Resources.Id"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := tell(t, about("["+test.resource+"]")).Entities
			want := []string{"context account 111122223333 <- AwsAccountId"}
			if test.want != "" {
				want = append(strings.Split(test.want, "; "), want...)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestASFFRefused wants the field in the error of what is no finding.
func TestASFFRefused(t *testing.T) {
	t.Parallel()
	for field, change := range map[string][2]string{
		"Id: is missing":                           {`"Id":"acme/1",`, ``},
		"GeneratorId: is a number, not a string":   {`"acme-scanner"`, `7`},
		"Title: is empty":                          {`"An instance mines"`, `" "`},
		"AwsAccountId: \"1111\" is no account":     {`"AwsAccountId":"111122223333"`, `"AwsAccountId":"1111"`},
		"UpdatedAt: \"yesterday\" is not a time":   {`"2026-11-24T10:00:00Z"`, `"yesterday"`},
		"SchemaVersion: \"2.0\" is not 2018-10-08": {`"2018-10-08"`, `"2.0"`},
		"ProductArn: \"acme\" is not the ARN":      {`"arn:aws:securityhub:eu-west-1:111122223333:product/111122223333/default"`, `"acme"`},
		"Severity: has neither":                    {`{"Label":"HIGH"}`, `{}`},
		"Severity.Label: \"BAD\" is not one of":    {`"HIGH"`, `"BAD"`},
		"Severity.Normalized: is not a number":     {`{"Label":"HIGH"}`, `{"Normalized":101}`},
		"Compliance.Status: \"NO\" is not one of":  {`"FAILED"`, `"NO"`},
		"Workflow.Status: \"OLD\" is not one of":   {`"NEW"`, `"OLD"`},
		"RecordState: \"GONE\" is not one of":      {`"ACTIVE"`, `"GONE"`},
		"Resources: is empty":                      {`[{"Type":"AwsEc2Instance","Id":"i-0123456789abcdef0"}]`, `[]`},
		"Resources[0].Type: is missing":            {`"Type":"AwsEc2Instance",`, ``},
		"Resources[0]: is a number, not an object": {`[{"Type":"AwsEc2Instance","Id":"i-0123456789abcdef0"}]`, `[1]`},
	} {
		broken := strings.Replace(asffDocument, change[0], change[1], 1)
		if broken == asffDocument {
			t.Fatalf("%q changes nothing", change[0])
		}
		_, err := awslog.Record([]byte(broken))
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("got %v, want an Invalid error with %q", err, field)
		}
	}
}

// TestFindingsOfTheAPI reads what BatchImportFindings takes and what GetFindings and GetFindingsV2 give, as a file
// and as one record. What is wrong is set aside alone, and can be read again by itself.
func TestFindingsOfTheAPI(t *testing.T) {
	t.Parallel()
	var envelope struct {
		Detail struct{ Findings []json.RawMessage }
	}
	if err := json.Unmarshal([]byte(ocsfEnvelope), &envelope); err != nil {
		t.Fatal(err)
	}
	second := strings.Replace(asffDocument, `"acme/1"`, `"acme/2"`, 1)
	text := `{"Findings":[` + asffDocument + "," + string(envelope.Detail.Findings[0]) + `,{"Id":"x"},` + second + `],"NextToken":null}`
	var keys []string
	var aside []event.Letter
	err := awslog.Read("file", strings.NewReader(text), awslog.Limits{}, func(events []event.Event, letters []event.Letter) error {
		for _, ev := range events {
			keys = append(keys, ev.Name)
		}
		aside = append(aside, letters...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"EC2.9", "CloudTrail.1", "EC2.9"}, keys); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(aside) != 1 || !strings.Contains(aside[0].Reason, "neither a finding in ASFF") || string(aside[0].Raw) != `{"Id":"x"}` {
		t.Errorf("set aside: %+v", aside)
	}
	events, err := awslog.Record([]byte(text))
	if len(events) != 3 || !fault.Is(err, fault.Invalid) {
		t.Errorf("as one record: %d events, %v", len(events), err)
	}
}

// TestASFFStates reads from what Security Hub or people say whether it is over.
func TestASFFStates(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		from, to string
		resolved bool
	}{
		{`"FAILED"`, `"FAILED"`, false},
		{`"FAILED"`, `"WARNING"`, false},
		{`"FAILED"`, `"NOT_AVAILABLE"`, false},
		{`"FAILED"`, `"PASSED"`, true},
		{`"NEW"`, `"NOTIFIED"`, false},
		{`"NEW"`, `"RESOLVED"`, true},
		{`"NEW"`, `"SUPPRESSED"`, true},
		{`"ACTIVE"`, `"ARCHIVED"`, true},
	} {
		got := tell(t, strings.Replace(asffDocument, test.from, test.to, 1))
		if got.Resolved != test.resolved || got.Type != "securityhub:EC2.9" {
			t.Errorf("%s: got %s, resolved %t", test.to, got.Type, got.Resolved)
		}
	}
}

// TestOwnFindingsComeBack reads what Riposte imported itself, and what only says so.
func TestOwnFindingsComeBack(t *testing.T) {
	t.Parallel()
	own := strings.Replace(asffDocument, `"acme-scanner"`, `"riposte/incident"`, 1)
	if got := tell(t, own); got.Type != "" {
		t.Errorf("Riposte's own finding is one again: %s", got.Type)
	}
	other := strings.Replace(own, "product/111122223333/default", "product/aws/securityhub", 1)
	other = strings.Replace(other, "eu-west-1:111122223333:product", "eu-west-1::product", 1)
	if got := tell(t, other); got.Type == "" {
		t.Error("a finding of another product hid itself")
	}
}

// TestRealFindingsAsDocuments holds real findings of Security Hub against the format.
func TestRealFindingsAsDocuments(t *testing.T) {
	t.Parallel()
	read, refused := 0, 0
	for _, raw := range records(t, "securityhub") {
		var envelope struct {
			Detail struct{ Findings []json.RawMessage }
		}
		if err := json.Unmarshal(raw, &envelope); err != nil {
			t.Fatal(err)
		}
		documents := envelope.Detail.Findings
		if strings.Contains(string(raw[:min(len(raw), 200)]), `"SchemaVersion"`) {
			documents = []json.RawMessage{raw}
		}
		for _, finding := range documents {
			events, err := awslog.Record(finding)
			switch {
			case err != nil && strings.Contains(err.Error(), "GeneratorId: is missing"): // one sample lacks it
				refused++
			case err != nil:
				t.Errorf("%v in %.200s", err, finding)
			case len(events) == 1:
				read++
			}
		}
	}
	if read < 50 || refused > 1 {
		t.Errorf("read %d, refused %d", read, refused)
	}
}
