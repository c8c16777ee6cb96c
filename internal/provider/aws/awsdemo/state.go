package awsdemo

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// Fact is one thing about a resource, as the emulator tells it.
type Fact struct {
	Resource string
	What     string
	Is       string
}

// State asks the emulator for what the attack and the response change. It uses nothing of Riposte's.
func (a *Account) State(ctx context.Context) ([]Fact, error) {
	trail, err := a.cloudtrail.GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: aws.String(Trail)})
	if err != nil {
		return nil, fmt.Errorf("ask for the trail: %w", err)
	}
	facts := []Fact{{"trail " + Trail, "logging", yes(aws.ToBool(trail.IsLogging))}}
	for _, ask := range []func(context.Context) ([]Fact, error){a.bucketState, a.keyState, a.instanceState} {
		more, err := ask(ctx)
		if err != nil {
			return nil, err
		}
		facts = append(facts, more...)
	}
	return facts, nil
}

func (a *Account) bucketState(ctx context.Context) ([]Fact, error) {
	fact := Fact{"bucket " + DataBucket, "public access", "not blocked"}
	got, err := a.s3.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: aws.String(DataBucket)})
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == "NoSuchPublicAccessBlockConfiguration" {
		return []Fact{fact}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask for the bucket: %w", err)
	}
	c := got.PublicAccessBlockConfiguration
	if aws.ToBool(c.BlockPublicAcls) && aws.ToBool(c.BlockPublicPolicy) && aws.ToBool(c.IgnorePublicAcls) && aws.ToBool(c.RestrictPublicBuckets) {
		fact.Is = "blocked"
	}
	return []Fact{fact}, nil
}

func (a *Account) keyState(ctx context.Context) ([]Fact, error) {
	keys, err := a.iam.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: aws.String(KeyUser)})
	if err != nil {
		return nil, fmt.Errorf("ask for the key: %w", err)
	}
	var facts []Fact
	for _, key := range keys.AccessKeyMetadata {
		facts = append(facts, Fact{"key of " + KeyUser, "status", string(key.Status)})
	}
	return facts, nil
}

func (a *Account) instanceState(ctx context.Context) ([]Fact, error) {
	var facts []Fact
	for _, server := range []struct{ id, name string }{{a.Instance, "acme-web-1"}, {a.other, "acme-db-1"}} {
		got, err := a.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{server.id}})
		if err != nil {
			return nil, fmt.Errorf("ask for the instance: %w", err)
		}
		instance := got.Reservations[0].Instances[0]
		profile := "none"
		if instance.IamInstanceProfile != nil {
			profile = (*instance.IamInstanceProfile.Arn)[strings.LastIndexByte(*instance.IamInstanceProfile.Arn, '/')+1:]
		}
		var groups []string
		for _, nic := range instance.NetworkInterfaces {
			for _, group := range nic.Groups {
				groups = append(groups, aws.ToString(group.GroupName))
			}
		}
		slices.Sort(groups)
		facts = append(facts,
			Fact{"instance " + server.name, "state", string(instance.State.Name)},
			Fact{"instance " + server.name, "security groups", strings.Join(groups, ", ")},
			Fact{"instance " + server.name, "instance profile", profile})
	}
	snapshots, err := a.ec2.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{
		OwnerIds: []string{"self"}, Filters: []ec2types.Filter{{Name: aws.String("tag-key"), Values: []string{"riposte:incident"}}},
	})
	if err != nil {
		return nil, fmt.Errorf("ask for snapshots: %w", err)
	}
	return append(facts, Fact{"instance acme-web-1", "snapshots kept as evidence", strconv.Itoa(len(snapshots.Snapshots))}), nil
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// identifier is a random one in the form of a UUID.
func identifier() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	text := hex.EncodeToString(b[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}
