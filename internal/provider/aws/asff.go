package aws

import (
	"strings"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/securityhub/types"
	"github.com/oklog/ulid/v2"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
)

// Bounds of the AWS Security Finding Format, in characters and in members.
const (
	asffVersion     = "2018-10-08"
	longestASFFID   = 512
	longestTitle    = 256
	longestDescribe = 1024
	longestType     = 256
	mostTypes       = 50
	mostResources   = 32
)

// namespaces are the first parts that ASFF's types may have.
var namespaces = []string{ //nolint:gochecknoglobals // a constant list
	"Software and Configuration Checks", "TTPs", "Effects", "Unusual Behaviors", "Sensitive Data Identifications",
}

// asff is what a finding of Riposte's own says in the AWS Security Finding Format. Its texts may be an
// attacker's: they are cut to ASFF's bounds and lose what isn't printable.
type asff struct {
	Self
	action.Place
	Incident, Run, ID            string
	Title, Description, Severity string
	Types, Resources             []string
	Archived                     bool
	Now                          time.Time
}

func (a asff) finding() (types.AwsSecurityFinding, error) {
	severity, err := finding.ParseSeverity(a.Severity)
	if err != nil || severity == finding.Unknown {
		return types.AwsSecurityFinding{}, fault.New(fault.Invalid, "severity: %.40q is not critical, high, medium, low or informational", a.Severity)
	}
	kinds, err := a.types()
	if err != nil {
		return types.AwsSecurityFinding{}, err
	}
	title := printable(a.Title, longestTitle)
	if title == "" {
		return types.AwsSecurityFinding{}, fault.New(fault.Invalid, "title: there is nothing printable in it")
	}
	description := printable(a.Description, longestDescribe)
	if description == "" {
		description = title
	}
	label := types.SeverityLabel(strings.ToUpper(severity.String()))
	state := types.RecordStateActive
	if a.Archived {
		state = types.RecordStateArchived
	}
	return types.AwsSecurityFinding{
		SchemaVersion: aws.String(asffVersion), Id: aws.String(a.id()), ProductArn: aws.String(ownProduct(a.Partition, a.Place)),
		GeneratorId: aws.String(awslog.OwnGenerator + "incident"), AwsAccountId: aws.String(a.Place.Account), Region: aws.String(a.Place.Region),
		ProductName: aws.String("Riposte"), CompanyName: aws.String("Riposte"),
		CreatedAt: aws.String(a.created().UTC().Format(time.RFC3339)), UpdatedAt: aws.String(a.Now.UTC().Format("2006-01-02T15:04:05.000Z")),
		Title: aws.String(title), Description: aws.String(description), Types: kinds, RecordState: state,
		Severity: &types.Severity{Label: label},
		FindingProviderFields: &types.FindingProviderFields{
			Severity: &types.FindingProviderSeverity{Label: label}, Types: kinds,
		},
		ProductFields: map[string]string{"riposte/incident": printable(a.Incident, longestASFFID), "riposte/run": printable(a.Run, longestASFFID)},
		Resources:     a.resources(),
	}, nil
}

// id is the finding's Id: of one incident there is one finding, unless they are told apart.
func (a asff) id() string {
	id := awslog.OwnGenerator + "incident/" + a.Incident
	if a.ID != "" {
		id += "/" + a.ID
	}
	return printable(id, longestASFFID)
}

// created is when the incident was opened, which its id tells, so that it is the same each time.
func (a asff) created() time.Time {
	if id, err := ulid.Parse(a.Incident); err == nil {
		return id.Timestamp()
	}
	return a.Now
}

func (a asff) types() ([]string, error) {
	kinds := a.Types
	if len(kinds) == 0 {
		kinds = []string{"Unusual Behaviors"}
	}
	if len(kinds) > mostTypes {
		return nil, fault.New(fault.Invalid, "types: %d of them; Security Hub takes %d", len(kinds), mostTypes)
	}
	checked := make([]string, 0, len(kinds))
	for _, kind := range kinds {
		namespace, _, _ := strings.Cut(kind, "/")
		known := false
		for _, one := range namespaces {
			known = known || one == namespace
		}
		if !known || strings.Count(kind, "/") > 2 {
			return nil, fault.New(fault.Invalid, "types: %.80q is not of the form %s/category/classifier", kind, strings.Join(namespaces, "|"))
		}
		checked = append(checked, printable(kind, longestType))
	}
	return checked, nil
}

// resources are what the finding is about; what doesn't fit is left out.
func (a asff) resources() []types.Resource {
	var list []types.Resource
	for _, name := range a.Resources {
		id := printable(name, longestASFFID)
		if id == "" || len(list) == mostResources {
			continue
		}
		one := types.Resource{Id: aws.String(id), Type: aws.String(asffType(id)), Partition: types.Partition(a.Partition)}
		if parsed, err := arn.Parse(id); err == nil && parsed.Region != "" {
			one.Region = aws.String(parsed.Region)
		}
		list = append(list, one)
	}
	if len(list) == 0 {
		list = append(list, types.Resource{
			Id: aws.String("AWS::::Account:" + a.Place.Account), Type: aws.String("AwsAccount"), Partition: types.Partition(a.Partition),
			Region: aws.String(a.Place.Region),
		})
	}
	return list
}

// asffTypes are ASFF's types of resources, by service and the beginning of an ARN's resource.
var asffTypes = []struct{ service, prefix, name string }{ //nolint:gochecknoglobals // a constant list
	{"ec2", "instance/", "AwsEc2Instance"},
	{"ec2", "security-group/", "AwsEc2SecurityGroup"},
	{"ec2", "volume/", "AwsEc2Volume"},
	{"ec2", "network-interface/", "AwsEc2NetworkInterface"},
	{"ec2", "subnet/", "AwsEc2Subnet"},
	{"ec2", "vpc/", "AwsEc2Vpc"},
	{"iam", "user/", "AwsIamUser"},
	{"iam", "role/", "AwsIamRole"},
	{"iam", "group/", "AwsIamGroup"},
	{"iam", "policy/", "AwsIamPolicy"},
	{"s3", "", "AwsS3Bucket"},
	{"rds", "db:", "AwsRdsDbInstance"},
	{"rds", "cluster:", "AwsRdsDbCluster"},
	{"rds", "snapshot:", "AwsRdsDbSnapshot"},
	{"rds", "cluster-snapshot:", "AwsRdsDbClusterSnapshot"},
	{"lambda", "function:", "AwsLambdaFunction"},
	{"kms", "key/", "AwsKmsKey"},
	{"eks", "cluster/", "AwsEksCluster"},
	{"ecs", "cluster/", "AwsEcsCluster"},
	{"cloudtrail", "trail/", "AwsCloudTrailTrail"},
	{"dynamodb", "table/", "AwsDynamoDbTable"},
	{"secretsmanager", "secret:", "AwsSecretsManagerSecret"},
	{"sns", "", "AwsSnsTopic"},
	{"sqs", "", "AwsSqsQueue"},
}

func asffType(id string) string {
	parsed, err := arn.Parse(id)
	if err != nil {
		return "Other"
	}
	if parsed.Service == "s3" && strings.Contains(parsed.Resource, "/") {
		return "AwsS3Object"
	}
	for _, known := range asffTypes {
		if parsed.Service == known.service && strings.HasPrefix(parsed.Resource, known.prefix) {
			return known.name
		}
	}
	return "Other"
}

// printable makes one line of what somebody wrote, without control and format characters, of at most so many
// characters.
func printable(text string, most int) string {
	kept := make([]rune, 0, min(len(text), most))
	for _, r := range strings.ToValidUTF8(text, "\uFFFD") {
		switch {
		case unicode.IsSpace(r):
			r = ' '
		case !unicode.IsPrint(r):
			continue
		}
		if kept = append(kept, r); len(kept) > most {
			kept[most-1] = '…'
			kept = kept[:most]
			break
		}
	}
	return strings.TrimSpace(string(kept))
}
