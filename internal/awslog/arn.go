package awslog

import (
	"net/netip"
	"strings"

	"github.com/riposte-sec/riposte/internal/entity"
)

// provider marks every entity of this package.
const provider = "aws"

// hidden is what CloudTrail writes instead of a value.
const hidden = "HIDDEN_DUE_TO_SECURITY_REASONS"

// arn is an ARN's parts.
type arn struct {
	partition, service, region, account string
	resource                            string // what follows the account
}

// parseARN splits an ARN and reports whether text is one.
func parseARN(text string) (arn, bool) {
	parts := strings.SplitN(text, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" || parts[1] == "" || parts[2] == "" || parts[5] == "" {
		return arn{}, false
	}
	return arn{partition: parts[1], service: parts[2], region: parts[3], account: parts[4], resource: parts[5]}, true
}

// after is the resource's rest after a prefix, and whether it has the prefix and a rest.
func (a arn) after(prefix string) (string, bool) {
	rest, ok := strings.CutPrefix(a.resource, prefix)
	return rest, ok && rest != ""
}

// last is the last element of a path.
func last(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// first is the part of text before the first separator.
func first(text, separator string) string {
	before, _, _ := strings.Cut(text, separator)
	return before
}

// whole marks a kind whose ID is the ARN itself.
func whole(string) string { return "" }

// same is for a kind whose ID is all that follows the prefix.
func same(rest string) string { return rest }

// parameterName gives a name of several levels its slash; one of a single level is written without.
func parameterName(rest string) string {
	if strings.Contains(rest, "/") {
		return "/" + rest
	}
	return rest
}

func untilColon(rest string) string { return first(rest, ":") }
func untilSlash(rest string) string { return first(rest, "/") }

// shape says what an ARN of a service names: by the resource's prefix, the kind, and how the ID follows
// from the rest after the prefix; "" means that the ARN itself is the ID.
type shape struct {
	prefix string
	kind   entity.Kind
	id     func(rest string) string
}

// shapes lists, by service, what ARNs name; the first prefix that fits counts.
var shapes = map[string][]shape{
	"iam": {
		{"user/", entity.User, last},
		{"role/", entity.Role, last},
		{"group/", entity.Group, last},
		{"policy/", entity.Policy, whole},
		{"instance-profile/", entity.InstanceProfile, whole},
		{"mfa/", entity.MFADevice, whole},
		{"u2f/", entity.MFADevice, whole},
		{"root", entity.Principal, whole},
	},
	"sts": {{"assumed-role/", entity.Session, whole}, {"federated-user/", entity.Session, whole}},
	"ec2": {
		{"instance/", entity.Instance, same},
		{"network-interface/", entity.NetworkInterface, same},
		{"security-group/", entity.SecurityGroup, same},
		{"subnet/", entity.Subnet, same},
		{"vpc/", entity.VPC, same},
		{"vpc-flow-log/", entity.FlowLog, same},
		{"volume/", entity.Volume, same},
		{"snapshot/", entity.Snapshot, same},
		{"image/", entity.Image, same},
	},
	"kms":            {{"key/", entity.KMSKey, same}, {"alias/", entity.KMSKey, func(rest string) string { return "alias/" + rest }}},
	"secretsmanager": {{"secret:", entity.Secret, whole}},
	"ssm": {
		{"parameter/", entity.Parameter, parameterName},
		{"document/", entity.Document, same},
		{"managed-instance/", entity.Instance, same},
	},
	"rds": {
		{"db:", entity.Database, same},
		{"cluster:", entity.Database, same},
		{"snapshot:", entity.Snapshot, same},
		{"cluster-snapshot:", entity.Snapshot, same},
	},
	"dynamodb":   {{"table/", entity.Table, untilSlash}},
	"lambda":     {{"function:", entity.Function, untilColon}},
	"eks":        {{"cluster/", entity.Cluster, untilSlash}},
	"ecs":        {{"cluster/", entity.Cluster, same}},
	"sqs":        {{"", entity.Queue, whole}},
	"sns":        {{"", entity.Topic, whole}},
	"logs":       {{"log-group:", entity.LogGroup, untilColon}},
	"cloudwatch": {{"alarm:", entity.Alarm, whole}},
	"cloudtrail": {{"trail/", entity.Trail, same}},
	"guardduty":  {{"detector/", entity.Detector, untilSlash}},
	"organizations": {
		{"organization/", entity.Organization, same},
		{"account/", entity.Account, last},
	},
}

// byARN is the entity that an ARN names; entity.Resource where we know no better kind.
func byARN(text string) (entity.Entity, bool) {
	a, ok := parseARN(text)
	if !ok {
		return entity.Entity{}, false
	}
	e := entity.Entity{Kind: entity.Resource, ID: text, Provider: provider, Account: a.account, Region: a.region, ARN: text}
	if a.service == "s3" && a.account == "" {
		return bucketByARN(e, a), true
	}
	for _, s := range shapes[a.service] {
		rest, ok := strings.CutPrefix(a.resource, s.prefix)
		if !ok || rest == "" && s.prefix != a.resource {
			continue
		}
		e.Kind = s.kind
		if id := s.id(rest); id != "" {
			e.ID = id
		}
		break
	}
	return e, true
}

// bucketByARN reads arn:aws:s3:::bucket and arn:aws:s3:::bucket/key.
func bucketByARN(e entity.Entity, a arn) entity.Entity {
	e.Kind, e.ID = entity.Bucket, a.resource
	if bucket, key, ok := strings.Cut(a.resource, "/"); ok {
		if key == "" || key == "*" {
			e.ID = bucket
		} else {
			e.Kind = entity.Object
		}
	}
	return e
}

// partition is the ARN partition that a region is in.
func partition(region string) string {
	for _, p := range []struct{ prefix, name string }{
		{"cn-", "aws-cn"},
		{"us-gov-", "aws-us-gov"},
		{"us-isob-", "aws-iso-b"},
		{"us-iso-", "aws-iso"},
		{"eu-isoe-", "aws-iso-e"},
		{"us-isof-", "aws-iso-f"},
		{"eusc-", "aws-eusc"},
	} {
		if strings.HasPrefix(region, p.prefix) {
			return p.name
		}
	}
	return "aws"
}

// place is where an entity that names no place of its own is.
type place struct{ account, region string }

// global are the kinds that belong to an account, not to one of its regions.
func global(kind entity.Kind) bool {
	switch kind {
	case entity.User, entity.Role, entity.Group, entity.Policy, entity.InstanceProfile, entity.MFADevice, entity.Account,
		entity.Principal, entity.Session, entity.AccessKey, entity.Bucket, entity.Object, entity.Organization:
		return true
	default:
		return false
	}
}

// named is the entity of a kind that a record names by id: by name, by ARN, or by a part of an ARN. It
// reports false where the id names nothing or cannot be of the kind.
func named(kind entity.Kind, id string, at place) (entity.Entity, bool) {
	id = strings.TrimSpace(id)
	if id == "" || id == hidden || len(id) > 2048 {
		return entity.Entity{}, false
	}
	if strings.HasPrefix(id, "arn:") {
		e, ok := byARN(id)
		if !ok || e.Kind != kind && kind != entity.Principal && kind != entity.Resource {
			return entity.Entity{}, false
		}
		if kind == entity.Principal || kind == entity.Resource && e.Kind == entity.Resource {
			e.Kind, e.ID = kind, id
		}
		return e, true
	}
	if kind == byPrefix {
		if kind = kindOf(id); kind == byPrefix {
			return entity.Entity{}, false
		}
	}
	e := entity.Entity{Kind: kind, ID: id, Provider: provider, Account: at.account, Region: at.region}
	if global(kind) {
		e.Region = ""
	}
	return shaped(e, at)
}

// prefixes are how ids of a kind begin; an id of another form is some other thing.
var prefixes = map[entity.Kind][]string{
	entity.Instance: {"i-", "mi-"}, entity.NetworkInterface: {"eni-"}, entity.SecurityGroup: {"sg-"}, entity.Subnet: {"subnet-"},
	entity.VPC: {"vpc-"}, entity.FlowLog: {"fl-"}, entity.Volume: {"vol-"}, entity.Organization: {"o-"},
}

// byPrefix stands for the kind that an id of EC2 says itself.
const byPrefix entity.Kind = ""

// kindOf is the kind of an EC2 id, byPrefix if it is none that we know.
func kindOf(id string) entity.Kind {
	prefix, _, _ := strings.Cut(id, "-")
	switch prefix {
	case "i":
		return entity.Instance
	case "eni":
		return entity.NetworkInterface
	case "sg":
		return entity.SecurityGroup
	case "subnet":
		return entity.Subnet
	case "vpc":
		return entity.VPC
	case "fl":
		return entity.FlowLog
	case "vol":
		return entity.Volume
	case "snap":
		return entity.Snapshot
	case "ami":
		return entity.Image
	}
	return byPrefix
}

// shaped checks an id that is not an ARN against its kind, and builds the ARN where the kind's ID is one.
func shaped(e entity.Entity, at place) (entity.Entity, bool) {
	if wanted, strict := prefixes[e.Kind]; strict {
		for _, prefix := range wanted {
			if strings.HasPrefix(e.ID, prefix) && len(e.ID) > len(prefix) {
				return e, true
			}
		}
		return e, false
	}
	switch e.Kind {
	case entity.Account:
		return e, accountID(e.ID)
	case entity.IP:
		_, err := netip.ParseAddr(e.ID)
		return e, err == nil
	case entity.AccessKey:
		return e, !strings.Contains(e.ID, "*")
	case entity.Policy, entity.Session, entity.Topic, entity.Resource:
		return e, false // they are known by ARN only
	case entity.InstanceProfile:
		e.ID = "arn:" + partition(at.region) + ":iam::" + at.account + ":instance-profile/" + e.ID
		e.ARN, e.Derived = e.ID, true
		return e, at.account != ""
	case entity.Alarm:
		e.ID = "arn:" + partition(at.region) + ":cloudwatch:" + at.region + ":" + at.account + ":alarm:" + e.ID
		e.ARN, e.Derived = e.ID, true
		return e, at.account != "" && at.region != ""
	case entity.Function:
		e.ID = functionName(e.ID)
		return e, e.ID != ""
	case entity.Domain:
		e.ID = strings.ToLower(strings.TrimSuffix(e.ID, "."))
		return e, strings.Contains(e.ID, ".") && !strings.ContainsAny(e.ID, "@ /:*")
	default:
		return e, true
	}
}

// functionName takes the name out of account:function:name:qualifier, function:name and name:qualifier.
func functionName(id string) string {
	if _, rest, ok := strings.Cut(id, "function:"); ok {
		id = rest
	}
	return first(id, ":")
}

func accountID(id string) bool {
	if len(id) != 12 {
		return false
	}
	for _, c := range []byte(id) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
