package aws

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
)

var tableForm = shaped(`^[A-Za-z0-9_.-]{3,255}$`)

func tableNaming() naming {
	return naming{what: "DynamoDB table", param: "table", kind: entity.Table, service: "dynamodb", prefix: "table/", form: tableForm}
}

// recovery is whether a table can be restored to any point of the last days.
type recovery struct {
	Enabled bool `json:"enabled"`

	table *types.TableDescription
	tags  map[string]string
}

// enablePITR makes aws.dynamodb.enable_pitr.
func enablePITR(c *Cloud) *placed[recovery] {
	return setting(c, action.Setting[recovery]{
		About:  pitrSpec(),
		Target: tableNaming().target(c),
		Read:   c.readRecovery,
		Want:   func(action.Input, recovery) (recovery, error) { return recovery{Enabled: true}, nil },
		Write: func(ctx context.Context, in action.Input, _, to recovery) (recovery, error) {
			name, at, err := tableNaming().find(c, in)
			if err != nil {
				return recovery{}, err
			}
			api, err := service(c, at, dynamodb.NewFromConfig)
			if err != nil {
				return recovery{}, err
			}
			_, err = api.UpdateContinuousBackups(ctx, &dynamodb.UpdateContinuousBackupsInput{
				TableName: aws.String(name), PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{
					PointInTimeRecoveryEnabled: aws.Bool(to.Enabled),
				},
			})
			if err != nil {
				return recovery{}, fmt.Errorf("set point-in-time recovery of table %s to %t: %w", name, to.Enabled, classify(err))
			}
			return to, nil
		},
		Calls: func(in action.Input, _, _ recovery) []string {
			return []string{"dynamodb:UpdateContinuousBackups " + in.Params.String("table") + ", point-in-time recovery on"}
		},
		Summary: func(in action.Input, _, _ recovery) string {
			return "Table " + in.Params.String("table") + " can be restored to any point in time from now on"
		},
		Facts: func(_ context.Context, _ action.Input, now recovery, c *action.Change) error {
			c.Tags = now.tags
			c.Impact = []string{
				fmt.Sprintf("continuous backups of %d MiB cost money", aws.ToInt64(now.table.TableSizeBytes)>>20),
				"what was changed or deleted before now can't be restored by it",
			}
			return nil
		},
	})
}

func pitrSpec() action.Spec {
	all := tableNaming().all()
	return action.Spec{
		Name:    "aws.dynamodb.enable_pitr",
		Summary: "Keep continuous backups of a DynamoDB table",
		Doc: "Turns point-in-time recovery on: from then on the table can be restored, into a new one, as it was at any second of the last 35 days. It " +
			"says nothing of the time before.\n\n**Undo turns it off** if it was off, and the points to restore to are lost: undo it only when " +
			"nobody needs them any more.",
		Effect: action.Contain, Params: []action.Param{tableNaming().takes()},
		Permissions: slices.Concat(
			reads(all, "dynamodb:DescribeTable", "dynamodb:DescribeContinuousBackups", "dynamodb:ListTagsOfResource"),
			writes(all, "dynamodb:UpdateContinuousBackups"), undoes(all, "dynamodb:UpdateContinuousBackups"),
		),
	}
}

func (c *Cloud) readRecovery(ctx context.Context, in action.Input) (recovery, error) {
	name, at, err := tableNaming().find(c, in)
	if err != nil {
		return recovery{}, err
	}
	api, err := service(c, at, dynamodb.NewFromConfig)
	if err != nil {
		return recovery{}, err
	}
	about, err := api.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: aws.String(name)})
	if err != nil {
		return recovery{}, fmt.Errorf("read table %s: %w", name, classify(err))
	}
	got, err := api.DescribeContinuousBackups(ctx, &dynamodb.DescribeContinuousBackupsInput{TableName: aws.String(name)})
	if err != nil {
		return recovery{}, fmt.Errorf("read backups of table %s: %w", name, classify(err))
	}
	state := recovery{table: about.Table}
	if backups := got.ContinuousBackupsDescription; backups != nil && backups.PointInTimeRecoveryDescription != nil {
		state.Enabled = backups.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus == types.PointInTimeRecoveryStatusEnabled
	}
	tags, err := api.ListTagsOfResource(ctx, &dynamodb.ListTagsOfResourceInput{ResourceArn: about.Table.TableArn})
	if err != nil {
		return recovery{}, fmt.Errorf("read tags of table %s: %w", name, classify(err))
	}
	state.tags = tagMap(tags.Tags, func(t types.Tag) (key, value *string) { return t.Key, t.Value })
	return state, nil
}
