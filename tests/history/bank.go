package history

import (
	"fmt"
	"strconv"
)

// Bank is a set of accounts between which money moves and never appears or vanishes.
type Bank struct {
	Accounts int
	Each     int64 // what every account begins with
}

// Check says why one read of all accounts cannot have returned these balances.
func (b Bank) Check(balances map[string]string) error {
	if len(balances) != b.Accounts {
		return fmt.Errorf("%d accounts, there must be %d: %v", len(balances), b.Accounts, balances)
	}
	var sum int64
	for name, text := range balances {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("account %s holds %q: %v", name, text, balances)
		}
		sum += n
	}
	if want := int64(b.Accounts) * b.Each; sum != want {
		return fmt.Errorf("the accounts hold %d together, it must be %d: %v", sum, want, balances)
	}
	return nil
}
