package aws

import "github.com/riposte-sec/riposte/internal/action"

// EC2Actions gives the tests the actions on EC2.
func EC2Actions(c *Cloud) []action.Action { return ec2Actions(c) }
