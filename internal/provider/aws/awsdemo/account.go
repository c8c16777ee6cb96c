// Package awsdemo puts a company's account into an emulator of AWS, attacks it there, and tells the state of
// its resources as the emulator does.
package awsdemo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go/logging"

	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/fault"
)

// Region is where the account is.
const Region = "eu-central-1"

// The names of what is in the account.
const (
	Number      = "123456789012"
	LogBucket   = "acme-audit-logs"
	DataBucket  = "acme-customer-data"
	Trail       = "acme-trail"
	QueueName   = "riposte-events"
	KeyUser     = "deploy-bot"
	WebRole     = "acme-web"
	topicName   = "acme-trail-files"
	profileName = "acme-web-profile"
)

// Account is the account with what the attack and its tellers need.
type Account struct {
	cloudtrail *cloudtrail.Client
	ec2        *ec2.Client
	iam        *iam.Client
	s3         *s3.Client
	sns        *sns.Client
	sqs        *sqs.Client
	now        func() time.Time

	Queue    string // URL
	topic    string // ARN
	Instance string // the web server that is attacked
	other    string // the database server, which nobody may touch
	Key      string // access key id of KeyUser
	group    string // the web servers' security group
	files    int
}

// Connect makes clients of an emulator. An endpoint that isn't on this very machine is refused: nothing of
// this package may ever reach a real account.
func Connect(ctx context.Context, endpoint string, now func() time.Time) (*Account, error) {
	parsed, err := url.Parse(endpoint)
	if err != nil || parsed.Scheme != "http" || !courier.Local(parsed.Hostname()) {
		return nil, fault.WithHint(fault.New(fault.Invalid, "%q is not an emulator on this machine", endpoint),
			"make demo starts one; the demonstration never runs on a real account")
	}
	reach, err := config.LoadDefaultConfig(ctx, config.WithRegion(Region), config.WithBaseEndpoint(endpoint),
		config.WithLogger(logging.Nop{}), config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("demo", "demo", "")))
	if err != nil {
		return nil, fmt.Errorf("configure clients: %w", err)
	}
	return &Account{
		cloudtrail: cloudtrail.NewFromConfig(reach), ec2: ec2.NewFromConfig(reach), iam: iam.NewFromConfig(reach),
		s3:  s3.NewFromConfig(reach, func(o *s3.Options) { o.UsePathStyle = true }),
		sns: sns.NewFromConfig(reach), sqs: sqs.NewFromConfig(reach), now: now,
	}, nil
}

// Seed puts everything into the account.
func (a *Account) Seed(ctx context.Context) error {
	for _, part := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"buckets", a.seedBuckets}, {"trail", a.seedTrail}, {"queue", a.seedQueue}, {"people and roles", a.seedIAM}, {"network", a.seedNetwork},
	} {
		if err := part.do(ctx); err != nil {
			return fmt.Errorf("put %s into the account: %w", part.name, err)
		}
	}
	return nil
}

func (a *Account) seedBuckets(ctx context.Context) error {
	for _, name := range []string{LogBucket, DataBucket} {
		_, err := a.s3.CreateBucket(ctx, &s3.CreateBucketInput{
			Bucket: aws.String(name), CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: Region},
		})
		if err != nil {
			return err
		}
	}
	_, err := a.s3.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{
		Bucket: aws.String(DataBucket), PublicAccessBlockConfiguration: &s3types.PublicAccessBlockConfiguration{
			BlockPublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(true),
			IgnorePublicAcls: aws.Bool(true), RestrictPublicBuckets: aws.Bool(true),
		},
	})
	return err
}

func (a *Account) seedTrail(ctx context.Context) error {
	_, err := a.cloudtrail.CreateTrail(ctx, &cloudtrail.CreateTrailInput{
		Name: aws.String(Trail), S3BucketName: aws.String(LogBucket), IsMultiRegionTrail: aws.Bool(true),
	})
	if err != nil {
		return err
	}
	_, err = a.cloudtrail.StartLogging(ctx, &cloudtrail.StartLoggingInput{Name: aws.String(Trail)})
	return err
}

func (a *Account) seedQueue(ctx context.Context) error {
	queue, err := a.sqs.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String(QueueName)})
	if err != nil {
		return err
	}
	a.Queue = aws.ToString(queue.QueueUrl)
	topic, err := a.sns.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String(topicName)})
	if err != nil {
		return err
	}
	a.topic = aws.ToString(topic.TopicArn)
	_, err = a.sns.Subscribe(ctx, &sns.SubscribeInput{
		TopicArn: topic.TopicArn, Protocol: aws.String("sqs"),
		Endpoint: aws.String("arn:aws:sqs:" + Region + ":" + Number + ":" + QueueName),
	})
	return err
}

func (a *Account) seedIAM(ctx context.Context) error {
	if _, err := a.iam.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String(KeyUser)}); err != nil {
		return err
	}
	key, err := a.iam.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String(KeyUser)})
	if err != nil {
		return err
	}
	a.Key = aws.ToString(key.AccessKey.AccessKeyId)
	trust, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Effect": "Allow", "Principal": map[string]string{"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole",
	}}})
	if err != nil {
		return err
	}
	if _, err := a.iam.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName: aws.String(WebRole), AssumeRolePolicyDocument: aws.String(string(trust)),
	}); err != nil {
		return err
	}
	if _, err := a.iam.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String(profileName)}); err != nil {
		return err
	}
	_, err = a.iam.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{
		InstanceProfileName: aws.String(profileName), RoleName: aws.String(WebRole),
	})
	return err
}

func (a *Account) seedNetwork(ctx context.Context) error {
	vpc, err := a.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.20.0.0/16")})
	if err != nil {
		return err
	}
	subnet, err := a.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: vpc.Vpc.VpcId, CidrBlock: aws.String("10.20.1.0/24")})
	if err != nil {
		return err
	}
	flows, err := a.ec2.CreateFlowLogs(ctx, &ec2.CreateFlowLogsInput{
		ResourceIds: []string{aws.ToString(vpc.Vpc.VpcId)}, ResourceType: ec2types.FlowLogsResourceTypeVpc, TrafficType: ec2types.TrafficTypeAll,
		LogDestinationType: ec2types.LogDestinationTypeS3, LogDestination: aws.String("arn:aws:s3:::" + LogBucket),
	})
	if err != nil {
		return err
	}
	if refused := len(flows.Unsuccessful); refused > 0 {
		return fmt.Errorf("%d flow logs were refused", refused)
	}
	group, err := a.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		GroupName: aws.String("acme-web"), Description: aws.String("web servers"), VpcId: vpc.Vpc.VpcId,
	})
	if err != nil {
		return err
	}
	a.group = aws.ToString(group.GroupId)
	if _, err := a.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: group.GroupId, IpPermissions: []ec2types.IpPermission{{
			IpProtocol: aws.String("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(443),
			IpRanges: []ec2types.IpRange{{CidrIp: aws.String("198.51.100.0/24"), Description: aws.String("the load balancers")}},
		}},
	}); err != nil {
		return err
	}
	if a.Instance, err = a.launch(ctx, "acme-web-1", subnet.Subnet.SubnetId, profileName); err != nil {
		return err
	}
	a.other, err = a.launch(ctx, "acme-db-1", subnet.Subnet.SubnetId, "")
	return err
}

func (a *Account) launch(ctx context.Context, name string, subnet *string, profile string) (string, error) {
	images, err := a.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{})
	if err != nil {
		return "", err
	}
	if len(images.Images) == 0 {
		return "", errors.New("the emulator has no images")
	}
	in := &ec2.RunInstancesInput{
		ImageId: images.Images[0].ImageId, MinCount: aws.Int32(1), MaxCount: aws.Int32(1), InstanceType: ec2types.InstanceTypeT3Small,
		NetworkInterfaces: []ec2types.InstanceNetworkInterfaceSpecification{{
			DeviceIndex: aws.Int32(0), SubnetId: subnet, Groups: []string{a.group},
		}},
		TagSpecifications: []ec2types.TagSpecification{{
			ResourceType: ec2types.ResourceTypeInstance, Tags: []ec2types.Tag{{Key: aws.String("Name"), Value: aws.String(name)}},
		}},
	}
	if profile != "" {
		in.IamInstanceProfile = &ec2types.IamInstanceProfileSpecification{Name: aws.String(profile)}
	}
	started, err := a.ec2.RunInstances(ctx, in)
	if err != nil {
		return "", err
	}
	return aws.ToString(started.Instances[0].InstanceId), nil
}
