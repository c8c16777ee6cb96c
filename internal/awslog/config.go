package awslog

import (
	"strings"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
)

// configKinds are the resource types whose id in Config is the one that responders use.
var configKinds = map[string]entity.Kind{
	"AWS::EC2::Instance": entity.Instance, "AWS::EC2::NetworkInterface": entity.NetworkInterface,
	"AWS::EC2::SecurityGroup": entity.SecurityGroup, "AWS::EC2::Subnet": entity.Subnet, "AWS::EC2::VPC": entity.VPC,
	"AWS::EC2::Volume": entity.Volume, "AWS::EC2::FlowLog": entity.FlowLog, "AWS::S3::Bucket": entity.Bucket,
	"AWS::KMS::Key": entity.KMSKey, "AWS::Lambda::Function": entity.Function, "AWS::DynamoDB::Table": entity.Table,
	"AWS::CloudTrail::Trail": entity.Trail, "AWS::SNS::Topic": entity.Topic, "AWS::SQS::Queue": entity.Queue,
	"AWS::SecretsManager::Secret": entity.Secret, "AWS::EKS::Cluster": entity.Cluster, "AWS::ECS::Cluster": entity.Cluster,
	"AWS::GuardDuty::Detector": entity.Detector, "AWS::CloudWatch::Alarm": entity.Alarm, "AWS::::Account": entity.Account,
	"AWS::Logs::LogGroup": entity.LogGroup, "AWS::SSM::Document": entity.Document,
}

// configCompliance reads Config's notice that a resource complies with a rule, or no longer does.
func configCompliance(detail value) (event.Event, error) {
	rule, id := detail.str("configRuleName"), detail.str("resourceId")
	result := detail.get("newEvaluationResult")
	recorded := result.str("resultRecordedTime")
	if rule == "" || id == "" {
		return event.Event{}, fault.New(fault.Invalid, "not a compliance change of Config: no configRuleName or no resourceId")
	}
	when := momentOf(recorded, detail.str("notificationCreationTime"))
	if when.IsZero() {
		return event.Event{}, fault.New(fault.Invalid, "compliance change of Config has no time")
	}
	at := place{detail.str("awsAccountId"), detail.str("awsRegion")}
	g := &gather{at: at}
	if kind, known := configKinds[detail.str("resourceType")]; known {
		g.name(kind, entity.Target, id, "resourceId")
	} else {
		g.arn(entity.Target, id, "resourceId")
	}
	g.name(entity.ConfigRule, entity.Context, rule, "configRuleName")
	g.name(entity.Account, entity.Context, at.account, "awsAccountId")
	return event.Event{
		Key: key(event.ConfigCompliant, at.account, at.region, rule, detail.str("resourceType"), id,
			firstOf(recorded, detail.str("notificationCreationTime"))),
		Source: event.ConfigCompliant, Time: when, Account: at.account, Region: at.region,
		Service: "config.amazonaws.com", Name: rule, Entities: g.list, Raw: detail,
	}, nil
}

// configItem reads Config's notice of a resource's new configuration, whole or, where that is too large
// for a notice, as a summary that says in which bucket it lies.
func configItem(detail value) (event.Event, error) {
	item, from := detail.get("configurationItem"), "configurationItem."
	if item == nil || item[0] != '{' {
		item, from = detail.get("configurationItemSummary"), "configurationItemSummary."
	}
	id, captured := item.str("resourceId"), item.str("configurationItemCaptureTime")
	when := momentOf(captured, detail.str("notificationCreationTime"))
	if id == "" || when.IsZero() {
		return event.Event{}, fault.New(fault.Invalid, "not an item change of Config: no resourceId or no time")
	}
	at := place{item.str("awsAccountId"), item.str("awsRegion")}
	g := &gather{at: at}
	if text := firstOf(item.str("ARN"), item.str("arn")); text != "" {
		g.arn(entity.Target, text, from+"ARN")
	} else if kind, known := configKinds[item.str("resourceType")]; known {
		g.name(kind, entity.Target, id, from+"resourceId")
	}
	if bucket, _, ok := strings.Cut(detail.str("s3DeliverySummary", "s3BucketLocation"), "/"); ok {
		g.name(entity.Bucket, entity.Context, bucket, "s3DeliverySummary.s3BucketLocation")
	}
	g.name(entity.Account, entity.Context, at.account, from+"awsAccountId")
	return event.Event{
		Key:    key(event.ConfigChange, at.account, at.region, item.str("resourceType"), id, captured, item.str("configurationStateId")),
		Source: event.ConfigChange, Time: when, Account: at.account, Region: at.region,
		Service: "config.amazonaws.com", Name: item.str("resourceType"), Entities: g.list, Raw: detail,
	}, nil
}

// key joins a source and what makes a happening unique there.
func key(source event.Source, parts ...string) string {
	return string(source) + "|" + strings.Join(parts, "|")
}
