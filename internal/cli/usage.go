package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// errUsage says that a command was used wrongly, and what to do next.
var errUsage = errors.New("see --help")

// strict lets every command below c refuse wrong use with errUsage: wrong arguments, flags that lack, and
// commands that there are not, which would show help as if that had been asked for.
func strict(c *cobra.Command) {
	for _, below := range c.Commands() {
		strict(below)
	}
	c.SuggestionsMinimumDistance = 2
	check := c.Args
	if c.HasSubCommands() {
		if check == nil {
			check = noSuchCommand
		}
		if !c.Runnable() {
			c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	}
	c.Args = func(c *cobra.Command, args []string) error {
		var err error
		if check != nil {
			err = check(c, args)
		}
		if err == nil {
			err = c.ValidateRequiredFlags()
		}
		if err == nil || errors.Is(err, errUsage) {
			return err
		}
		return fmt.Errorf("%w: %w for %s", err, errUsage, c.CommandPath())
	}
}

func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	meant := c.SuggestionsFor(args[0])
	if len(meant) == 0 {
		return fmt.Errorf("there is no command %q", args[0])
	}
	return fmt.Errorf("there is no command %q; is it %s?", args[0], strings.Join(meant, " or "))
}
