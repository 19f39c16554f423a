package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/cmd/node"
)

func (a *app) grafanaCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "grafana",
		Short: "print a dashboard for Grafana",
		Long: `Grafana prints a dashboard in JSON, to be imported there with a Prometheus data source. It
is made of the metrics that nodes serve with --admin:

  skerry grafana > skerry.json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			text, err := node.Dashboard()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s\n", text)
			return err
		},
	}
}

func (a *app) alertsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "alerts",
		Short: "print alert rules for Prometheus",
		Long: `Alerts prints rules in YAML, to be named in rule_files of Prometheus' configuration:

  skerry alerts > skerry-rules.yaml`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(a.out, node.AlertRules())
			return err
		},
	}
}
