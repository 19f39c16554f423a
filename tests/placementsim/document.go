package placementsim

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// Markdown is the table of docs/placement.md.
func Markdown(reports []Report) string {
	var b strings.Builder
	b.WriteString("| scenario | operators | failed | copied / least, TiB | ratio | time to rest | fullness before | after | leaders after | work before | after | Propose CPU mean / p99 / max, ms |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range reports {
		ratio := ""
		if r.Least > 0 {
			ratio = fmt.Sprintf("%.3f", float64(r.Tally.Moved)/float64(r.Least))
		}
		mean, p99, longest := r.Tally.cost()
		fmt.Fprintf(&b, "| %s | %s | %s | %.1f / %.1f | %s | %s | %s | %s | %s | %s | %s | %.1f / %.1f / %.0f |\n", r.Name, thousands(r.Tally.Begun-r.Tally.since), thousands(r.Tally.Failed),
			float64(r.Tally.Moved)/tib, float64(r.Least)/tib, ratio, time.Duration(r.Seconds)*time.Second, r.Before.reach(), r.After.reach(), r.Leaders.reach(),
			r.WorkBefore.reach(), r.WorkAfter.reach(), millis(mean), millis(p99), millis(longest))
	}
	return b.String()
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// reach is from the least to the most, against the mean; nothing where there is nothing.
func (s Spread) reach() string {
	if s.MaxByMean == 0 {
		return ""
	}
	return fmt.Sprintf("%.3f–%.3f", s.MinByMean, s.MaxByMean)
}

func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

// rewriteDocument puts text between the two marks of a name.
func rewriteDocument(path, name, text string) error {
	doc, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := fmt.Sprintf("<!-- placementsim %s -->\n", name), "<!-- end -->"
	before, rest, ok := strings.Cut(string(doc), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no marks for %q", path, name)
	}
	return os.WriteFile(path, []byte(before+begin+text+end+after), 0o644)
}
