package awslog

import (
	"strings"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
)

// securityHub reads a Security Hub finding in the AWS Security Finding Format. What people do to a finding
// (resolve, suppress) leaves UpdatedAt as it is, so the workflow's status is part of the key.
func securityHub(asff value) (event.Event, error) {
	id := asff.str("Id")
	when := momentOf(asff.str("UpdatedAt"), asff.str("CreatedAt"))
	switch {
	case id == "":
		return event.Event{}, fault.New(fault.Invalid, "not a Security Hub finding: no Id")
	case when.IsZero():
		return event.Event{}, fault.New(fault.Invalid, "Security Hub finding %s has no time", id)
	}
	at := place{asff.str("AwsAccountId"), firstOf(asff.str("Region"), asff.str("ProductFields", "aws/securityhub/Region"), regionOf(asff))}
	g := &gather{at: at}
	for item := range asff.get("Resources").items() {
		securityHubResource(g, item)
	}
	securityHubOrigin(g, asff)
	g.name(entity.Account, entity.Context, at.account, "AwsAccountId")
	return event.Event{
		Key: key(event.SecurityHub, asff.str("ProductArn"), id, asff.str("UpdatedAt"), asff.str("RecordState"),
			firstOf(asff.str("Workflow", "Status"), asff.str("WorkflowState"))),
		Source: event.SecurityHub, Time: when, Account: at.account, Region: at.region,
		Service: "securityhub.amazonaws.com", Name: controlOf(asff), Entities: g.list, Raw: asff,
	}, nil
}

// regionOf is the region of a finding that doesn't say it: that of its first resource, or of its product.
func regionOf(asff value) string {
	for item := range asff.get("Resources").items() {
		if region := item.str("Region"); region != "" && region != "global" {
			return region
		}
	}
	a, _ := parseARN(asff.str("ProductArn"))
	return a.region
}

// controlOf is what a finding is called: the control it failed, or else its first type.
func controlOf(asff value) string {
	fields := asff.get("ProductFields")
	if control := firstOf(asff.str("Compliance", "SecurityControlId"), fields.str("ControlId")); control != "" {
		return control
	}
	if rule := fields.str("RuleId"); rule != "" && strings.Contains(fields.str("StandardsGuideArn"), "cis-aws-foundations") {
		return "CIS." + rule
	}
	for item := range asff.get("Types").items() {
		if text := item.text(); text != "" {
			return text
		}
	}
	return firstOf(asff.str("GeneratorId"), asff.str("Id"))
}

// asffDetails are what a resource's details add to its id.
var asffDetails = compile(strings.Join([]string{
	"network_interface AwsEc2Instance.NetworkInterfaces.NetworkInterfaceId", "~vpc AwsEc2Instance.VpcId",
	"~subnet AwsEc2Instance.SubnetId", "~instance_profile AwsEc2Instance.IamInstanceProfileArn",
	"~image AwsEc2Instance.ImageId", "~vpc AwsEc2SecurityGroup.VpcId",
}, ", "))

func securityHubResource(g *gather, resource value) {
	id, details := resource.str("Id"), resource.get("Details")
	switch {
	case resource.str("Type") == "AwsIamAccessKey":
		asffKey(g, id, details.get("AwsIamAccessKey"))
	case strings.HasPrefix(id, "AWS::::Account:"):
		g.name(entity.Account, entity.Target, strings.TrimPrefix(id, "AWS::::Account:"), "Resources.Id")
	default:
		asffTarget(g, resource)
	}
	for _, t := range asffDetails {
		details.each(t.path, func(v value) { g.name(t.kind, t.part, v.text(), "Resources.Details."+t.from) })
	}
}

// asffKey adds whose key it was: it acts.
func asffKey(g *gather, id string, details value) {
	const from = "Resources.Details.AwsIamAccessKey."
	_, key, _ := strings.Cut(id, "AWS::IAM::AccessKey:")
	if key != "null" {
		g.name(entity.AccessKey, entity.Actor, firstOf(details.str("AccessKeyId"), key), "Resources.Id")
	}
	name := firstOf(details.str("PrincipalName"), details.str("UserName"))
	switch details.str("PrincipalType") {
	case "AssumedRole", "Role":
		g.name(entity.Role, entity.Actor, name, from+"PrincipalName")
	case "", "IAMUser", "FederatedUser":
		g.name(entity.User, entity.Actor, name, from+"PrincipalName")
	}
}

// securityHubOrigin adds where it came from: in the finding's action, in its network, or, for GuardDuty's
// findings, in the product's fields.
func securityHubOrigin(g *gather, asff value) {
	for _, name := range []string{"NetworkConnectionAction", "AwsApiCallAction"} {
		g.address(asff.str("Action", name, "RemoteIpDetails", "IpAddressV4"), "Action."+name+".RemoteIpDetails.IpAddressV4")
	}
	g.name(entity.Domain, entity.Origin, asff.str("Action", "DnsRequestAction", "Domain"), "Action.DnsRequestAction.Domain")
	g.address(asff.str("Network", "SourceIpV4"), "Network.SourceIpV4")
	for name, v := range asff.get("ProductFields").fields() {
		field := string(name)
		switch {
		case strings.HasSuffix(field, "/remoteIpDetails/ipAddressV4"), strings.HasSuffix(field, "/remoteIpDetails/ipAddressV6"):
			g.address(v.text(), "ProductFields."+field)
		case strings.HasSuffix(field, "dnsRequestAction/domain"):
			g.name(entity.Domain, entity.Origin, v.text(), "ProductFields."+field)
		}
	}
}

// securityHubFinding makes a finding of a Security Hub event. A finding that GuardDuty gave to Security Hub
// is GuardDuty's: it has the fingerprint and the type that it has when GuardDuty tells of it itself.
func securityHubFinding(ev event.Event, asff value) finding.Finding {
	if importedByUs(asff) {
		return finding.Finding{}
	}
	f := finding.Finding{
		Fingerprint: finding.Fingerprint(string(finding.SecurityHub), asff.str("ProductArn"), asff.str("Id")),
		Product:     finding.SecurityHub,
		Type:        "securityhub:" + ev.Name,
		Title:       firstOf(asff.str("Title"), ev.Name),
		Description: asff.str("Description"),
		Severity:    asffSeverity(asff),
		FirstSeen:   momentOf(asff.str("FirstObservedAt"), asff.str("CreatedAt")),
		LastSeen:    momentOf(asff.str("LastObservedAt"), asff.str("UpdatedAt")),
		Count:       1,
		Resolved:    asffResolved(asff),
		Matched:     asffMatched(asff),
		Reference: reference("product_arn", asff.str("ProductArn"), "id", asff.str("Id"),
			"region", ev.Region, "account", ev.Account),
	}
	if strings.HasSuffix(asff.str("ProductArn"), ":product/aws/guardduty") {
		fields := asff.get("ProductFields")
		asGuardDuty(&f, asff.str("Id"), max(fields.integer("aws/guardduty/service/count"), fields.integer("count")))
		f.Type = "guardduty:" + guardDutyType(ev.Name)
	}
	return f
}

// OwnGenerator begins the GeneratorId of the findings that Riposte imports into Security Hub.
const OwnGenerator = "riposte/"

// importedByUs reports whether a finding is one that Riposte imported: told back, it is no news. Only the account's
// own default product can have it, so nobody hides another product's finding that way.
func importedByUs(asff value) bool {
	a, _ := parseARN(asff.str("ProductArn"))
	return strings.HasPrefix(asff.str("GeneratorId"), OwnGenerator) && a.service == "securityhub" &&
		strings.HasPrefix(a.resource, "product/") && strings.HasSuffix(a.resource, "/default")
}

// asffMatched tells people what made it a finding of a control.
func asffMatched(asff value) []finding.Matched {
	var matched []finding.Matched
	for _, path := range [][]string{{"Compliance", "SecurityControlId"}, {"Compliance", "Status"}} {
		if text := asff.str(path...); text != "" {
			matched = append(matched, finding.Matched{Field: strings.Join(path, "."), Value: text[:min(len(text), 200)]})
		}
	}
	return matched
}

// asGuardDuty makes a finding the one that GuardDuty itself tells of, by its ARN. It reports whether the
// ARN is that of a GuardDuty finding.
func asGuardDuty(f *finding.Finding, text string, count int) bool {
	a, ok := parseARN(text)
	rest, isDetector := a.after("detector/")
	detector, id, isFinding := strings.Cut(rest, "/finding/")
	if !ok || a.service != "guardduty" || !isDetector || !isFinding {
		return false
	}
	f.Product, f.Fingerprint, f.Count = finding.GuardDuty, guardDutyFingerprint(id), max(count, 1)
	f.Reference["detector_id"], f.Reference["finding_id"] = detector, id
	return true
}

// guardDutyType turns ASFF's "TTPs/Discovery/Recon:EC2-PortProbe" back into GuardDuty's
// "Recon:EC2/PortProbe".
func guardDutyType(asffType string) string {
	name := last(asffType)
	purpose, rest, ok := strings.Cut(name, ":")
	if !ok {
		return name
	}
	return purpose + ":" + strings.Replace(rest, "-", "/", 1)
}

func asffSeverity(asff value) finding.Severity {
	for _, label := range []string{asff.str("Severity", "Label"), asff.str("FindingProviderFields", "Severity", "Label")} {
		if severity, err := finding.ParseSeverity(label); err == nil {
			return severity
		}
	}
	if asff.get("Severity", "Normalized") == nil {
		return finding.Unknown
	}
	switch number := asff.float("Severity", "Normalized"); {
	case number >= 90:
		return finding.Critical
	case number >= 70:
		return finding.High
	case number >= 40:
		return finding.Medium
	case number >= 1:
		return finding.Low
	}
	return finding.Informational
}

// asffResolved reports whether a person or the product says that the matter is over.
func asffResolved(asff value) bool {
	switch firstOf(asff.str("Workflow", "Status"), asff.str("WorkflowState")) {
	case "RESOLVED", "SUPPRESSED":
		return true
	}
	return asff.str("Compliance", "Status") == "PASSED" || asff.str("RecordState") == "ARCHIVED"
}
