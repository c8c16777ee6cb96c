package awstest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// Estate is what a test of the whole binary has at AWS: users with keys, instances, a queue.
type Estate struct {
	tb  testing.TB
	iam *iam.Client
	ec2 *ec2.Client
	sqs *sqs.Client
	// Queue is the queue's URL.
	Queue string
}

// NewEstate makes one with a queue of that name, at an emulator.
func NewEstate(tb testing.TB, endpoint, queue string) *Estate {
	tb.Helper()
	reach, err := config.LoadDefaultConfig(tb.Context(), config.WithRegion(Region), config.WithBaseEndpoint(endpoint),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("test", "test", "")))
	if err != nil {
		tb.Fatal(err)
	}
	e := &Estate{tb: tb, iam: iam.NewFromConfig(reach), ec2: ec2.NewFromConfig(reach), sqs: sqs.NewFromConfig(reach)}
	made, err := e.sqs.CreateQueue(tb.Context(), &sqs.CreateQueueInput{QueueName: aws.String(queue)})
	if err != nil {
		tb.Fatal(err)
	}
	e.Queue = aws.ToString(made.QueueUrl)
	return e
}

// Send puts a message into the queue.
func (e *Estate) Send(body []byte) {
	e.tb.Helper()
	_, err := e.sqs.SendMessage(e.tb.Context(), &sqs.SendMessageInput{QueueUrl: aws.String(e.Queue), MessageBody: aws.String(string(body))})
	if err != nil {
		e.tb.Fatal(err)
	}
}

// Leak makes a user with a key, and gives the event that says the key leaked.
func (e *Estate) Leak(user string) (key string, event []byte) {
	e.tb.Helper()
	if _, err := e.iam.CreateUser(e.tb.Context(), &iam.CreateUserInput{UserName: aws.String(user)}); err != nil {
		e.tb.Fatal(err)
	}
	made, err := e.iam.CreateAccessKey(e.tb.Context(), &iam.CreateAccessKeyInput{UserName: aws.String(user)})
	if err != nil {
		e.tb.Fatal(err)
	}
	key = aws.ToString(made.AccessKey.AccessKeyId)
	return key, Leaked(user, key)
}

// Leaked is GuardDuty's event about a user's key, as EventBridge delivers it.
func Leaked(user, key string) []byte {
	return guardDuty("UnauthorizedAccess:IAMUser/MaliciousIPCaller", key, map[string]any{
		"resourceType":     "AccessKey",
		"accessKeyDetails": map[string]any{"accessKeyId": key, "principalId": "AIDA" + key, "userType": "IAMUser", "userName": user},
	})
}

// Launch starts an instance, and gives the event that says it is compromised.
func (e *Estate) Launch() (id string, event []byte) {
	e.tb.Helper()
	images, err := e.ec2.DescribeImages(e.tb.Context(), &ec2.DescribeImagesInput{})
	if err != nil {
		e.tb.Fatal(err)
	}
	got, err := e.ec2.RunInstances(e.tb.Context(), &ec2.RunInstancesInput{
		ImageId: images.Images[0].ImageId, MinCount: aws.Int32(1), MaxCount: aws.Int32(1), InstanceType: ec2types.InstanceTypeT3Small,
	})
	if err != nil {
		e.tb.Fatal(err)
	}
	id = aws.ToString(got.Instances[0].InstanceId)
	return id, guardDuty("Backdoor:EC2/C&CActivity.B!DNS", id, map[string]any{
		"resourceType": "Instance", "instanceDetails": map[string]any{"instanceId": id},
	})
}

func guardDuty(kind, about string, resource map[string]any) []byte {
	now := time.Now().UTC().Format(time.RFC3339)
	text, err := json.Marshal(map[string]any{
		"version": "0", "id": "event-" + about, "detail-type": "GuardDuty Finding", "source": "aws.guardduty", "account": Home,
		"time": now, "region": Region, "resources": []string{}, "detail": map[string]any{
			"schemaVersion": "2.0", "accountId": Home, "region": Region, "id": "finding-" + about, "type": kind,
			"arn":      "arn:aws:guardduty:" + Region + ":" + Home + ":detector/d/finding/finding-" + about,
			"severity": 8, "title": "found " + about, "createdAt": now, "updatedAt": now, "resource": resource,
			"service": map[string]any{
				"serviceName": "guardduty", "detectorId": "d", "archived": false, "count": 1, "eventFirstSeen": now, "eventLastSeen": now,
			},
		},
	})
	if err != nil {
		panic(err)
	}
	return text
}

// KeyStatus is what IAM says of a user's first key: Active or Inactive.
func (e *Estate) KeyStatus(user string) string {
	e.tb.Helper()
	got, err := e.iam.ListAccessKeys(e.tb.Context(), &iam.ListAccessKeysInput{UserName: aws.String(user)})
	if err != nil {
		e.tb.Fatal(err)
	}
	return string(got.AccessKeyMetadata[0].Status)
}

// Instance is what EC2 says of an instance: its state, and how many volumes and snapshots of them it has.
func (e *Estate) Instance(id string) (state string, volumes, snapshots int) {
	e.tb.Helper()
	got, err := e.ec2.DescribeInstances(e.tb.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if err != nil {
		e.tb.Fatal(err)
	}
	var attached []string
	for _, device := range got.Reservations[0].Instances[0].BlockDeviceMappings {
		attached = append(attached, aws.ToString(device.Ebs.VolumeId))
	}
	kept, err := e.ec2.DescribeSnapshots(e.tb.Context(), &ec2.DescribeSnapshotsInput{
		OwnerIds: []string{"self"}, Filters: []ec2types.Filter{{Name: aws.String("volume-id"), Values: attached}},
	})
	if err != nil {
		e.tb.Fatal(err)
	}
	return string(got.Reservations[0].Instances[0].State.Name), len(attached), len(kept.Snapshots)
}
