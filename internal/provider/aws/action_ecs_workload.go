package aws

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

var (
	ecsForm     = shaped(`^[A-Za-z0-9_-]{1,255}$`)
	ecsPairForm = shaped(`^([A-Za-z0-9_-]{1,255}/)?[A-Za-z0-9_-]{1,255}$`)
)

func ecsCluster() naming {
	return naming{what: "ECS cluster", param: "cluster", kind: entity.Cluster, service: "ecs", prefix: "cluster/", form: ecsForm}
}

// ecsPart names a task or a service. New ARNs have the cluster's name in them, old ones don't.
func ecsPart(what, param string) naming {
	return naming{what: "ECS " + what, param: param, kind: entity.Resource, service: "ecs", prefix: what + "/", form: ecsPairForm}
}

// ecsPlace finds a task or a service and its cluster: both must be in one region of the step's account.
func (c *Cloud) ecsPlace(in action.Input, part naming) (cluster, name string, api *ecs.Client, err error) {
	name, at, err := part.find(c, in)
	if err != nil {
		return "", "", nil, err
	}
	cluster, clusterAt, err := ecsCluster().find(c, in)
	if err != nil {
		return "", "", nil, err
	}
	if of, rest, both := strings.Cut(name, "/"); both {
		if of != cluster {
			return "", "", nil, fault.New(fault.Invalid, "%s %s is not of cluster %s", part.what, rest, cluster)
		}
		name = rest
	}
	if strings.HasPrefix(in.Params.String("cluster"), "arn:") {
		at = clusterAt
	}
	api, err = service(c, at, ecs.NewFromConfig)
	return cluster, name, api, err
}

func (c *Cloud) ecsTarget(part naming) func(in action.Input) entity.Entity {
	return func(in action.Input) entity.Entity {
		e := part.target(c)(in)
		cluster, _, err := ecsCluster().find(c, in)
		if err == nil && e.ARN != "" {
			name := e.ID[strings.LastIndexByte(e.ID, '/')+1:]
			e.ARN = part.arn(c, action.Place{Account: e.Account, Region: e.Region}, cluster+"/"+name)
			e.ID = e.ARN
		}
		return e
	}
}

func ecsTags(list []types.Tag) map[string]string {
	return tagMap(list, func(t types.Tag) (key, value *string) { return t.Key, t.Value })
}

// taskRuns is whether a task runs.
type taskRuns struct {
	Running bool `json:"running"`

	task types.Task
}

const taskStopped = "STOPPED"

// stopTask makes aws.ecs.stop_task.
func stopTask(c *Cloud) *final[taskRuns] {
	task := ecsPart("task", "task")
	return finally(c, action.Setting[taskRuns]{
		About:  stopTaskSpec(),
		Target: c.ecsTarget(task),
		Read:   c.readTask,
		Want:   func(action.Input, taskRuns) (taskRuns, error) { return taskRuns{}, nil },
		Write: func(ctx context.Context, in action.Input, _, to taskRuns) (taskRuns, error) {
			cluster, id, api, err := c.ecsPlace(in, task)
			if err != nil {
				return taskRuns{}, err
			}
			reason := []rune("Riposte: " + in.Reason)
			_, err = api.StopTask(ctx, &ecs.StopTaskInput{
				Cluster: aws.String(cluster), Task: aws.String(id), Reason: aws.String(string(reason[:min(len(reason), 255)])),
			})
			if err != nil {
				return taskRuns{}, fmt.Errorf("stop task %s: %w", id, classify(err))
			}
			return to, nil
		},
		Calls: func(in action.Input, _, _ taskRuns) []string {
			return []string{"ecs:StopTask " + in.Params.String("task")}
		},
		Summary: func(in action.Input, _, _ taskRuns) string {
			return "ECS task " + in.Params.String("task") + " is stopped for good"
		},
		Facts: func(_ context.Context, _ action.Input, now taskRuns, c *action.Change) error {
			c.Tags = ecsTags(now.task.Tags)
			c.Impact = []string{"what is in its memory and on its own disk is lost"}
			if name, is := strings.CutPrefix(aws.ToString(now.task.Group), "service:"); is {
				c.Impact = append(c.Impact, "the service "+name+" starts another in its place, of the same image")
			}
			return nil
		},
	})
}

func stopTaskSpec() action.Spec {
	const tasks = "arn:{partition}:ecs:{region}:{account}:task/*"
	return action.Spec{
		Name:    "aws.ecs.stop_task",
		Summary: "Stop an ECS task",
		Doc: "Stops the task's containers: they are asked to end, and killed after their stop timeout (30 s by default). If the task belongs to a " +
			"service, the service starts another in its place; `aws.ecs.scale_service_to_zero` keeps it from that. The credentials of the " +
			"task's role stay valid until they expire: pair it with `aws.iam.revoke_role_sessions`.\n\n" +
			"**There is no undo.** What was in memory and on the task's own disk is lost: keep what is needed as evidence first.",
		Effect: action.Destroy,
		Params: []action.Param{
			ecsCluster().takes(), {Name: "task", Type: action.String, Required: true, Entity: entity.Resource, Doc: "id or ARN of the task"},
		},
		Settle:      90 * time.Second,
		Permissions: slices.Concat(reads(tasks, "ecs:DescribeTasks"), writes(tasks, "ecs:StopTask")),
	}
}

func (c *Cloud) readTask(ctx context.Context, in action.Input) (taskRuns, error) {
	cluster, id, api, err := c.ecsPlace(in, ecsPart("task", "task"))
	if err != nil {
		return taskRuns{}, err
	}
	got, err := api.DescribeTasks(ctx, &ecs.DescribeTasksInput{
		Cluster: aws.String(cluster), Tasks: []string{id}, Include: []types.TaskField{types.TaskFieldTags},
	})
	if err != nil {
		return taskRuns{}, fmt.Errorf("read task %s: %w", id, classify(err))
	}
	for _, task := range got.Tasks {
		return taskRuns{Running: aws.ToString(task.LastStatus) != taskStopped, task: task}, nil
	}
	return taskRuns{}, fault.New(fault.NotFound, "cluster %s has no task %s", cluster, id)
}

// scale is how many tasks a service is to have.
type scale struct {
	Desired int32 `json:"desired"`

	service types.Service
}

// serviceScale is aws.ecs.scale_service_to_zero.
type serviceScale struct {
	slow[scale]
}

func scaleServiceToZero(c *Cloud) *serviceScale {
	part := ecsPart("service", "service")
	return &serviceScale{*slowly(c, action.Setting[scale]{
		About:  scaleSpec(),
		Target: c.ecsTarget(part),
		Read:   c.readScale,
		Want: func(in action.Input, now scale) (scale, error) {
			if now.service.SchedulingStrategy == types.SchedulingStrategyDaemon {
				return now, fault.WithHint(fault.New(fault.Invalid, "service %s runs once on each instance: it has no number of tasks", in.Params.String("service")),
					"stop its tasks by aws.ecs.stop_task")
			}
			return scale{}, nil
		},
		Write: func(ctx context.Context, in action.Input, _, to scale) (scale, error) {
			cluster, name, api, err := c.ecsPlace(in, part)
			if err != nil {
				return scale{}, err
			}
			_, err = api.UpdateService(ctx, &ecs.UpdateServiceInput{
				Cluster: aws.String(cluster), Service: aws.String(name), DesiredCount: aws.Int32(to.Desired),
			})
			if err != nil {
				return scale{}, fmt.Errorf("scale service %s to %d: %w", name, to.Desired, classify(err))
			}
			return to, nil
		},
		Calls: func(in action.Input, _, _ scale) []string {
			return []string{"ecs:UpdateService " + in.Params.String("service") + ", desiredCount=0"}
		},
		Summary: func(in action.Input, from, _ scale) string {
			return fmt.Sprintf("ECS service %s runs no tasks (%d before)", in.Params.String("service"), from.Desired)
		},
		Facts: func(_ context.Context, _ action.Input, now scale, c *action.Change) error {
			c.Tags = ecsTags(now.service.Tags)
			c.Impact = []string{
				fmt.Sprintf("what the service does stops: %d tasks run, and what is in their memory and on their own disks is lost", now.service.RunningCount),
				"where Application Auto Scaling has a minimum for it, that starts tasks again: suspend it",
			}
			if balancers := len(now.service.LoadBalancers); balancers > 0 {
				c.Impact = append(c.Impact, fmt.Sprintf("%d load balancers have nobody to send to", balancers))
			}
			return nil
		},
	})}
}

func scaleSpec() action.Spec {
	const services = "arn:{partition}:ecs:{region}:{account}:service/*"
	return action.Spec{
		Name:    "aws.ecs.scale_service_to_zero",
		Summary: "Let an ECS service run no tasks",
		Doc: "Sets the number of tasks that the service is to have to zero and waits until none runs. The service, its definition and its load " +
			"balancers stay. Application Auto Scaling is not touched: where it has a minimum for the service, it starts tasks again, which " +
			"the step's proof finds.\n\nUndo sets the number as it was: other tasks start, of the same image.",
		Effect: action.Contain,
		Params: []action.Param{
			ecsCluster().takes(), {Name: "service", Type: action.String, Required: true, Entity: entity.Resource, Doc: "name or ARN of the service"},
		},
		Settle: 2 * time.Minute, Within: 30 * time.Minute,
		Permissions: slices.Concat(
			reads(services, "ecs:DescribeServices"), writes(services, "ecs:UpdateService"), undoes(services, "ecs:UpdateService"),
		),
	}
}

func (c *Cloud) readScale(ctx context.Context, in action.Input) (scale, error) {
	cluster, name, api, err := c.ecsPlace(in, ecsPart("service", "service"))
	if err != nil {
		return scale{}, err
	}
	got, err := api.DescribeServices(ctx, &ecs.DescribeServicesInput{
		Cluster: aws.String(cluster), Services: []string{name}, Include: []types.ServiceField{types.ServiceFieldTags},
	})
	if err != nil {
		return scale{}, fmt.Errorf("read service %s: %w", name, classify(err))
	}
	for _, found := range got.Services {
		if aws.ToString(found.Status) != "INACTIVE" {
			return scale{Desired: found.DesiredCount, service: found}, nil
		}
	}
	return scale{}, fault.New(fault.NotFound, "cluster %s has no service %s", cluster, name)
}

// Verify demands that no task runs, beside that none is wanted.
func (s *serviceScale) Verify(ctx context.Context, a action.Applied) error {
	if err := s.slow.Verify(ctx, a); err != nil {
		return err
	}
	in, err := a.Change.Input()
	if err != nil {
		return err
	}
	now, err := s.Read(ctx, in)
	if err != nil {
		return err
	}
	if now.service.RunningCount > 0 {
		return &action.NotHeld{Action: a.Change.Action, Target: a.Change.Target.ID, Differences: []action.Difference{
			{Path: "running", Was: "0", Is: strconv.Itoa(int(now.service.RunningCount))},
		}}
	}
	return nil
}

// Await looks whether the last task has ended.
func (s *serviceScale) Await(ctx context.Context, a action.Applied) (action.Result, bool, error) {
	return awaited(a, s.Verify(ctx, a))
}
