package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/riposte-sec/riposte/internal/demo"
	"github.com/riposte-sec/riposte/internal/fault"
)

func (r *root) demo() *cobra.Command {
	o := demo.Options{Version: r.version, Out: r.Out}
	var log string
	c := &cobra.Command{
		Use: "demo", Short: "Play an attack on an emulated account and answer it", Args: cobra.NoArgs,
		Long: "Puts a company's account into an emulator of AWS on this machine, plays an attack on it as the cloud would tell it,\n" +
			"and shows how Riposte answers. make demo starts the emulator and this. It never runs against a real account.",
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Endpoint == "" {
				return fault.WithHint(fault.New(fault.Invalid, "no emulator is named by --endpoint"), "make demo starts one")
			}
			o.Log = io.Discard
			if log != "" {
				file, err := os.Create(filepath.Clean(log))
				if err != nil {
					return fault.Wrap(fault.Invalid, fmt.Errorf("log: %w", err))
				}
				defer func() { _ = file.Close() }() // the log of a demonstration
				o.Log = file
			}
			return demo.Run(c.Context(), o)
		},
	}
	c.Flags().StringVar(&o.Endpoint, "endpoint", "", "the emulator's address on this machine")
	c.Flags().StringVar(&o.Listen, "listen", "127.0.0.1:0", "where the server listens")
	c.Flags().BoolVar(&o.Stay, "stay", false, "leave the server up at the end")
	c.Flags().StringVar(&log, "log", "", "file for the server's log")
	return c
}
