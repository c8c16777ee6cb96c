package app_test

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/content"
	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/expr"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/playbook"
)

// failedControls are controls of Security Hub that fail often, with what they name in ASFF (the account where it is
// left out), and the playbook that must answer.
const failedControls = `
Account.1 IAM.4 IAM.6 IAM.9 IAM.18 IAM.28 | | | open-task-for-identity
IAM.1 IAM.21 | AwsIamPolicy | arn:aws:iam::111122223333:policy/all | open-task-for-identity
IAM.2 IAM.3 IAM.5 IAM.8 IAM.19 IAM.22 | AwsIamUser | arn:aws:iam::111122223333:user/bob | open-task-for-identity
IAM.7 IAM.10 IAM.15 IAM.16 | | | raise-password-policy
CloudTrail.1 CloudTrail.3 CloudWatch.1 CloudWatch.4 CloudWatch.14 S3.22 S3.23 | | | open-task-for-logging
CloudTrail.2 CloudTrail.5 | AwsCloudTrailTrail | arn:aws:cloudtrail:eu-west-1:111122223333:trail/main | open-task-for-logging
CloudTrail.4 | AwsCloudTrailTrail | arn:aws:cloudtrail:eu-west-1:111122223333:trail/main | validate-trail-files
CloudTrail.6 | AwsS3Bucket | arn:aws:s3:::acme-trail | open-task-for-logging
CloudTrail.7 S3.9 | AwsS3Bucket | arn:aws:s3:::acme-trail | log-access-to-bucket
Config.1 | | | start-config-recorder
GuardDuty.1 | | | turn-on-guardduty
GuardDuty.5 GuardDuty.8 GuardDuty.10 GuardDuty.11 | | | turn-on-guardduty-feature
EC2.1 EC2.182 | | | block-public-snapshots
EC2.1 | AwsEc2Snapshot | arn:aws:ec2:eu-west-1:111122223333:snapshot/snap-0abcdef1234567890 | unshare-snapshot
EC2.2 | AwsEc2SecurityGroup | arn:aws:ec2:eu-west-1:111122223333:security-group/sg-0abcdef1234567890 | lock-default-security-group
EC2.3 | AwsEc2Volume | arn:aws:ec2:eu-west-1:111122223333:volume/vol-0abcdef1234567890 | open-task-for-compute
EC2.6 | AwsEc2Vpc | arn:aws:ec2:eu-west-1:111122223333:vpc/vpc-0abcdef1234567890 | log-vpc-traffic
EC2.7 | | | encrypt-new-volumes
EC2.8 | AwsEc2Instance | arn:aws:ec2:eu-west-1:111122223333:instance/i-0abcdef1234567890 | require-metadata-tokens
EC2.9 EC2.4 SSM.1 | AwsEc2Instance | arn:aws:ec2:eu-west-1:111122223333:instance/i-0abcdef1234567890 | open-task-for-compute
EC2.13 EC2.14 EC2.18 EC2.19 | AwsEc2SecurityGroup | arn:aws:ec2:eu-west-1:111122223333:security-group/sg-0abcdef1234567890 | close-open-port
EC2.15 | AwsEc2Subnet | arn:aws:ec2:eu-west-1:111122223333:subnet/subnet-0abcdef1234567890 | open-task-for-compute
EC2.21 EC2.10 | | | open-task-for-compute
S3.1 | | | close-account-to-public-buckets
S3.2 S3.3 S3.8 | AwsS3Bucket | arn:aws:s3:::acme-data | close-public-bucket
S3.4 S3.13 S3.17 | AwsS3Bucket | arn:aws:s3:::acme-data | open-task-for-data
S3.5 | AwsS3Bucket | arn:aws:s3:::acme-data | require-tls-of-bucket
S3.14 | AwsS3Bucket | arn:aws:s3:::acme-data | keep-versions-of-bucket
RDS.1 | AwsRdsDbSnapshot | arn:aws:rds:eu-west-1:111122223333:snapshot:orders-copy | unshare-database-snapshot
RDS.2 | AwsRdsDbInstance | arn:aws:rds:eu-west-1:111122223333:db:shop | make-database-private
RDS.3 RDS.5 RDS.6 RDS.11 RDS.13 | AwsRdsDbInstance | arn:aws:rds:eu-west-1:111122223333:db:shop | open-task-for-data
RDS.7 | AwsRdsDbCluster | arn:aws:rds:eu-west-1:111122223333:cluster:shop | protect-database-from-deletion
RDS.8 | AwsRdsDbInstance | arn:aws:rds:eu-west-1:111122223333:db:shop | protect-database-from-deletion
KMS.3 | AwsKmsKey | arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab | keep-kms-key
KMS.4 | AwsKmsKey | arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab | rotate-kms-key-material
Lambda.1 | AwsLambdaFunction | arn:aws:lambda:eu-west-1:111122223333:function:shop | close-public-function
Lambda.2 | AwsLambdaFunction | arn:aws:lambda:eu-west-1:111122223333:function:shop | open-task-for-compute
SecretsManager.1 SecretsManager.3 | AwsSecretsManagerSecret | arn:aws:secretsmanager:eu-west-1:111122223333:secret:db-a1b2c3 | open-task-for-data
SecretsManager.2 SecretsManager.4 | AwsSecretsManagerSecret | arn:aws:secretsmanager:eu-west-1:111122223333:secret:db-a1b2c3 | rotate-overdue-secret
SNS.4 | AwsSnsTopic | arn:aws:sns:eu-west-1:111122223333:orders | close-public-topic
SQS.3 | AwsSqsQueue | arn:aws:sqs:eu-west-1:111122223333:orders | close-public-queue
SNS.1 SQS.1 ECR.1 ECR.2 ECR.3 EFS.1 | | | open-task-for-data
ECS.1 ECS.2 ECS.5 ECS.12 ELB.1 ELB.3 AutoScaling.1 AutoScaling.3 EKS.2 | | | open-task-for-compute
ELB.5 EKS.8 Redshift.4 RDS.9 | | | open-task-for-logging
EKS.1 | AwsEksCluster | arn:aws:eks:eu-west-1:111122223333:cluster/shop | limit-cluster-endpoint
Redshift.1 | AwsRedshiftCluster | arn:aws:redshift:eu-west-1:111122223333:cluster:figures | make-redshift-private
DynamoDB.1 | AwsDynamoDbTable | arn:aws:dynamodb:eu-west-1:111122223333:table/orders | open-task-for-data
DynamoDB.2 | AwsDynamoDbTable | arn:aws:dynamodb:eu-west-1:111122223333:table/orders | back-up-table-continuously
SSM.4 | AwsSsmDocument | arn:aws:ssm:eu-west-1:111122223333:document/restart-shop | unshare-document
`

// TestFailedControlsAreAnswered reads each control's finding as Security Hub writes it, and sees which of the shipped
// playbooks answer: the one that is meant, and no other.
func TestFailedControlsAreAnswered(t *testing.T) {
	t.Parallel()
	books := shippedBooks(t)
	controls := map[string]bool{}
	for line := range strings.Lines(failedControls) {
		parts := strings.Split(strings.TrimSpace(line), " | ")
		if len(parts) == 1 {
			continue
		}
		parts = strings.Split(strings.TrimSpace(line), "|")
		for control := range strings.FieldsSeq(parts[0]) {
			controls[control] = true
			f := controlFinding(t, control, strings.TrimSpace(parts[1]), strings.TrimSpace(parts[2]))
			var answer []string
			for _, book := range books {
				is, err := book.Answers(t.Context(), f.Type, expr.Scope{expr.Finding: expr.ViewFinding(&f)})
				if err != nil {
					t.Errorf("%s: %s: %v", control, book.Name, err)
				}
				if is {
					answer = append(answer, book.Name)
				}
			}
			if want := strings.TrimSpace(parts[3]); !slices.Equal(answer, []string{want}) {
				t.Errorf("%s about %q: answered by %q, want %s", control, parts[2], answer, want)
			}
		}
	}
	if len(controls) < 60 {
		t.Errorf("%d controls; at least 60 must be answered", len(controls))
	}
}

// shippedBooks are the playbooks that are shipped.
func shippedBooks(t *testing.T) []*playbook.Playbook {
	t.Helper()
	files, err := fs.Glob(content.Files, "playbooks/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var books []*playbook.Playbook
	for _, file := range files {
		if strings.HasSuffix(file, "_test.yaml") {
			continue
		}
		text, err := fs.ReadFile(content.Files, file)
		if err != nil {
			t.Fatal(err)
		}
		book, err := playbook.Parse(file, text)
		if err != nil {
			t.Fatal(err)
		}
		books = append(books, book)
	}
	return books
}

// controlFinding is what Security Hub tells of a failed control.
func controlFinding(t *testing.T, control, kind, id string) finding.Finding {
	t.Helper()
	details := ""
	switch kind {
	case "":
		kind, id = "AwsAccount", "AWS::::Account:111122223333"
	case "AwsEc2SecurityGroup":
		details = `,"Details":{"AwsEc2SecurityGroup":{"VpcId":"vpc-0abcdef1234567890"}}`
	}
	record := fmt.Sprintf(`{"SchemaVersion":"2018-10-08","Id":"arn:aws:securityhub:eu-west-1:111122223333:security-control/%[1]s/finding/1",
		"ProductArn":"arn:aws:securityhub:eu-west-1::product/aws/securityhub","GeneratorId":"security-control/%[1]s",
		"AwsAccountId":"111122223333","Region":"eu-west-1","CreatedAt":"2026-11-24T09:00:00Z","UpdatedAt":"2026-11-24T10:00:00Z",
		"Severity":{"Label":"MEDIUM"},"Title":"A control failed","Description":"d","Types":["Software and Configuration Checks"],
		"Compliance":{"Status":"FAILED","SecurityControlId":"%[1]s"},"Workflow":{"Status":"NEW"},"RecordState":"ACTIVE",
		"Resources":[{"Type":"%[2]s","Id":"%[3]s"%[4]s}]}`, control, kind, id, details)
	events, err := awslog.Record([]byte(record))
	if err != nil || len(events) != 1 {
		t.Fatalf("%s: %d events, %v", control, len(events), err)
	}
	f, is, err := awslog.Finding(events[0])
	if err != nil || !is {
		t.Fatalf("%s is no finding: %v", control, err)
	}
	return f
}
