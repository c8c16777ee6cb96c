package awslog

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
)

// handedFindings is the key of the list in what BatchImportFindings takes and GetFindings gives.
const handedFindings = "Findings"

// severalFindings reports whether a record is a list of findings as Security Hub's API takes and gives it.
func severalFindings(record value) bool {
	list := record.get(handedFindings)
	return len(list) > 0 && list[0] == '['
}

// handed reads a finding that somebody hands over by itself, in ASFF or OCSF. Unlike one in AWS's own envelope,
// which Security Hub has checked, it is held against the format: who sent it learns what is wrong.
func handed(record value) (event.Event, error) {
	switch {
	case len(record) == 0 || record[0] != '{':
		return event.Event{}, fault.New(fault.Invalid, "a finding is a JSON object")
	case record.get("class_uid") != nil:
		if err := checkOCSF(record); err != nil {
			return event.Event{}, err
		}
		return securityHubV2(record)
	case record.get("SchemaVersion") != nil || record.get("ProductArn") != nil:
		if err := checkASFF(record); err != nil {
			return event.Event{}, err
		}
		return securityHub(record)
	}
	return event.Event{}, fault.New(fault.Invalid, "neither a finding in ASFF (no SchemaVersion, no ProductArn) nor one in OCSF (no class_uid); its keys are %s",
		strings.Join(keysOf(record), ", "))
}

// most values of a list that are held against the format; Security Hub takes fewer.
const mostChecked = 100

// checkASFF holds a finding against the AWS Security Finding Format, as far as anything depends on it. The error
// names every field that is wrong.
func checkASFF(asff value) error {
	c := &checking{what: "finding in ASFF", id: asff.str("Id")}
	for _, name := range []string{"Id", "ProductArn", "GeneratorId", "AwsAccountId", "SchemaVersion", "Title", "Description"} {
		c.needText(asff, name)
	}
	for _, name := range []string{"CreatedAt", "UpdatedAt"} {
		if c.needText(asff, name) {
			c.time(asff, name)
		}
	}
	for _, name := range []string{"FirstObservedAt", "LastObservedAt"} {
		c.time(asff, name)
	}
	if version := asff.str("SchemaVersion"); version != "" && version != "2018-10-08" {
		c.wrong("SchemaVersion", "%.40q is not 2018-10-08", version)
	}
	if account := asff.str("AwsAccountId"); account != "" && !accountID(account) {
		c.wrong("AwsAccountId", "%.40q is no account: its id has 12 digits", account)
	}
	if product := asff.str("ProductArn"); product != "" {
		if a, ok := parseARN(product); !ok || a.service != "securityhub" {
			c.wrong("ProductArn", "%.80q is not the ARN of a product in Security Hub", product)
		}
	}
	c.asffSeverity(asff)
	c.asffResources(asff.get("Resources"))
	for item := range asff.get("Types").items() {
		c.is("Types", item, '"')
	}
	c.oneOf(asff, []string{"Compliance", "Status"}, "PASSED", "WARNING", "FAILED", "NOT_AVAILABLE")
	c.oneOf(asff, []string{"Workflow", "Status"}, "NEW", "NOTIFIED", "RESOLVED", "SUPPRESSED")
	c.oneOf(asff, []string{"RecordState"}, "ACTIVE", "ARCHIVED")
	for _, name := range []string{"ProductFields", "UserDefinedFields", "Compliance", "Workflow", "Note"} {
		c.is(name, asff.get(name), '{')
	}
	return c.error()
}

func (c *checking) asffSeverity(asff value) {
	severity := asff.get("Severity")
	if severity == nil {
		c.wrong("Severity", "is missing")
		return
	}
	if !c.is("Severity", severity, '{') {
		return
	}
	label, normalized := severity.get("Label"), severity.get("Normalized")
	if label == nil && normalized == nil {
		c.wrong("Severity", "has neither Label nor Normalized")
	}
	c.oneOf(asff, []string{"Severity", "Label"}, "INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL")
	if normalized == nil {
		return
	}
	if number, err := strconv.ParseFloat(string(normalized), 64); err != nil || number < 0 || number > 100 {
		c.wrong("Severity.Normalized", "is not a number from 0 to 100")
	}
}

func (c *checking) asffResources(resources value) {
	switch {
	case resources == nil:
		c.wrong("Resources", "is missing")
		return
	case !c.is("Resources", resources, '['):
		return
	}
	count := 0
	for item := range resources.items() {
		if count++; count > mostChecked {
			break
		}
		at := "Resources[" + strconv.Itoa(count-1) + "]"
		if !c.is(at, item, '{') {
			continue
		}
		for _, name := range []string{"Type", "Id"} {
			if v := item.get(name); v == nil || v.text() == "" {
				c.wrong(at+"."+name, "is missing")
			} else {
				c.is(at+"."+name, v, '"')
			}
		}
		c.is(at+".Details", item.get("Details"), '{')
	}
	if count == 0 {
		c.wrong("Resources", "is empty; a finding is about one resource at least")
	}
}

// checkOCSF holds a finding against OCSF's classes of findings, as far as anything depends on it.
func checkOCSF(ocsf value) error {
	c := &checking{what: "finding in OCSF", id: ocsf.str("finding_info", "uid")}
	if class := ocsf.get("class_uid"); class.integer() < 2001 || class.integer() > 2999 {
		c.wrong("class_uid", "%.40q is no class of findings", class.text())
	}
	info := ocsf.get("finding_info")
	switch {
	case info == nil:
		c.wrong("finding_info", "is missing")
	case c.is("finding_info", info, '{'):
		if v := info.get("uid"); v == nil || v.text() == "" {
			c.wrong("finding_info.uid", "is missing")
		}
	}
	for _, name := range []string{"severity_id", "status_id"} {
		if v := ocsf.get(name); v != nil && !number(v) {
			c.wrong(name, "is %s, not a number", v.sort())
		}
	}
	when := firstTime(info.str("modified_time_dt"), info.str("modified_time"), ocsf.str("time_dt"), ocsf.str("time"))
	if when.IsZero() {
		c.wrong("time", "is missing, or is no time")
	}
	if resources := ocsf.get("resources"); resources != nil {
		c.is("resources", resources, '[')
	}
	return c.error()
}

// checking gathers what is wrong with a document, by field.
type checking struct {
	what, id string
	errs     []error
}

func (c *checking) wrong(field, format string, args ...any) {
	if len(c.errs) < 20 { // enough to see that it isn't one
		c.errs = append(c.errs, fault.New(fault.Invalid, "%s: "+format, append([]any{field}, args...)...))
	}
}

// needText wants a field that is text and not empty.
func (c *checking) needText(of value, name string) bool {
	v := of.get(name)
	switch {
	case v == nil || v[0] == 'n':
		c.wrong(name, "is missing")
	case !c.is(name, v, '"'):
	case strings.TrimSpace(v.text()) == "":
		c.wrong(name, "is empty")
	default:
		return true
	}
	return false
}

// is wants a value of a sort, by its first byte, if there is one.
func (c *checking) is(field string, v value, first byte) bool {
	if len(v) == 0 || v[0] == first || v[0] == 'n' {
		return true
	}
	c.wrong(field, "is %s, not %s", v.sort(), value{first}.sort())
	return false
}

// time wants a field that is there to be a time.
func (c *checking) time(of value, name string) {
	if v := of.get(name); v != nil && v[0] != 'n' && momentOf(v.text()).Equal(time.Time{}) {
		c.wrong(name, "%.40q is not a time such as 2026-11-24T10:00:00Z", v.text())
	}
}

func (c *checking) oneOf(of value, path []string, allowed ...string) {
	v := of.get(path...)
	if v == nil || v[0] == 'n' {
		return
	}
	for _, known := range allowed {
		if v.text() == known {
			return
		}
	}
	c.wrong(strings.Join(path, "."), "%.40q is not one of %s", v.text(), strings.Join(allowed, ", "))
}

func (c *checking) error() error {
	if len(c.errs) == 0 {
		return nil
	}
	what := c.what
	if c.id != "" {
		what += " " + c.id[:min(len(c.id), 120)]
	}
	return fault.New(fault.Invalid, "%s: %w", strings.ToValidUTF8(what, "\uFFFD"), errors.Join(c.errs...))
}

func number(v value) bool { return v[0] == '-' || v[0] >= '0' && v[0] <= '9' }

// asffKinds are the kinds of the resources that name themselves otherwise than by ARN, by ASFF's type, and where
// their details say what they are called.
var asffKinds = map[string]struct {
	kind entity.Kind
	name string // in the details of the type
}{
	"AwsEc2Instance":          {entity.Instance, "InstanceId"},
	"AwsEc2SecurityGroup":     {entity.SecurityGroup, "GroupId"},
	"AwsEc2NetworkInterface":  {entity.NetworkInterface, "NetworkInterfaceId"},
	"AwsEc2Subnet":            {entity.Subnet, "SubnetId"},
	"AwsEc2Vpc":               {entity.VPC, "VpcId"},
	"AwsEc2Volume":            {entity.Volume, "VolumeId"},
	"AwsEc2Snapshot":          {entity.Snapshot, "SnapshotId"},
	"AwsIamUser":              {entity.User, "UserName"},
	"AwsIamRole":              {entity.Role, "RoleName"},
	"AwsIamGroup":             {entity.Group, "GroupName"},
	"AwsIamPolicy":            {entity.Policy, "Arn"},
	"AwsS3Bucket":             {entity.Bucket, "Name"},
	"AwsRdsDbInstance":        {entity.Database, "DBInstanceIdentifier"},
	"AwsRdsDbCluster":         {entity.Database, "DbClusterIdentifier"},
	"AwsRdsDbSnapshot":        {entity.Snapshot, "DbSnapshotIdentifier"},
	"AwsRdsDbClusterSnapshot": {entity.Snapshot, "DbClusterSnapshotIdentifier"},
	"AwsDynamoDbTable":        {entity.Table, "TableName"},
	"AwsLambdaFunction":       {entity.Function, "FunctionName"},
	"AwsKmsKey":               {entity.KMSKey, "KeyId"},
	"AwsSecretsManagerSecret": {entity.Secret, "Name"},
	"AwsEksCluster":           {entity.Cluster, "Name"},
	"AwsEcsCluster":           {entity.Cluster, "ClusterName"},
	"AwsCloudTrailTrail":      {entity.Trail, "Name"},
	"AwsSqsQueue":             {entity.Queue, "QueueUrl"},
	"AwsSnsTopic":             {entity.Topic, "TopicArn"},
}

// asffTarget adds what a finding is about: by its ARN where that says what kind of thing it is, else by the
// type and the name that its id or its details give.
func asffTarget(g *gather, resource value) {
	const from = "Resources.Id"
	id := resource.str("Id")
	known, typed := asffKinds[resource.str("Type")]
	if e, is := byARN(id); is && (!typed || e.Kind == known.kind) {
		e.Part, e.From = entity.Target, from
		g.add(e)
		return
	}
	if !typed {
		return
	}
	at := g.at
	if region := resource.str("Region"); region != "" && region != "global" {
		at.region = region
	}
	if a, is := parseARN(id); is && accountID(a.account) {
		at.account = a.account
	}
	for _, said := range []struct{ name, from string }{
		{resource.str("Details", resource.str("Type"), known.name), "Resources.Details." + resource.str("Type") + "." + known.name},
		{id, from},
	} {
		if strings.HasPrefix(said.name, "arn:") && said.from == from {
			break // an ARN of another kind than the type says
		}
		if e, ok := named(known.kind, said.name, at); ok {
			e.Part, e.From = entity.Target, said.from
			g.add(e)
			return
		}
	}
	g.arn(entity.Target, id, from)
}
