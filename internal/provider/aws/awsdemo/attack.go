package awsdemo

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// intruder is the address the attack comes from, of a range for documentation.
const intruder = "203.0.113.66"

// Act is one thing that the intruder does, and how the cloud tells it.
type Act struct {
	Title string
	Do    func(ctx context.Context) error
}

// Attack gives the acts in their order: recon, opening a bucket, blinding the trail, mining on a server, and
// the stolen key used from elsewhere.
func (a *Account) Attack() []Act {
	return []Act{
		{"uses the stolen key of " + KeyUser + " to look around (CloudTrail file in S3, announced by SNS over SQS)", a.lookAround},
		{"takes the lock off bucket " + DataBucket + " (CloudTrail file in S3)", a.openBucket},
		{"stops the trail " + Trail + " (EventBridge event over SQS)", a.stopTrail},
		{"makes " + a.Instance + " mine cryptocurrency (GuardDuty finding by EventBridge over SQS)", a.mine},
		{"is seen with the key from a known bad address (GuardDuty finding by EventBridge over SQS)", a.seenWithKey},
	}
}

func (a *Account) lookAround(ctx context.Context) error {
	var records []map[string]any
	for _, call := range []struct{ service, name string }{
		{"sts", "GetCallerIdentity"}, {"iam", "ListUsers"}, {"iam", "ListAttachedUserPolicies"}, {"s3", "ListBuckets"}, {"ec2", "DescribeInstances"},
	} {
		records = append(records, a.record(call.service+".amazonaws.com", call.name, map[string]any{"readOnly": true}))
	}
	return a.file(ctx, records)
}

func (a *Account) openBucket(ctx context.Context) error {
	if _, err := a.s3.DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: aws.String(DataBucket)}); err != nil {
		return err
	}
	return a.file(ctx, []map[string]any{a.record("s3.amazonaws.com", "DeleteBucketPublicAccessBlock", map[string]any{
		"requestParameters": map[string]any{"bucketName": DataBucket, "Host": DataBucket + ".s3." + Region + ".amazonaws.com", "publicAccessBlock": ""},
		"resources":         []any{map[string]any{"accountId": Number, "type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::" + DataBucket}},
	})})
}

func (a *Account) stopTrail(ctx context.Context) error {
	if _, err := a.cloudtrail.StopLogging(ctx, &cloudtrail.StopLoggingInput{Name: aws.String(Trail)}); err != nil {
		return err
	}
	arn := "arn:aws:cloudtrail:" + Region + ":" + Number + ":trail/" + Trail
	detail := a.record("cloudtrail.amazonaws.com", "StopLogging", map[string]any{"requestParameters": map[string]any{"name": arn}})
	return a.event(ctx, "aws.cloudtrail", "AWS API Call via CloudTrail", detail)
}

func (a *Account) mine(ctx context.Context) error {
	return a.event(ctx, "aws.guardduty", "GuardDuty Finding", a.guardDuty("CryptoCurrency:EC2/BitcoinTool.B!DNS", 8,
		"EC2 instance "+a.Instance+" is querying a domain of a mining pool.", map[string]any{
			"resourceType":    "Instance",
			"instanceDetails": map[string]any{"instanceId": a.Instance, "instanceType": "t3.small"},
		}, map[string]any{"actionType": "DNS_REQUEST", "dnsRequestAction": map[string]any{"domain": "pool.mining.example", "protocol": "UDP"}}))
}

func (a *Account) seenWithKey(ctx context.Context) error {
	return a.event(ctx, "aws.guardduty", "GuardDuty Finding", a.guardDuty("UnauthorizedAccess:IAMUser/MaliciousIPCaller.Custom", 8,
		"APIs were called with the key of "+KeyUser+" from an address on a threat list.", map[string]any{
			"resourceType": "AccessKey",
			"accessKeyDetails": map[string]any{
				"accessKeyId": a.Key, "principalId": "AIDADEMO", "userType": "IAMUser", "userName": KeyUser,
			},
		}, map[string]any{"actionType": "AWS_API_CALL", "awsApiCallAction": map[string]any{
			"api": "ListBuckets", "serviceName": "s3.amazonaws.com", "callerType": "Remote IP",
			"remoteIpDetails": map[string]any{"ipAddressV4": intruder},
		}}))
}

// Again tells the last file once more, as queues do.
func (a *Account) Again(ctx context.Context) error { return a.announce(ctx, a.files) }

// record is a CloudTrail record of the intruder with the stolen key.
func (a *Account) record(source, name string, more map[string]any) map[string]any {
	made := map[string]any{
		"eventVersion": "1.11", "eventID": identifier(), "eventTime": a.stamp(), "eventSource": source, "eventName": name,
		"awsRegion": Region, "sourceIPAddress": intruder, "userAgent": "aws-cli/2.27.0", "recipientAccountId": Number,
		"eventType": "AwsApiCall", "managementEvent": true, "eventCategory": "Management", "requestID": identifier(), "readOnly": false,
		"userIdentity": map[string]any{
			"type": "IAMUser", "principalId": "AIDADEMO", "arn": "arn:aws:iam::" + Number + ":user/" + KeyUser,
			"accountId": Number, "accessKeyId": a.Key, "userName": KeyUser,
		},
		"requestParameters": nil, "responseElements": nil,
	}
	maps.Copy(made, more)
	return made
}

func (a *Account) guardDuty(kind string, severity int, title string, resource, action map[string]any) map[string]any {
	return map[string]any{
		"schemaVersion": "2.0", "accountId": Number, "region": Region, "partition": "aws", "id": identifier(),
		"arn":  "arn:aws:guardduty:" + Region + ":" + Number + ":detector/demo/finding/demo",
		"type": kind, "severity": severity, "title": title, "description": title, "createdAt": a.stamp(), "updatedAt": a.stamp(),
		"resource": resource,
		"service": map[string]any{
			"serviceName": "guardduty", "detectorId": "demo", "action": action, "archived": false, "count": 1,
			"eventFirstSeen": a.stamp(), "eventLastSeen": a.stamp(),
		},
	}
}

// file puts a CloudTrail file into the trail's bucket and announces it as S3 does, through SNS to the queue.
func (a *Account) file(ctx context.Context, records []map[string]any) error {
	text, err := json.Marshal(map[string]any{"Records": records})
	if err != nil {
		return fmt.Errorf("write records: %w", err)
	}
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	if _, err := writer.Write(text); err != nil {
		return fmt.Errorf("compress records: %w", err)
	}
	if err := writer.Close(); err != nil {
		return fmt.Errorf("compress records: %w", err)
	}
	a.files++
	_, err = a.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(LogBucket), Key: aws.String(a.key(a.files)), Body: bytes.NewReader(packed.Bytes())})
	if err != nil {
		return fmt.Errorf("put file: %w", err)
	}
	return a.announce(ctx, a.files)
}

func (a *Account) key(n int) string {
	return fmt.Sprintf("AWSLogs/%s/CloudTrail/%s/2026/01/01/%s_CloudTrail_%s_%03d.json.gz", Number, Region, Number, Region, n)
}

func (a *Account) announce(ctx context.Context, n int) error {
	notification, err := json.Marshal(map[string]any{"Records": []any{map[string]any{
		"eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": Region, "eventTime": a.stamp(), "eventName": "ObjectCreated:Put",
		"s3": map[string]any{
			"s3SchemaVersion": "1.0", "bucket": map[string]any{"name": LogBucket, "arn": "arn:aws:s3:::" + LogBucket},
			"object": map[string]any{"key": a.key(n), "size": 1},
		},
	}}})
	if err != nil {
		return fmt.Errorf("write notification: %w", err)
	}
	_, err = a.sns.Publish(ctx, &sns.PublishInput{TopicArn: aws.String(a.topic), Message: aws.String(string(notification))})
	return err
}

// event sends an EventBridge event as a rule with the queue as its target does.
func (a *Account) event(ctx context.Context, source, kind string, detail map[string]any) error {
	envelope, err := json.Marshal(map[string]any{
		"version": "0", "id": identifier(), "detail-type": kind, "source": source, "account": Number, "time": a.stamp(),
		"region": Region, "resources": []string{}, "detail": detail,
	})
	if err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	_, err = a.sqs.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: aws.String(a.Queue), MessageBody: aws.String(string(envelope))})
	return err
}

func (a *Account) stamp() string { return a.now().UTC().Format(time.RFC3339) }
