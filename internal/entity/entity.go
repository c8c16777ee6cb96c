// Package entity holds the who and what of findings: what responders act on and incidents group by.
package entity

import (
	"net/netip"
	"strings"
)

// Kind says what sort of thing an entity is. In playbooks and rules the same names are used as
// fields: finding.access_key, finding.instance.
type Kind string

// The kinds. ID's form is given for each.
const (
	Principal        Kind = "principal"         // ARN of whoever acted (user, assumed role, root, service)
	User             Kind = "user"              // name of an IAM user
	Role             Kind = "role"              // name of an IAM role
	AccessKey        Kind = "access_key"        // AKIA... or ASIA...
	Session          Kind = "session"           // ARN of an assumed-role session
	IP               Kind = "ip"                // textual IPv4 or IPv6 address
	Domain           Kind = "domain"            // DNS name
	UserAgent        Kind = "user_agent"        // as sent by the client
	Account          Kind = "account"           // 12-digit account id
	Instance         Kind = "instance"          // i-...
	NetworkInterface Kind = "network_interface" // eni-...
	SecurityGroup    Kind = "security_group"    // sg-...
	Subnet           Kind = "subnet"            // subnet-...
	VPC              Kind = "vpc"               // vpc-...
	FlowLog          Kind = "flow_log"          // fl-...
	Volume           Kind = "volume"            // vol-...
	Snapshot         Kind = "snapshot"          // snap-..., or a database snapshot's name
	Image            Kind = "image"             // ami-... or a container image
	InstanceProfile  Kind = "instance_profile"  // ARN
	Policy           Kind = "policy"            // ARN
	Group            Kind = "group"             // name of an IAM group
	Bucket           Kind = "bucket"            // name
	Object           Kind = "object"            // bucket/key
	Trail            Kind = "trail"             // ARN or name
	Detector         Kind = "detector"          // GuardDuty detector id
	KMSKey           Kind = "kms_key"           // ARN or key id
	Secret           Kind = "secret"            // ARN or name
	Parameter        Kind = "parameter"         // SSM parameter name
	Document         Kind = "document"          // SSM document name
	Database         Kind = "database"          // RDS instance or cluster identifier
	Table            Kind = "table"             // DynamoDB table
	Function         Kind = "function"          // Lambda function name or ARN
	Cluster          Kind = "cluster"           // EKS or ECS cluster
	Pod              Kind = "pod"               // namespace/name
	Container        Kind = "container"         // container id
	Namespace        Kind = "namespace"         // of a Kubernetes cluster: its name
	KubernetesUser   Kind = "kubernetes_user"   // name within the cluster, as of service accounts: system:serviceaccount:ns:name
	KubernetesObject Kind = "kubernetes_object" // resource/namespace/name, or resource/name: secrets/payments/db
	Process          Kind = "process"           // hash or path of an executable
	Queue            Kind = "queue"             // SQS queue URL or ARN
	Topic            Kind = "topic"             // SNS topic ARN
	LogGroup         Kind = "log_group"         // CloudWatch Logs group
	Alarm            Kind = "alarm"             // CloudWatch alarm ARN
	ConfigRule       Kind = "config_rule"       // AWS Config rule name
	Recorder         Kind = "recorder"          // AWS Config recorder name
	Organization     Kind = "organization"      // o-...
	MFADevice        Kind = "mfa_device"        // serial number
	Resource         Kind = "resource"          // any other resource, by ARN
)

// Kinds lists every kind, in the order of the constants.
func Kinds() []Kind {
	return []Kind{
		Principal, User, Role, AccessKey, Session, IP, Domain, UserAgent, Account, Instance, NetworkInterface,
		SecurityGroup, Subnet, VPC, FlowLog, Volume, Snapshot, Image, InstanceProfile, Policy, Group, Bucket, Object,
		Trail, Detector, KMSKey, Secret, Parameter, Document, Database, Table, Function, Cluster, Pod, Container,
		Namespace, KubernetesUser, KubernetesObject, Process, Queue, Topic, LogGroup, Alarm, ConfigRule, Recorder, Organization, MFADevice, Resource,
	}
}

// Part is the part an entity plays in an event or a finding.
type Part string

// The parts.
const (
	Actor   Part = "actor"   // who did it
	Target  Part = "target"  // what it was done to
	Origin  Part = "origin"  // where it came from: an address, a client
	Context Part = "context" // named, neither acting nor acted upon
)

// Entity is one who or what.
type Entity struct {
	Kind     Kind   `json:"kind"`
	ID       string `json:"id"`
	Part     Part   `json:"part,omitempty"`
	Provider string `json:"provider,omitempty"` // aws, azure, gcp
	Account  string `json:"account,omitempty"`
	Region   string `json:"region,omitempty"`
	ARN      string `json:"arn,omitempty"`
	// From is the path in the raw record that gave the entity, such as requestParameters.bucketName.
	From string `json:"from,omitempty"`
	// Derived marks what the record did not say but we built, such as an ARN from a name. A playbook
	// looks it up before acting on it.
	Derived bool `json:"derived,omitempty"`
}

// Key identifies an entity across findings: two entities with one key are one thing.
func (e Entity) Key() string {
	switch e.Kind {
	case User, Role, Group, Policy, InstanceProfile: // global within an account
		return string(e.Kind) + "|" + e.Account + "|" + e.ID
	case Principal, Session, AccessKey, IP, Domain, UserAgent, Account, Bucket, Object, Organization:
		return string(e.Kind) + "||" + e.ID
	default:
		return string(e.Kind) + "|" + e.Account + "/" + e.Region + "|" + e.ID
	}
}

// Groups reports whether sharing this entity is reason enough to put two findings into one incident.
// An account or a user agent is shared by everything; an address inside the network says little.
func (e Entity) Groups() bool {
	switch e.Kind {
	case Account, UserAgent, Organization, Detector, ConfigRule, Subnet, VPC, Image, Recorder, Document, Namespace:
		return false
	case KubernetesUser: // those of the system itself, and whoever doesn't say who he is, are in everything
		return e.ID != "" && (!strings.HasPrefix(e.ID, "system:") || strings.HasPrefix(e.ID, "system:serviceaccount:"))
	case IP:
		addr, err := netip.ParseAddr(e.ID)
		return err == nil && addr.IsGlobalUnicast() && !addr.IsPrivate()
	default:
		return e.ID != ""
	}
}
