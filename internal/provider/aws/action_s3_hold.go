package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// mostHeld bounds how many objects one step holds: each takes two calls.
const mostHeld = 50

// legalHolds are the legal holds on objects, in the order in which they were named.
type legalHolds struct {
	Objects []heldObject `json:"objects"`
}

// heldObject is a version of an object. It is fixed by the plan: what is written later under the same key is
// another version, and isn't what somebody wanted to keep.
type heldObject struct {
	Key     string `json:"key"`
	Version string `json:"version"`
	Hold    bool   `json:"hold"`
}

// hold is aws.s3.hold_objects.
type hold struct {
	placed[legalHolds]
}

// Plan fixes the versions: what comes later under the same key isn't what was planned.
func (h *hold) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	plan, err := h.placed.Plan(ctx, in)
	if err != nil {
		return plan, err
	}
	var now legalHolds
	if err := json.Unmarshal(plan.Before, &now); err != nil {
		return action.Change{}, fmt.Errorf("read holds: %w", err)
	}
	keys, versions := make([]string, 0, len(now.Objects)), make([]string, 0, len(now.Objects))
	for _, object := range now.Objects {
		keys, versions = append(keys, object.Key), append(versions, object.Version)
	}
	params := maps.Clone(in.Params)
	params["keys"], params["versions"] = keys, versions
	if plan.Params, err = json.Marshal(params); err != nil {
		return action.Change{}, fmt.Errorf("encode parameters: %w", err)
	}
	return plan, nil
}

func holdObjects(c *Cloud) *hold {
	return &hold{placed[legalHolds]{cloud: c, Setting: action.Setting[legalHolds]{
		About:  holdObjectsSpec(),
		Target: c.bucketTarget,
		Read:   c.readHolds,
		Want: func(_ action.Input, now legalHolds) (legalHolds, error) {
			objects := slices.Clone(now.Objects)
			for i := range objects {
				objects[i].Hold = true
			}
			return legalHolds{objects}, nil
		},
		Write: c.writeHolds,
		Calls: func(in action.Input, from, to legalHolds) []string {
			var calls []string
			for i, object := range to.Objects {
				if !from.Objects[i].Hold {
					calls = append(calls, "s3:PutObjectLegalHold "+in.Params.String("bucket")+"/"+object.Key+" version "+object.Version)
				}
			}
			return calls
		},
		Summary: func(in action.Input, _, to legalHolds) string {
			return fmt.Sprintf("%d objects of bucket %s can't be deleted or overwritten until their legal hold is lifted",
				len(to.Objects), in.Params.String("bucket"))
		},
		Facts: func(ctx context.Context, in action.Input, now legalHolds, plan *action.Change) error {
			already := 0
			for _, object := range now.Objects {
				if object.Hold {
					already++
				}
			}
			return c.taggedImpact(ctx, in, plan,
				fmt.Sprintf("%d of the %d objects are held already; undo leaves those held", already, len(now.Objects)),
				"lifecycle rules don't delete them, and they are paid for, until the holds are lifted")
		},
		Between: func(from, now, to legalHolds) bool { // some of the holds are set
			if len(now.Objects) != len(from.Objects) || len(to.Objects) != len(from.Objects) {
				return false
			}
			for i, object := range now.Objects {
				if object != from.Objects[i] && object != to.Objects[i] {
					return false
				}
			}
			return true
		},
	}}}
}

func holdObjectsSpec() action.Spec {
	objects := "arn:{partition}:s3:::*/*"
	return action.Spec{
		Name:    "aws.s3.hold_objects",
		Summary: "Put a legal hold on evidence in an S3 bucket",
		Doc: fmt.Sprintf("Sets a legal hold on one version of each object named, the current one as the plan finds it, at most %d: nobody can delete or overwrite that "+
			"version until the hold is lifted, whatever retention says. Who may lift holds (`s3:PutObjectLegalHold`) still can. "+
			"Versions that are older or are written later aren't held.\n\n"+
			"The bucket must have S3 Object Lock, which can't be assumed: without, the action fails and says so. It must belong "+
			"to the account that the finding names. Undo lifts the holds that this step set, on the same versions.", mostHeld),
		Effect: action.Contain,
		Params: []action.Param{bucketParam(), {
			Name: "keys", Type: action.Strings, Required: true, Doc: "keys of the objects",
		}, {
			Name: "versions", Type: action.Strings, Doc: "versions of the objects, in the order of the keys; the current ones if absent",
		}},
		Permissions: slices.Concat(
			permit(action.PlanPhase, allBuckets, nil, "s3:ListBucket", "s3:GetBucketTagging"),
			permit(action.PlanPhase, objects, nil, "s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectLegalHold"), // HeadObject
			permit(action.ApplyPhase, objects, nil, "s3:PutObjectLegalHold"),
			permit(action.UndoPhase, objects, nil, "s3:PutObjectLegalHold"),
		),
	}
}

// holdsOf gives the objects that are named, once each.
func holdsOf(in action.Input) ([]heldObject, error) {
	keys := in.Params.Strings("keys")
	if len(keys) == 0 || len(keys) > mostHeld {
		return nil, fault.New(fault.Invalid, "keys: %d objects are named; a step holds from 1 to %d", len(keys), mostHeld)
	}
	versions := in.Params.Strings("versions")
	if len(versions) > 0 && len(versions) != len(keys) {
		return nil, fault.New(fault.Invalid, "versions: %d are named for %d keys", len(versions), len(keys))
	}
	var objects []heldObject
	for i, key := range keys {
		if key == "" || len(key) > 1024 || !utf8.ValidString(key) {
			return nil, fault.New(fault.Invalid, "keys[%d]: %q is not the key of an object", i, shorten(key))
		}
		if slices.ContainsFunc(objects, func(o heldObject) bool { return o.Key == key }) {
			continue
		}
		object := heldObject{Key: key}
		if len(versions) > 0 {
			object.Version = versions[i]
		}
		objects = append(objects, object)
	}
	return objects, nil
}

func (c *Cloud) readHolds(ctx context.Context, in action.Input) (legalHolds, error) {
	objects, err := holdsOf(in)
	if err != nil {
		return legalHolds{}, err
	}
	at, err := c.bucketAt(ctx, in)
	if err != nil {
		return legalHolds{}, err
	}
	for i := range objects {
		if err := at.readHold(ctx, &objects[i]); err != nil {
			return legalHolds{}, err
		}
	}
	return legalHolds{objects}, nil
}

func (b bucket) readHold(ctx context.Context, object *heldObject) error {
	if object.Version == "" {
		head, err := b.api.HeadObject(ctx, &s3.HeadObjectInput{Bucket: b.name, ExpectedBucketOwner: b.owner, Key: aws.String(object.Key)})
		if err != nil {
			return fmt.Errorf("find object %s/%s: %w", *b.name, shorten(object.Key), classify(err))
		}
		if object.Version = aws.ToString(head.VersionId); object.Version == "" {
			return fault.New(fault.Invalid, "bucket %s keeps no versions: S3 holds nothing in it", *b.name)
		}
	}
	got, err := b.api.GetObjectLegalHold(ctx, &s3.GetObjectLegalHoldInput{
		Bucket: b.name, ExpectedBucketOwner: b.owner, Key: aws.String(object.Key), VersionId: aws.String(object.Version),
	})
	switch {
	case coded(err, "NoSuchObjectLockConfiguration"):
		return nil // it never had one
	case coded(err, "InvalidRequest"), coded(err, "ObjectLockConfigurationNotFoundError"):
		return fault.WithHint(fault.New(fault.Invalid, "bucket %s has no S3 Object Lock: %w", *b.name, err),
			"copy the evidence into a bucket that has it")
	case err != nil:
		return fmt.Errorf("read legal hold of %s/%s: %w", *b.name, shorten(object.Key), classify(err))
	}
	object.Hold = got.LegalHold != nil && got.LegalHold.Status == types.ObjectLockLegalHoldStatusOn
	return nil
}

func (c *Cloud) writeHolds(ctx context.Context, in action.Input, from, to legalHolds) (legalHolds, error) {
	at, err := c.bucketAt(ctx, in)
	if err != nil {
		return legalHolds{}, err
	}
	for i, object := range to.Objects {
		if i < len(from.Objects) && from.Objects[i] == object {
			continue
		}
		status := types.ObjectLockLegalHoldStatusOff
		if object.Hold {
			status = types.ObjectLockLegalHoldStatusOn
		}
		_, err := at.api.PutObjectLegalHold(ctx, &s3.PutObjectLegalHoldInput{
			Bucket: at.name, ExpectedBucketOwner: at.owner, Key: aws.String(object.Key), VersionId: aws.String(object.Version),
			LegalHold: &types.ObjectLockLegalHold{Status: status},
		})
		if err != nil {
			return legalHolds{}, fmt.Errorf("set legal hold of %s/%s: %w", *at.name, shorten(object.Key), classify(err))
		}
	}
	return to, nil
}
