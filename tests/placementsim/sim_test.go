package placementsim

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// TestScenarios runs each scenario with 60 stores and 20,000 shards. With SKERRY_PLACEMENTSIM set it takes 1,000 stores
// and 1,000,000 shards: make placementsim.
func TestScenarios(t *testing.T) {
	stores, shards := 60, 20_000
	if raceEnabled {
		stores, shards = 30, 3_000 // it is many times slower
	}
	big := os.Getenv("SKERRY_PLACEMENTSIM") != ""
	if big {
		stores, shards = 1_000, 1_000_000
	}
	var reports []Report
	for _, sc := range Scenarios(stores, shards) {
		t.Run(strings.ReplaceAll(sc.Name, " ", "-"), func(t *testing.T) {
			began := time.Now()
			r := Run(sc)
			t.Logf("%s in %s: %s", sc.Name, time.Since(began).Round(time.Millisecond), r.Tally.kinds())
			reports = append(reports, r)
			check(t, r)
		})
	}
	t.Log("\n" + Table(reports))
	if big {
		t.Log("\n" + Markdown(reports))
	}
	if big && len(reports) == len(Scenarios(stores, shards)) {
		if err := rewriteDocument("../../docs/placement.md", "scenarios", Markdown(reports)); err != nil {
			t.Error(err)
		}
	}
}

func check(t *testing.T, r Report) {
	for _, what := range r.Wrong {
		t.Error(what)
	}
	if !r.Rested {
		t.Errorf("it does not come to rest")
	}
	if r.Name == "static" && r.Tally.Begun != 0 {
		t.Errorf("%d operators in a cluster at rest", r.Tally.Begun)
	}
	if r.WorkAfter.MaxByMean > 1.2 {
		t.Errorf("the busiest store has %.3f of the mean to do", r.WorkAfter.MaxByMean)
	}
	if slack := cmp.Or(r.Slack, 0.3); float64(r.Tally.Moved) > (1+slack)*float64(r.Least) {
		t.Errorf("%d bytes moved, %d were necessary", r.Tally.Moved, r.Least)
	}
	if r.InZones.MaxByMean > 1.04 || r.InZones.MinByMean < 0.96 {
		t.Errorf("stores are from %.3f to %.3f of the mean of their zone full", r.InZones.MinByMean, r.InZones.MaxByMean)
	}
	if r.Leaders.MaxByMean > 1.15 || r.Leaders.MinByMean < 0.85 {
		t.Errorf("stores lead from %.3f to %.3f of the mean", r.Leaders.MinByMean, r.Leaders.MaxByMean)
	}
}

// Table writes reports for people.
func Table(reports []Report) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "scenario\toperators\tfailed\tmoved GiB\tleast GiB\tratio\tsim time\tfullness before\tafter\tleaders after\tPropose mean\tp99\tmax\theap/shard")
	for _, r := range reports {
		mean, p99, longest := r.Tally.cost()
		ratio := 0.0
		if r.Least > 0 {
			ratio = float64(r.Tally.Moved) / float64(r.Least)
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%.3f\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d B\n", r.Name, r.Tally.Begun-r.Tally.since, r.Tally.Failed, r.Tally.Moved>>30, r.Least>>30, ratio,
			time.Duration(r.Seconds)*time.Second, r.Before, r.After, r.Leaders, mean.Round(time.Microsecond), p99.Round(time.Microsecond), longest.Round(time.Microsecond), r.HeapPerShard)
	}
	w.Flush()
	return b.String()
}
